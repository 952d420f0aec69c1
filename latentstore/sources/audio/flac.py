"""FLAC: its last frame says how long it is; the header (STREAMINFO) may say nothing, less, or more.

A frame does not say its length in bytes, but where in the recording it begins and how many samples it holds. So the
last frame, found from the end of the file, tells the length without a walk.
"""

from __future__ import annotations

from dataclasses import dataclass

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio.tags import audio_end
from latentstore.sources.audio.view import Checked, View

__all__ = ["flac"]

MOST_BLOCKS = 1024
STREAMINFO_BYTES = 34
# What looks like the header of a frame is none once in some hundred thousand bytes: so many get their checksum tried.
CHECKSUMS = 4
MOST_HEADER_BYTES = 16
TOTAL_AT = 18 + 3  # the last 36 of 64 bits at 18


@dataclass(frozen=True)
class _Stream:
    """What STREAMINFO says. block: samples of a frame at most. frame_bytes: a bound on those of a frame. total:
    samples, 0 for unknown. start: where the frames begin."""

    block: int
    frame_bytes: int
    total: int
    start: int


def flac(view: View) -> Checked:
    """The frames of a FLAC file, with the true number of samples in its header."""
    stream, end = _stream(view), audio_end(view)
    if view.near and view.find(b"fLaC\0\0\0\x22", stream.start) >= 0:
        raise AudioError("several FLAC recordings one behind the other: split them into files")
    if stream.start >= end:
        raise AudioError("it holds no samples" if not stream.total else "cut short: it holds no frame")
    total = _total(view, stream, end)
    if total is None:
        if not stream.total:
            raise AudioError("its header does not say how long it is, and its last frame is not whole: cut short")
        return Checked(view)  # the decoder finds the damage, and what lies before it can be read
    if total == stream.total:
        return Checked(view)
    kept = view.at(TOTAL_AT, 1)[0] & 0xF0
    packed = (kept << 32 | total).to_bytes(5, "big")
    return Checked(view.cut(0, end).patched({TOTAL_AT: packed}), total)


def _stream(view: View) -> _Stream:
    head = view.at(0, 8 + STREAMINFO_BYTES)
    if len(head) < 8 + STREAMINFO_BYTES or head[4] & 0x7F or int.from_bytes(head[5:8], "big") != STREAMINFO_BYTES:
        raise AudioError("damaged or cut short: its header (STREAMINFO) is not whole")
    at, last = 4, False
    for _ in range(MOST_BLOCKS):
        metadata = view.at(at, 4)
        if len(metadata) < 4:
            raise AudioError("cut short: it ends in its metadata")
        last, at = bool(metadata[0] & 0x80), at + 4 + int.from_bytes(metadata[1:], "big")
        if last:
            break
    if not last:
        raise AudioError(f"damaged: it has more than {MOST_BLOCKS} blocks of metadata")
    total = int.from_bytes(head[TOTAL_AT : TOTAL_AT + 5], "big") & ((1 << 36) - 1)
    block, packed = int.from_bytes(head[10:12], "big"), int.from_bytes(head[18:22], "big")
    channels, bits = (packed >> 9 & 7) + 1, (packed >> 4 & 31) + 1
    return _Stream(block, block * channels * (bits + 1) // 8 + 64 + 8 * channels, total, at)


def _total(view: View, stream: _Stream, end: int) -> int | None:
    """Samples up to the end of the last frame; None where it is not found, as in a file that is cut short.

    A frame that ends where the header says is believed. Any other must have the right checksum up to the end.
    """
    tail = min(stream.frame_bytes, end - stream.start)
    data, sync = view.at(end - tail, tail), view.at(stream.start, 2)
    if len(sync) < 2:
        return None
    at, tries = len(data), CHECKSUMS
    while (at := data.rfind(sync, 0, at + 1)) >= 0:
        stops = _stops(data[at : at + MOST_HEADER_BYTES], stream)
        if stops == stream.total:
            return stops
        if stops is not None and tries and _crc16(data[at:]) == 0:
            if stops < stream.total:
                raise AudioError(f"cut short: its header says {stream.total:,} samples, and it holds {stops:,}")
            return stops
        tries -= stops is not None and tries > 0
    return None


def _stops(head: bytes, stream: _Stream) -> int | None:
    """The sample that follows the frame with this header; None where it is no header of a frame."""
    if len(head) < 6 or head[2] >> 4 == 0 or head[2] & 15 == 15 or head[3] & 1 or head[3] >> 4 > 10:
        return None
    if head[3] >> 1 & 7 == 3:
        return None
    size = _coded_bytes(head[4])
    code, rate = head[2] >> 4, head[2] & 15
    more = {6: 1, 7: 2}.get(code, 0)
    length = 4 + size + more + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if not size or length >= len(head) or _crc8(head[:length]) != head[length]:
        return None
    number = _coded(head[4 : 4 + size])
    if more:
        samples = int.from_bytes(head[4 + size : 4 + size + more], "big") + 1
    else:
        samples = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    if samples > stream.block:
        return None
    return (number if head[1] & 1 else number * stream.block) + samples


def _coded_bytes(first: int) -> int:
    """Bytes of a number as UTF-8 codes it, up to 7; 0 where none begins so."""
    if first < 0x80:
        return 1
    ones = next((i for i in range(8) if not first << i & 0x80), 8)
    return ones if 2 <= ones <= 7 else 0


def _coded(data: bytes) -> int:
    value = data[0] if len(data) == 1 else data[0] & (0x7F >> len(data))
    for byte in data[1:]:
        value = value << 6 | byte & 0x3F
    return value


def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 & 1 else 0)
        table.append(value & (1 << bits) - 1)
    return table


_CRC8, _CRC16 = _table(0x107, 8), _table(0x18005, 16)


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFF00) ^ _CRC16[crc >> 8 ^ byte]
    return crc
