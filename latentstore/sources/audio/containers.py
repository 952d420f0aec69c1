"""From the first bytes of a file to its audio: tags are skipped, and the format checks what its header says."""

from __future__ import annotations

from collections.abc import Callable

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio.aiff import aiff
from latentstore.sources.audio.flac import flac
from latentstore.sources.audio.headers import au, caf, nist
from latentstore.sources.audio.mpeg import is_frame, mpeg
from latentstore.sources.audio.ogg import ogg
from latentstore.sources.audio.riff import W64_RIFF, w64, wave
from latentstore.sources.audio.tags import audio_start
from latentstore.sources.audio.view import Checked, View

__all__ = ["READ", "audio_of"]

HEAD_BYTES = 16
READ = "WAV, AIFF, FLAC, Ogg, MP3, AU, CAF, Wave64 and NIST SPHERE"
# Formats that people have, and that are not read.
OTHERS = {
    b"\x1aE\xdf\xa3": "Matroska or WebM", b"0&\xb2u\x8ef\xcf\x11": "Windows Media (ASF)", b"ADIF": "AAC",
    b"#!AMR": "AMR", b"MAC ": "Monkey's Audio", b"wvpk": "WavPack", b"TTA1": "True Audio", b"MPCK": "Musepack",
    b"MP+": "Musepack", b"MThd": "MIDI", b"DSD ": "DSD", b"FRM8": "DSD", b".RMF": "RealMedia",
    b"ajkg": "Shorten", b"OFR ": "OptimFROG", b"\x0bw": "Dolby AC-3",
}  # fmt: skip


def audio_of(view: View) -> Checked:
    """What libsndfile is to be given of a file. AudioError where it is not read, or contradicts itself."""
    start = audio_start(view)
    tagged, view = start > 0, view.cut(start)
    head = view.at(0, HEAD_BYTES)
    check = _format(head)
    if check is not None:
        return check(view)
    if name := _other(head):
        raise AudioError(f"{name} is not read; {READ} are")
    # behind an ID3 tag, MP3 may begin with padding or the rest of a frame
    return mpeg(view) if tagged or is_frame(head[:4]) else Checked(view)


def _format(head: bytes) -> Callable[[View], Checked] | None:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return wave
    if head[:16] == W64_RIFF:
        return w64
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return aiff
    if head[:7] == b"NIST_1A":
        return nist
    by_magic = {b"fLaC": flac, b"OggS": ogg, b".snd": au, b"dns.": au, b"caff": caf}
    return by_magic.get(head[:4])


def _other(head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return "MP4 (AAC, ALAC)"
    if head[0:1] == b"\xff" and head[1:2] and head[1] & 0xF6 == 0xF0:
        return "AAC (ADTS)"
    return next((name for magic, name in OTHERS.items() if head.startswith(magic)), "")
