"""AIFF and AIFF-C: the chunk COMM says how many samples there are, and SSND holds them. Both must agree."""

from __future__ import annotations

import struct

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio.riff import MOST_CHUNKS, is_open, trailing
from latentstore.sources.audio.view import Checked, View

__all__ = ["aiff"]

COMM_BYTES = 18
UNKNOWN = 0xFFFFFFFF
# By compression type: bytes of a sample, 0 where COMM says its bits.
SAMPLED = {
    b"NONE": 0, b"sowt": 0, b"twos": 0, b"in24": 3, b"in32": 4, b"42ni": 4, b"23ni": 4, b"fl32": 4, b"FL32": 4,
    b"fl64": 8, b"FL64": 8, b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1, b"raw ": 1,
}  # fmt: skip
COMPRESSED = {b"ima4": 34}
IMA_SAMPLES = 64


def aiff(view: View) -> Checked:
    """The samples of an AIFF or AIFF-C file."""
    comm, data, at = -1, None, 12
    for _ in range(MOST_CHUNKS):
        head = view.at(at, 8)
        if len(head) < 8 or (comm >= 0 and data is not None):
            break
        name, length = struct.unpack(">4sI", head)
        if name == b"COMM" and length >= COMM_BYTES:
            comm = at
        elif name == b"SSND":
            data = (at, length)
            if comm >= 0 or length > view.size - at - 8:
                break
        at += 8 + length + (length & 1)
    if comm < 0 or data is None:
        raise AudioError("cut short, or damaged: its chunks COMM and SSND are not both there")
    channels, samples, bits = struct.unpack(">HIH", view.at(comm + 8, 8))
    kind = view.at(comm + 8 + COMM_BYTES, 4) if view.at(8, 4) == b"AIFC" else b"NONE"
    if kind not in SAMPLED and kind not in COMPRESSED:
        raise AudioError(f"AIFF-C of the compression {kind.decode('latin-1')!r}, which is not read: convert it to PCM")
    a_frame = channels * (COMPRESSED.get(kind) or SAMPLED[kind] or (bits + 7) // 8)
    if not a_frame:
        raise AudioError(f"its header announces {channels} channels of {bits} bits")
    return _checked(view, comm, *data, samples, a_frame, IMA_SAMPLES if kind in COMPRESSED else 1)


def _checked(view: View, comm: int, at: int, length: int, samples: int, a_frame: int, packed: int) -> Checked:
    """comm, at: where COMM and SSND begin. a_frame: bytes of a frame that holds `packed` samples of every channel."""
    offset = struct.unpack(">I", view.at(at + 8, 4).ljust(4, b"\0"))[0]
    begin, room = at + 16 + offset, view.size - at - 16 - offset
    if room < 0:
        raise AudioError("cut short: its samples are said to begin behind its end")
    unknown = (length > room + offset + 8 and is_open(length)) or (
        length <= 8 and room > 0 and bool(trailing(view, begin, ">"))
    )
    if unknown:
        held = room // a_frame
        if samples and not is_open(samples) and samples != held:
            raise AudioError(f"its header says {samples * packed:,} samples, and it holds {held * packed:,}")
        whole = held * a_frame
        if not held or begin + whole > UNKNOWN:
            raise AudioError("it holds no samples" if not held else "it holds more than an AIFF file can")
        sizes = {comm + 10: struct.pack(">I", held), at + 4: struct.pack(">I", 8 + offset + whole)}
        total = struct.pack(">I", begin + whole - 8)
        return Checked(view.cut(0, begin + whole).patched({4: total, **sizes}), held * packed)
    if length > view.size - at - 8:
        raise AudioError(f"cut short: it has {room:,} of {length - 8 - offset:,} bytes of samples")
    held = (length - 8 - offset) // a_frame
    if reason := trailing(view, at + 8 + length, ">"):
        raise AudioError(f"its header says {max(held, 0) * packed:,} samples, and {reason}")
    if held < 1:
        raise AudioError("it holds no samples")
    if samples in (0, UNKNOWN):
        return Checked(view.patched({comm + 10: struct.pack(">I", held)}), held * packed)
    if samples != held:
        raise AudioError(
            f"its header says {samples * packed:,} samples in one place (COMM) and {held * packed:,} in another "
            "(SSND): write it anew"
        )
    return Checked(view, held * packed)
