"""PNG files written by hand, of every depth and colour type."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

__all__ = ["GRAY", "GRAY_ALPHA", "PALETTE", "RGB", "RGBA", "chunk", "png_made"]

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png_made(
    values: np.ndarray,
    depth: int,
    kind: int,
    *,
    interlaced: bool = False,
    before: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
    rows: bytes | None = None,
) -> bytes:
    """A PNG. values: (H, W, samples). before, after: whole chunks, before and after the pixel data. rows: what is
    compressed in place of the rows.
    """
    height, width = values.shape[:2]
    if rows is None:
        parts = [values[y::dy, x::dx] for x, y, dx, dy in PASSES] if interlaced else [values]
        rows = b"".join(_rows(part, depth) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    chunks = [chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(rows)), *after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def chunk(name: bytes, content: bytes, *, right: bool = True) -> bytes:
    """One chunk. right: whether its checksum is."""
    checksum = zlib.crc32(name + content) ^ (not right)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _rows(part: np.ndarray, depth: int) -> bytes:
    flat = part.reshape(len(part), -1)
    if depth == 16:
        packed = flat.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = flat.astype(np.uint8)
    else:
        ones = (flat[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(ones.reshape(len(part), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in packed)
