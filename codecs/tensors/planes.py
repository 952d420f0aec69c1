"""Planes of bytes by zstd: the first bytes of all values, then the second ones, and so on."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from latentstore.codecs.errors import CorruptError, TruncatedError
from latentstore.codecs.tensors.values import Array

__all__ = ["join_planes", "split_planes"]

LEVEL = 3
MAGIC = bytes.fromhex("28b52ffd")


def join_planes(values: Array) -> bytes:
    """A zstd frame of the planes. values: unsigned integers."""
    return _zstd().compress(np.ascontiguousarray(values.reshape(-1, 1).view(np.uint8).T), LEVEL)


def split_planes(payload: memoryview, output: Array) -> None:
    """Puts the values of a zstd frame into an array of unsigned integers. CorruptError; TruncatedError."""
    if _content_size(payload) != output.nbytes:
        raise CorruptError(f"its zstd frame does not hold the {output.nbytes} bytes that are expected.")
    planes = np.empty((output.itemsize, output.size), np.uint8)
    try:
        _zstd().decompress(payload, planes)
    except (RuntimeError, ValueError) as error:
        raise CorruptError(f"its zstd frame is damaged ({error}).") from error
    np.copyto(output.reshape(-1, 1).view(np.uint8), planes.T)


def _content_size(frame: memoryview) -> int | None:
    """The bytes that a zstd frame says it holds (RFC 8878 section 3.1.1.1), or None if it does not say so."""
    if len(frame) < 5:
        raise TruncatedError("its zstd frame is cut short.")
    single, code = frame[4] >> 5 & 1, frame[4] >> 6
    size = (1 if single else 0, 2, 4, 8)[code]
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[frame[4] & 3]
    if bytes(frame[:4]) != MAGIC or not size or len(frame) < at + size:
        return None
    return int.from_bytes(frame[at : at + size], "little") + (256 if size == 2 else 0)


@cache
def _zstd() -> Any:
    """numcodecs is imported where it is used: it takes long."""
    from numcodecs import zstd

    return zstd
