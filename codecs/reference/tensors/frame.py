"""The frame of a tensor's blob (docs/format.md section 11.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.reference.header import crc32c

__all__ = ["RefusedError", "join_blob", "split_frame", "tensor_frames"]

OK, TRUNCATED, CORRUPT, BAD_VERSION, BAD_SHAPE, BAD_CRC, OTHER_CODING = 0, -2, -3, -5, -7, -8, -9
MOST_RANK = 8
MOST_VALUES = 1 << 28
VALUES_PER_BYTE = 1 << 15


class RefusedError(Exception):
    """Why a blob is refused: its status."""


def join_blob(heads: list[bytes], crcs: npt.NDArray[np.int64], index: int, payload: bytes) -> bytes:
    """A payload behind its head and checksum, or alone if there are no heads. crcs: up to the checksums."""
    if not heads:
        return payload
    return bytes(heads[index]) + crc32c(payload, int(crcs[index])).to_bytes(4, "little") + payload


def split_frame(blob: bytes, first: int, sha256: bytes, checked: bool) -> tuple[list[int], int]:
    """The shape, and where the payload begins. first: the first byte that is expected."""
    if len(blob) < 6:
        raise RefusedError(TRUNCATED)
    if blob[0] >> 4 != first >> 4:
        raise RefusedError(BAD_VERSION)
    if blob[0] != first:
        raise RefusedError(OTHER_CODING)
    if blob[1] > MOST_RANK:
        raise RefusedError(CORRUPT)
    at, sides = 2, []
    for _ in range(blob[1]):
        side, at = read_side(blob, at)
        sides.append(side)
    if at + 4 > len(blob):
        raise RefusedError(TRUNCATED)
    values = 1
    for side in sides:
        values *= side
    if values >= MOST_VALUES or values > (len(blob) - at - 4) * VALUES_PER_BYTE:
        raise RefusedError(BAD_SHAPE)
    expected = crc32c(blob[at + 4 :], crc32c(blob[:at], crc32c(sha256)))
    if checked and int.from_bytes(blob[at : at + 4], "little") != expected:
        raise RefusedError(BAD_CRC)
    return sides, at + 4


def read_side(blob: bytes, at: int) -> tuple[int, int]:
    """The varint at `at` (section 2.2), and the place after it."""
    side = 0
    for i in range(4):
        if at + i >= len(blob):
            raise RefusedError(TRUNCATED)
        byte = blob[at + i]
        side |= (byte & 127) << 7 * i
        if byte < 128:
            if i and not byte:
                break
            return side, at + i + 1
    raise RefusedError(CORRUPT)


def tensor_frames(
    first: int,
    sha256: bytes,
    checked: bool,
    buffers: list[Any],
    source: npt.NDArray[np.int32],
    start: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    ranks: npt.NDArray[np.uint8],
    sides: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """The frames of blobs i = buffers[source[i]][start[i]:][:length[i]] to ranks, sides (n, 8) and offsets (n,).

    Returns (0, -1), or why not and which.
    """
    for i in range(len(source)):
        blob = bytes(memoryview(buffers[source[i]]).cast("B")[int(start[i]) :][: int(length[i])])
        try:
            shape, offsets[i] = split_frame(blob, first, sha256, checked)
        except RefusedError as refused:
            return refused.args[0], i
        ranks[i] = len(shape)
        sides[i, : len(shape)] = shape
    return OK, -1
