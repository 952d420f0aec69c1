"""MPEG audio (MP3): frame after frame, each of which says its own length; there is no header for the whole.

The first frame may hold a count of frames instead of audio (Xing, Info; VBRI). libsndfile believes it, and without it
guesses from the size of the first frame. So the frames are counted here, and the count is put right.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio.tags import audio_end, audio_start, id3_length
from latentstore.sources.audio.view import Checked, View

__all__ = ["is_frame", "mpeg"]

# kbit/s by layer (I, II, III) and index; MPEG-1, then MPEG-2 and 2.5.
RATES_1 = (
    (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
RATES_2 = (
    (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
HERTZ = (44100, 48000, 32000)
HEAD = 4
# The longest frame is of 2,881 bytes; before the first one, junk may lie.
JUNK_BYTES = 1 << 16
MONO = 0xC0
NO_CRC = 1
XING = (b"Xing", b"Info")
VBRI_AT = 36
HAS_FRAMES, HAS_BYTES, HAS_TABLE, HAS_QUALITY = 1, 2, 4, 8
TABLE_BYTES = 100


@dataclass(frozen=True)
class _Stream:
    """What all frames share. layer: 1 to 3. samples: of a frame. lengths: in bytes, by the second and third byte of a
    header without the bits that may differ. count_at: where a count of frames stands in a frame. mono: whether."""

    layer: int
    samples: int
    lengths: dict[tuple[int, int], int]
    count_at: int
    mono: bool


def is_frame(head: bytes) -> bool:
    """Whether a frame may begin with these four bytes."""
    return _stream(head) is not None


def mpeg(view: View) -> Checked:
    """The frames of MPEG audio, with the right count. Tags around them are left out."""
    end = audio_end(view)
    start = _first(view, audio_start(view), end)
    stream = _stream(view.at(start, HEAD))
    assert stream is not None
    head = view.at(start, HEAD)
    size = stream.lengths[head[1] | NO_CRC, head[2] & 0xFE]
    first = view.at(start, size)
    counted = stream.layer == 3 and first[_count_at(stream, first) :][:4] in XING
    if counted or first[VBRI_AT : VBRI_AT + 4] == b"VBRI":
        start += size
    frames, spans = _walk(view, start, end, stream)
    if not frames:
        raise AudioError("it holds no samples")
    if counted and (found := _count(first, _count_at(stream, first), frames, size + sum(b - a for a, b in spans))):
        right = found == first and len(spans) == 1
        return Checked(view.cut(start - size, spans[0][1]) if right else view.made([found, *spans]))
    # libsndfile takes the size of the file for the number of frames: it must not stop too early
    claims = (frames + 2) * (_length(stream, view.at(spans[0][0], HEAD), 0) + HEAD)
    return Checked(view.made(spans, claims), frames * stream.samples)


def _stream(head: bytes) -> _Stream | None:
    if len(head) < HEAD or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate, index = head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 4 or rate == 3 or index in (0, 15):
        return None
    one = version == 3
    hertz = HERTZ[rate] >> {0: 2, 2: 1, 3: 0}[version]
    samples = 384 if layer == 1 else 576 if layer == 3 and not one else 1152
    kilobits = (RATES_1 if one else RATES_2)[layer - 1]
    lengths = {}
    for i, bits in enumerate(kilobits, 1):
        for padding in (0, 1):
            if layer == 1:
                length = (12_000 * bits // hertz + padding) * 4
            else:
                length = samples // 8 * 1000 * bits // hertz + padding
            lengths[head[1] | NO_CRC, i << 4 | rate << 2 | padding << 1] = length
    mono = head[3] & MONO == MONO
    side = (17 if mono else 32) if one else (9 if mono else 17)
    return _Stream(layer, samples, lengths, HEAD + side, mono)


def _length(stream: _Stream, data: bytes, at: int) -> int:
    """Bytes of the frame at `at`; 0 where none of this stream begins there."""
    if at + HEAD > len(data) or data[at] != 0xFF or (data[at + 3] & MONO == MONO) != stream.mono:
        return 0
    return stream.lengths.get((data[at + 1] | NO_CRC, data[at + 2] & 0xFE), 0)


def _first(view: View, start: int, end: int) -> int:
    """Where the first frame begins: one that another follows, or the end."""
    data = view.at(start, min(end - start, JUNK_BYTES))
    at = -1
    while (at := data.find(b"\xff", at + 1)) >= 0:
        stream = _stream(data[at : at + HEAD])
        if stream is None:
            continue
        length = _length(stream, data, at)
        if _length(stream, data, at + length) or start + at + length == end:
            return start + at
    raise AudioError("no frame of MPEG audio in it, or of a free bit rate, which is not read")


def _walk(view: View, start: int, end: int, stream: _Stream) -> tuple[int, list[tuple[int, int]]]:
    """Number of frames, and where they lie."""
    frames, spans, at, begin = 0, [], start, start
    base, data = start, b""
    get, count_at = stream.lengths.get, stream.count_at
    while at + HEAD <= end:
        here = at - base
        if here + 4 * HEAD + 64 > len(data):
            base, data, here = at, view.at(at, min(JUNK_BYTES, end - at)), 0
            if len(data) < HEAD:
                raise AudioError("it became shorter while it was read")
        length = 0
        if data[here] == 0xFF and (data[here + 3] & MONO == MONO) == stream.mono:
            length = get((data[here + 1] | NO_CRC, data[here + 2] & 0xFE), 0)
        if length:
            if at + length > end:
                raise AudioError(f"cut short: the last of its {frames + 1:,} frames is not whole")
            if data[here + count_at : here + count_at + 4] in XING and stream.layer == 3:
                raise AudioError("several MP3 recordings one behind the other: split them into files")
            frames, at = frames + 1, at + length
            continue
        if begin < at:
            spans.append((begin, at))
        at = begin = _after_gap(view, at, end, stream)
    if begin < at <= end:
        spans.append((begin, at))
    return frames, spans


def _after_gap(view: View, at: int, end: int, stream: _Stream) -> int:
    """Where the next frame begins, behind a tag; the end where none does. AudioError where something else lies between
    frames."""
    if tag := id3_length(view, at):
        return min(at + tag, end)
    seen = 0
    for block in view.cut(0, end).blocks(at):
        here = -1
        while (here := block.find(b"\xff", here + 1)) >= 0:
            length = _length(stream, block, here)
            if length and _length(stream, block, here + length):
                raise AudioError(
                    f"damaged, or of several rates: {seen + here:,} bytes at byte {at:,} are no frames like those "
                    "before them"
                )
        seen += len(block)
    return end


def _count_at(stream: _Stream, frame: bytes) -> int:
    """Where the count stands in its frame, which may have a checksum before it."""
    behind = stream.count_at + 2
    return behind if not frame[1] & NO_CRC and frame[behind : behind + 4] in XING else stream.count_at


def _count(frame: bytes, at: int, frames: int, size: int) -> bytes | None:
    """The frame with the right count; None where it has none. AudioError where frames are missing."""
    flags, said = struct.unpack(">II", frame[at + 4 : at + 12].ljust(8, b"\0"))
    if not flags & HAS_FRAMES or at + 16 > len(frame):
        return None
    said_bytes = struct.unpack(">I", frame[at + 12 : at + 16])[0] if flags & HAS_BYTES else 0
    if said == frames:
        return frame
    if said > frames and said_bytes != size:
        raise AudioError(f"cut short: its Xing header says {said:,} frames, and it holds {frames:,}")
    new = bytearray(frame)
    new[at + 8 : at + 12] = struct.pack(">I", frames)
    if flags & HAS_BYTES:
        new[at + 12 : at + 16] = struct.pack(">I", size)
    fields = ((HAS_FRAMES, 4), (HAS_BYTES, 4), (HAS_TABLE, TABLE_BYTES), (HAS_QUALITY, 4))
    behind = at + 8 + sum(length for flag, length in fields if flags & flag)
    if said < frames and len(new) >= behind + 24:
        # what the encoder added at the end does not lie at this end
        new[behind + 22 : behind + 24] = bytes([new[behind + 22] & 0xF0, 0])
    return bytes(new)
