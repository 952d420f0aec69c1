"""WAV and its kin: RIFF, RIFX, RF64, BW64 and W64, whose chunks say where the samples lie.

The length of the chunk `data` is checked from both sides: the file must hold it, and what follows it must be chunks or
tags. Programs that write to a pipe do not know the length. They say 0, or about 2^31 or 2^32, and then the samples run
to the end of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio.mpeg import mpeg
from latentstore.sources.audio.tags import audio_end, id3_length
from latentstore.sources.audio.view import Checked, View

__all__ = ["MOST_CHUNKS", "is_open", "trailing", "w64", "wave"]

UNKNOWN = 0xFFFFFFFF
MOST_CHUNKS = 4096
MIN_CHUNK_BYTES = 8
# Programs that pad a file to a sector write zeros.
PADDING_BYTES = 4096
# Lengths this near to 2^31 and 2^32 stand for "unknown".
NEAR = 1 << 16
FMT_BYTES = 1024
WHOLE_FILES = {b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"fLaC", b"OggS"}
# A file may be cut in a chunk of these behind the samples: the samples are whole.
KNOWN = {b"LIST", b"JUNK", b"junk", b"PAD ", b"FLLR", b"bext", b"iXML", b"_PMX", b"id3 ", b"ID3 ", b"cue ", b"smpl"}
W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
W64_TAIL = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
EXTENSIBLE, PCM, FLOAT, MP3 = 0xFFFE, 1, 3, 0x55
# By format tag: coded sample by sample, so that a block is one of every channel.
SAMPLED = {1, 3, 6, 7}
NAMES = {
    0x50: "MPEG layer I or II", 0x92: "Dolby AC-3", 0xFF: "AAC", 0x160: "WMA", 0x161: "WMA", 0x162: "WMA",
    0x163: "WMA", 0x270: "ATRAC", 0x674F: "Vorbis", 0x6750: "Vorbis", 0x6751: "Vorbis", 0x706D: "AAC",
    0x1600: "AAC", 0x1610: "AAC", 0x2000: "Dolby AC-3", 0x2001: "DTS", 0xF1AC: "FLAC", 0x22: "TrueSpeech",
    0x130: "Sipro ACELP", 0x42: "MSG723", 0x111: "VDSP",
}  # fmt: skip


@dataclass(frozen=True)
class _Wave:
    """The chunks that matter. format: the body of `fmt `; samples: what `fact` says, or None; start, length: of the
    samples, in bytes; open: the header does not say their length."""

    format: bytes
    samples: int | None
    start: int
    length: int
    open: bool


def is_open(length: int) -> bool:
    """Whether a length of 32 bits stands for an unknown one, if the file is shorter."""
    return abs(length - (1 << 31)) <= NEAR or length >= (1 << 32) - NEAR


def wave(view: View) -> Checked:
    """The samples of a RIFF, RIFX, RF64 or BW64 file."""
    magic = view.at(0, 4)
    order = ">" if magic == b"RIFX" else "<"
    found = _chunks(view, order)
    as_it_is = magic in (b"RIFF", b"RIFX", b"RF64") and not found.open
    return _checked(view, found, order, view if as_it_is else None)


def w64(view: View) -> Checked:
    """The samples of a Sony Wave64 file, for libsndfile as a WAV file."""
    if view.at(24, 16) != b"wave" + W64_TAIL:
        raise AudioError("a Wave64 file that is not of audio")
    format, samples, at = b"", None, 40
    for _ in range(MOST_CHUNKS):
        head = view.at(at, 24)
        if len(head) < 24:
            break
        name, length = head[:4], struct.unpack("<Q", head[16:])[0]
        if name == b"data" and head[4:16] == W64_TAIL:
            unknown = length in (0, 24) or length >= 1 << 62
            if not unknown and at + length > view.size:
                raise AudioError(f"cut short: it has {view.size - at - 24:,} of {length - 24:,} bytes of samples")
            if not unknown and (reason := _w64_rest(view, at + (length + 7 & ~7))):
                raise AudioError(f"its header says {length - 24:,} bytes of samples, and {reason}")
            length = view.size - at - 24 if unknown else length - 24
            return _checked(view, _Wave(format, samples, at + 24, length, unknown), "<", None)
        if length < 24 or length > view.size - at:
            raise AudioError(f"damaged: its chunk at byte {at:,} claims {length:,} bytes")
        if name == b"fmt ":
            format = view.at(at + 24, min(length - 24, FMT_BYTES))
        elif name == b"fact" and length >= 32:
            samples = struct.unpack("<Q", view.at(at + 24, 8))[0]
        at += length + 7 & ~7
    raise AudioError("it holds no samples: its chunk of samples is missing")


def _w64_rest(view: View, at: int) -> str:
    """Why what follows the samples may be samples too; "" where it is chunks."""
    begin = at
    for _ in range(MOST_CHUNKS):
        if view.size - at < 24:
            return ""
        length = struct.unpack("<Q", view.at(at + 16, 8))[0]
        if not 24 <= length <= view.size - at:
            break
        at += length + 7 & ~7
    rest = view.size - begin
    return "" if _zeros(view, begin) else f"{rest:,} bytes behind them are no chunks: write the file anew"


def _chunks(view: View, order: str) -> _Wave:
    format, samples, long = b"", None, 0
    for name, at, length in _walk(view, 12, order):
        body = at + 8
        if name == b"ds64" and length >= 16:
            long = struct.unpack("<8xQ", view.at(body, 16).ljust(16, b"\0"))[0]
        elif name == b"fmt ":
            if format:
                raise AudioError("its header says the format of its samples twice: write the file anew")
            format = view.at(body, min(length, FMT_BYTES))
        elif name == b"fact" and length >= 4:
            samples = struct.unpack(order + "I", view.at(body, 4).ljust(4, b"\0"))[0]
        elif name == b"data":
            room = view.size - body
            length = long if length == UNKNOWN and 0 < long < 1 << 63 else length
            if length > room and is_open(length):
                return _Wave(format, samples, body, room, True)
            if length > room:
                raise AudioError(f"cut short: it has {room:,} of {length:,} bytes of samples")
            if not length and room and trailing(view, body, order):
                return _Wave(format, samples, body, room, True)
            if reason := trailing(view, body + length, order):
                raise AudioError(f"its header says {length:,} bytes of samples, and {reason}")
            return _Wave(format, samples, body, length, False)
    raise AudioError("cut short, or it holds no samples: its chunk of samples is missing")


def _walk(view: View, at: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """(name, offset, length of the body) of chunk after chunk."""
    for _ in range(MOST_CHUNKS):
        head = view.at(at, 8)
        if len(head) < 8:
            return
        name, length = struct.unpack(order + "4sI", head)
        yield name, at, length
        at += 8 + length + (length & 1)
    raise AudioError(f"it has more than {MOST_CHUNKS} chunks before its samples")


def trailing(view: View, at: int, order: str) -> str:
    """Why the bytes from `at` on may be samples too; "" where they are chunks, tags or padding.

    Some programs leave out the zero behind a chunk of an odd length: chunks may begin at `at`, or one byte later.
    """
    rest = view.size - at
    if rest < MIN_CHUNK_BYTES or _zeros(view, at):
        return ""
    reasons = [_chain(view, at, order), _chain(view, at + 1, order)]
    if "" in reasons:
        return ""
    return reasons[0] or f"{rest:,} bytes behind them are neither chunks nor tags: write the file anew"


def _chain(view: View, at: int, order: str) -> str | None:
    """What stands from `at` on: "" for chunks and tags up to the end, a reason to refuse it, None for anything else."""
    end = audio_end(view, at)
    for _ in range(MOST_CHUNKS):
        if end - at < MIN_CHUNK_BYTES or _zeros(view, at):
            return ""
        name, length = struct.unpack(order + "4sI", view.at(at, 8))
        if name in WHOLE_FILES:
            return "another recording follows them: split the file"
        if name in (b"data", b"SSND"):
            return "a second chunk of samples follows them: write the file anew"
        if tag := id3_length(view, at):
            at += tag
            continue
        if not all(0x20 <= byte < 0x7F for byte in name):
            return None
        if length > end - at - 8:
            return "" if name in KNOWN else None
        at += 8 + length
        # the next name begins at once where the zero behind an odd length was left out
        at += length & 1 and not (end - at >= 4 and 0x20 <= view.at(at, 1)[0] < 0x7F)
    return None


def _zeros(view: View, at: int) -> bool:
    rest = view.size - at
    return rest <= PADDING_BYTES and not any(view.at(at, rest))


def _checked(view: View, found: _Wave, order: str, as_it_is: View | None) -> Checked:
    format = found.format
    if len(format) < 14:
        raise AudioError("damaged: the format of its samples is not said before them")
    tag, channels, rate, _, align = struct.unpack(order + "HHIIH", format[:14])
    if tag == EXTENSIBLE and len(format) >= 40:
        tag = struct.unpack(order + "H", format[24:26])[0]
    if tag == MP3:
        return mpeg(view.cut(found.start, found.start + found.length))
    if tag in NAMES:
        raise AudioError(f"a WAV file of {NAMES[tag]} (format {tag:#06x}), which is not read: convert it to PCM")
    if not channels or not align:
        raise AudioError(f"its header announces {channels} channels and samples of {align} bytes")
    if not rate:
        raise AudioError("its header announces a rate of 0 hertz")
    if tag in (PCM, FLOAT) and len(format) >= 16:
        (bits,) = struct.unpack(order + "H", format[14:16])
        # 24 bits may lie in 4 bytes; libsndfile knows no other padding, and would take parts of samples for samples
        if align != channels * -(-bits // 8) and (bits, align) != (24, 4 * channels):
            raise AudioError(
                f"its header contradicts itself: {channels} channels of {bits} bits in {align} bytes: write it anew"
            )
    if found.length < align:
        raise AudioError("it holds no samples")
    whole = found.length - found.length % align if found.open else found.length
    given = as_it_is or view.made([_head(format, found.samples, whole, order), (found.start, found.start + whole)])
    if tag in SAMPLED:
        return Checked(given, found.length // align)
    return Checked(given, _of_blocks(found, align, order))


def _head(format: bytes, samples: int | None, length: int, order: str) -> bytes:
    """The bytes before the samples of a WAV file."""
    fact = b"" if samples is None else b"fact" + struct.pack(order + "II", 4, min(samples, UNKNOWN))
    chunks = b"fmt " + struct.pack(order + "I", len(format)) + format + b"\0" * (len(format) & 1) + fact
    if order == "<" and length > UNKNOWN - NEAR:
        size = struct.pack("<QQQI", 4 + 36 + len(chunks) + 8 + length, length, 0, 0)
        start, said = b"RF64" + b"\xff" * 4 + b"WAVEds64" + struct.pack("<I", len(size)) + size, UNKNOWN
    else:
        magic, said = b"RIFX" if order == ">" else b"RIFF", length
        start = magic + struct.pack(order + "I", 4 + len(chunks) + 8 + length) + b"WAVE"
    return start + chunks + b"data" + struct.pack(order + "I", said)


def _of_blocks(found: _Wave, align: int, order: str) -> int | None:
    """Samples of audio that is coded in blocks, the last of which need not be full: `fact` says how many.

    None where it does not say, or says what the blocks cannot hold: then all blocks are full.
    """
    format = found.format
    a_block = struct.unpack(order + "H", format[18:20])[0] if len(format) >= 20 else 0
    if not a_block or found.samples is None:
        return None
    blocks = -(-found.length // align)
    return found.samples if 0 < found.samples <= blocks * a_block < found.samples + a_block else None
