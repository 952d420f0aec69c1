"""Formats whose header lies before all samples: AU, NIST SPHERE, and CAF with its chunks."""

from __future__ import annotations

import struct

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio.riff import MOST_CHUNKS, is_open
from latentstore.sources.audio.tags import audio_end
from latentstore.sources.audio.view import Checked, View

__all__ = ["au", "caf", "nist"]

# By encoding of AU: bytes of a sample.
AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
AU_HEAD = 24
NIST_HEADS = range(1024, 1 << 16, 1024)
NIST_CODINGS = {"pcm", "ulaw", "mu-law", "alaw"}
CAF_PCM = {b"lpcm", b"ulaw", b"alaw"}
CAF_CHUNKS = {
    b"chan", b"free", b"info", b"kuki", b"pakt", b"peak", b"mark", b"regn", b"umid", b"ovvw", b"strg", b"uuid", b"inst",
    b"edct", b"midi",
}  # fmt: skip


def au(view: View) -> Checked:
    """The samples of an AU file, of either byte order."""
    order = ">" if view.at(0, 4) == b".snd" else "<"
    if view.size < AU_HEAD:
        raise AudioError("cut short: its header is not whole")
    start, length, encoding, _, channels = struct.unpack(order + "5I", view.at(4, 20))
    a_frame = channels * AU_BYTES.get(encoding, 0)
    if not a_frame:
        raise AudioError(f"an AU file of {channels} channels and encoding {encoding}, which is not read")
    if not AU_HEAD <= start <= view.size:
        raise AudioError(f"damaged: its samples are said to begin at byte {start:,} of {view.size:,}")
    room = view.size - start
    if length == 0 or (length > room and is_open(length)):
        whole = room // a_frame * a_frame
        return Checked(
            view.cut(0, start + whole).patched({8: struct.pack(order + "I", min(whole, 0xFFFFFFFE))}),
            _some(whole // a_frame),
        )
    return Checked(view, _fitting(view, start, length, a_frame))


def nist(view: View) -> Checked:
    """The samples of a NIST SPHERE file."""
    first = view.at(8, 8).strip()
    size = int(first) if first.isdigit() else 0
    if size not in NIST_HEADS:
        raise AudioError(f"damaged: a NIST SPHERE file whose header has {first!r} bytes")
    said = {}
    for line in view.at(16, size - 16).decode("latin-1").splitlines():
        words = line.split(None, 2)
        if words and words[0] == "end_head":
            break
        if len(words) == 3:
            said[words[0]] = words[2].strip()
    coding = said.get("sample_coding", "pcm")
    if coding not in NIST_CODINGS:
        raise AudioError(f"NIST SPHERE of the coding {coding!r}, which is not read: w_decode or sph2pipe decode it")
    channels, width = _number(said, "channel_count", "1"), _number(said, "sample_n_bytes", "2")
    if not channels or not width:
        raise AudioError(f"its header announces {channels} channels and samples of {width} bytes")
    if "sample_count" not in said:
        return Checked(view, _some((view.size - size) // (channels * width)))
    length = _number(said, "sample_count", "0") * channels * width
    return Checked(view.cut(0, min(size + length, view.size)), _fitting(view, size, length, channels * width))


def caf(view: View) -> Checked:
    """The samples of a CAF file."""
    format, valid, at = b"", None, 8
    for _ in range(MOST_CHUNKS):
        head = view.at(at, 12)
        if len(head) < 12:
            break
        name, length = struct.unpack(">4sq", head)
        room = view.size - at - 12
        unknown = name == b"data" and length == -1
        length = room if unknown else length
        if not 0 <= length <= room:
            found = "bytes of samples" if name == b"data" else f"bytes of its chunk {name.decode('latin-1')!r}"
            raise AudioError(f"cut short: it has {room:,} of {length:,} {found}")
        if name == b"desc":
            format = view.at(at + 12, min(length, 32))
        elif name == b"pakt" and length >= 24:
            valid = struct.unpack(">q", view.at(at + 20, 8))[0]
        elif name == b"data":
            if reason := _caf_rest(view, at + 12 + length):
                raise AudioError(reason)
            if valid is None:
                valid = _caf_valid(view, at + 12 + length)
            given = view.patched({at + 4: struct.pack(">q", length)}) if unknown else view
            return _caf_checked(given, format, length - 4, valid)
        at += 12 + length
    raise AudioError("cut short, or it holds no samples: its chunk of samples is missing")


def _caf_checked(view: View, format: bytes, length: int, valid: int | None) -> Checked:
    if len(format) < 32:
        raise AudioError("damaged: the format of its samples is not said before them")
    kind, _, a_packet, _, channels, _ = struct.unpack(">4s5I", format[8:])
    if kind in CAF_PCM:
        if not a_packet:
            raise AudioError(f"its header announces {channels} channels, and samples of 0 bytes")
        return Checked(view, _some(length // a_packet))
    if kind != b"alac":
        raise AudioError(f"CAF of the format {kind.decode('latin-1')!r}, which is not read: convert it to PCM")
    return Checked(view, valid)


def _caf_rest(view: View, at: int) -> str:
    """Why what follows the samples may be samples too; "" where it is chunks."""
    begin = at
    while view.size - at >= 12:
        name, length = struct.unpack(">4sq", view.at(at, 12))
        if name not in CAF_CHUNKS or not 0 <= length <= view.size - at - 12:
            return f"{view.size - begin:,} bytes behind its samples are no chunks: write the file anew"
        at += 12 + length
    return ""


def _caf_valid(view: View, at: int) -> int | None:
    """Samples by a packet table behind them."""
    while view.size - at >= 36:
        name, length = struct.unpack(">4sq", view.at(at, 12))
        if name == b"pakt":
            return int(struct.unpack(">q", view.at(at + 20, 8))[0])
        at += 12 + length
    return None


def _fitting(view: View, start: int, length: int, a_frame: int) -> int:
    """Samples in `length` bytes from `start` on; AudioError where the file has fewer, or more."""
    end = audio_end(view, start)
    if length > view.size - start:
        raise AudioError(f"cut short: it has {view.size - start:,} of {length:,} bytes of samples")
    rest = end - start - length
    if rest >= max(a_frame, 8):
        raise AudioError(
            f"its header says {length // a_frame:,} samples, and {rest:,} bytes follow them: write the file anew"
        )
    return _some(length // a_frame)


def _some(samples: int) -> int:
    if samples < 1:
        raise AudioError("it holds no samples")
    return samples


def _number(said: dict[str, str], name: str, default: str) -> int:
    text = said.get(name, default)
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise AudioError(f"damaged: its header says {name} {text[:40]!r}")
    return int(text)
