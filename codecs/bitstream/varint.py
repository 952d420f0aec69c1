"""Whole numbers of one to five bytes, seven bits each, the lowest first (docs/format.md section 2)."""

from __future__ import annotations

from latentstore.codecs.errors import CorruptError, TruncatedError

__all__ = ["read_varint", "varint"]


def varint(value: int) -> bytes:
    """The bytes of a number, 0 or more."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def read_varint(data: bytes | memoryview, at: int, longest: int = 4) -> tuple[int, int]:
    """The number at `at` and the place after it.

    TruncatedError; CorruptError for a number that is not written in the fewest bytes, or takes more than `longest`.
    """
    value = 0
    for shift in range(0, 7 * longest, 7):
        if at >= len(data):
            raise TruncatedError("The header of the blob is cut short.")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if not byte & 128:
            if shift and not byte:
                break
            return value, at
    raise CorruptError("The header of the blob holds a number that is not spelled as the format asks.")
