"""The frame of a blob: what says its coding and its shape, and its checksum (docs/format.md section 11.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.varint import varint
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import CorruptError, LatentstoreError, TruncatedError, UnsupportedVersionError
from latentstore.codecs.native import backend
from latentstore.codecs.tensors.declaration import MOST_RANK, Coding

__all__ = ["CODINGS", "NO_HEADS", "Frames", "Heads", "join_frame", "split_frames"]

VERSION = 1
CRC_BYTES = 4
CODINGS: dict[str, int] = {"lossless": 0, "step": 1, "codes": 2}
"""What stands for a coding in the first byte."""
# What the kernel says of a blob that it refuses.
TRUNCATED, BAD_VERSION, BAD_SHAPE, BAD_CRC, OTHER_CODING = -2, -5, -7, -8, -9

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Frames:
    """What n blobs are: the shapes of their tensors, and where their payloads lie."""

    shapes: list[Shape]
    payloads: Blobs


def join_frame(coding: Coding, shape: Shape, payload: bytes, sha256: bytes) -> bytes:
    """The blob of a payload. sha256: of the coder that made it."""
    return Heads(coding, [shape], sha256).join(0, payload)


class Heads:
    """What stands before the payloads of arrays that are coded in one call.

    heads: the bytes before each checksum. crcs: int64 (n,), the CRC-32C up to there.
    """

    def __init__(self, coding: Coding, shapes: Sequence[Shape], sha256: bytes) -> None:
        found = [_head(coding, shape, sha256) for shape in shapes]
        self.heads = [head for head, _ in found]
        self.crcs = np.array([crc for _, crc in found], np.int64)

    def size(self, index: int) -> int:
        """Bytes before the payload of an array."""
        return len(self.heads[index]) + CRC_BYTES

    def join(self, index: int, payload: bytes) -> bytes:
        """The blob of an array's payload."""
        crc = crc32c(payload, int(self.crcs[index])).to_bytes(CRC_BYTES, "little")
        return b"".join([self.heads[index], crc, payload])


NO_HEADS = np.zeros(0, np.int64)
"""The checksums of payloads that stand alone."""


@lru_cache(maxsize=1024)
def _head(coding: Coding, shape: Shape, sha256: bytes) -> tuple[bytes, int]:
    """What stands before the checksum, and the CRC-32C up to there."""
    head = bytes([VERSION << 4 | CODINGS[coding], len(shape)]) + b"".join(map(varint, shape))
    return head, crc32c(head, crc32c(sha256))


def split_frames(blobs: Blobs, coding: Coding, sha256: bytes, checked: bool = True) -> Frames:
    """The frames of blobs. checked: their checksums are looked at, too.

    CorruptError, TruncatedError or UnsupportedVersionError, whose `index` is the position of the bad blob.
    """
    n = len(blobs)
    ranks, sides, offsets = np.empty(n, np.uint8), np.empty((n, MOST_RANK), np.int64), np.empty(n, np.int64)
    first = VERSION << 4 | CODINGS[coding]
    status, index = backend().tensor_frames(first, sha256, checked, *blobs.arrays(), ranks, sides, offsets)
    if status:
        raise _error(status, index, blobs[index], coding)
    shapes = [tuple(side[:rank]) for side, rank in zip(sides.tolist(), ranks.tolist(), strict=True)]
    return Frames(shapes, Blobs(blobs.buffers, blobs.source, blobs.start + offsets, blobs.length - offsets))


def _error(status: int, index: int, blob: memoryview, coding: Coding) -> LatentstoreError:
    this = f"Tensor blob {index} cannot be read:"
    if status == TRUNCATED:
        return TruncatedError(f"{this} its header is cut short.", index)
    if status == BAD_VERSION:
        return UnsupportedVersionError(f"{this} its version is {blob[0] >> 4}; this release reads {VERSION}.", index)
    if status == OTHER_CODING:
        said = next((name for name, number in CODINGS.items() if number == blob[0] & 15), "an unknown one")
        return CorruptError(f"{this} its coding is {said}; {coding} is expected.", index)
    if status == BAD_SHAPE:
        return CorruptError(f"{this} its {len(blob)} bytes cannot hold a tensor of the shape it claims.", index)
    if status == BAD_CRC:
        return CorruptError(f"{this} its checksum does not match: it is damaged, or another coder made it.", index)
    return CorruptError(f"{this} its header is not as the format asks.", index)
