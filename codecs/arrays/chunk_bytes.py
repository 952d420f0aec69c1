"""The bytes of an array's chunk: blobs of its parts behind an index (docs/zarr.md, "The bytes of a chunk").

A chunk is cut into parts that decode alone: images, or groups of a latent's channels. A part that holds
nothing but the fill value has no bytes. This module knows the index; what a part's blob is, its coder knows.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import (
    ArgumentError,
    ArtifactError,
    CorruptError,
    TruncatedError,
    UnsupportedVersionError,
)

__all__ = ["ChunkIndex", "Grid", "PartCoder", "Parts", "header_bytes", "pack", "read_index", "stored_shape"]

MAGIC = b"LA"
VERSION = 1
MAX_AXES = 8
MAX_CHUNK_BYTES = 1 << 31
"""No chunk decodes to more: a bound on the memory that a forged header can ask for, and numcodecs' own
limit."""
_FIXED = struct.Struct("<2sBB4sBB")
_FORTRAN = 1

Uint8s = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Grid:
    """A chunk of `shape` cut into parts of shape `cell`, in C order; the last along an axis may be
    smaller."""

    shape: tuple[int, ...]
    cell: tuple[int, ...]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Parts along each axis."""
        return tuple(-(-n // c) if n else 0 for n, c in zip(self.shape, self.cell, strict=True))

    @cached_property
    def parts(self) -> int:
        return math.prod(self.counts)

    def block(self, part: int) -> tuple[slice, ...]:
        """Where part number `part` lies in the chunk."""
        slices = []
        for count, c, n in zip(reversed(self.counts), reversed(self.cell), reversed(self.shape), strict=True):
            part, i = divmod(part, count)
            slices.append(slice(i * c, min((i + 1) * c, n)))
        return tuple(reversed(slices))


class Parts(NamedTuple):
    """Parts of a chunk: where it is put together, their numbers, ascending, and their blobs."""

    chunk: npt.NDArray[Any]
    numbers: Sequence[int]
    blobs: Sequence[Any]


class PartCoder(Protocol):
    """How the parts of one kind of chunk are coded. Safe to use from several threads."""

    kind: int
    sha256: str
    grid: Grid
    dtype: Any
    fill: int
    """Value of places never written; a part of it alone is coded as b""."""
    bare: bool
    """A chunk of one part that is stored as its blob alone, without an index; such a blob is never empty."""

    def encode(self, block: npt.NDArray[Any], part: int) -> bytes:
        """The blob of part number `part`; b"" if it holds the fill value alone and is not bare."""

    at_once: int
    """How many parts are worth decoding in one call."""

    def decode(self, chunks: Sequence[Parts]) -> None:
        """Decodes parts of some chunks, none of them empty, into their places."""

    def loses_nothing_outside(self, blob: Any) -> tuple[int, ...] | None:
        """The shape, from the part's first corner, outside which the part comes back exactly as it was
        written; None if it does everywhere."""


@dataclass(frozen=True)
class ChunkIndex:
    """Where a chunk's parts lie in its bytes. total_bytes: of the chunk, which may have no part at all. fortran: the
    array that was encoded lay in Fortran order."""

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    total_bytes: int
    fortran: bool = False


def header_bytes(coder: PartCoder) -> int:
    """Bytes before the first blob."""
    return 0 if coder.bare else _FIXED.size + 4 * (len(coder.grid.shape) + 1 + coder.grid.parts + 1)


def pack(coder: PartCoder, blobs: Sequence[bytes], fortran: bool = False) -> bytes:
    """The bytes of a chunk from the blobs of all its parts, in order."""
    if coder.bare:
        return bytes(blobs[0])
    shape = coder.grid.shape
    head = _FIXED.pack(
        MAGIC,
        VERSION << 4 | coder.kind,
        _FORTRAN * fortran,
        bytes.fromhex(coder.sha256)[:4],
        coder.fill & 255,
        len(shape),
    )
    lengths = np.array([len(blob) for blob in blobs], "<u4")
    head += np.array([*shape, len(blobs)], "<u4").tobytes() + lengths.tobytes()
    return b"".join([head, struct.pack("<I", crc32c(head)), *blobs])


def read_index(data: Uint8s, coder: PartCoder) -> ChunkIndex:
    """The index of a chunk whose bytes begin with `data`, checked against what `coder` expects.

    UnsupportedVersionError, TruncatedError, CorruptError, ArtifactError. That the blobs are all there is for
    the caller to check: `data` may be the chunk's beginning alone."""
    if coder.bare:
        return ChunkIndex(np.zeros(1, np.int64), np.array([data.size], np.int64), data.size)
    kind, fortran, shape, parts = _read_head(data)
    size = header_bytes(coder)
    if kind != coder.kind or shape != coder.grid.shape or parts != coder.grid.parts:
        raise CorruptError(
            f"the chunk holds {parts} parts of an array of shape {shape} and kind {kind}, where "
            f"{coder.grid.parts} parts of {coder.grid.shape} and kind {coder.kind} are expected"
        )
    if data.size < size:
        raise TruncatedError(f"the chunk is cut short: {data.size} bytes of its index, which takes {size}")
    if crc32c(data[: size - 4].data) != int.from_bytes(data[size - 4 : size].tobytes(), "little"):
        raise CorruptError("the chunk's index is damaged: its CRC-32C does not match")
    if bytes(data[4:8]) != bytes.fromhex(coder.sha256)[:4]:
        raise ArtifactError(
            f"the chunk was made with the artifact whose SHA-256 begins {bytes(data[4:8]).hex()}, the array "
            f"names {coder.sha256[:12]}..."
        )
    if int(data[8]) != coder.fill & 255:
        raise CorruptError(f"the chunk was written with fill value {int(data[8])}, the array has {coder.fill & 255}")
    lengths = data[size - 4 - 4 * parts : size - 4].view("<u4").astype(np.int64)
    ends = size + np.cumsum(lengths)
    return ChunkIndex(ends - lengths, ends, size + int(lengths.sum()), fortran)


def _read_head(data: Uint8s) -> tuple[int, bool, tuple[int, ...], int]:
    """(kind, fortran, shape, parts): the part of the header that says how long it is."""
    if data.size < _FIXED.size:
        raise TruncatedError(f"the chunk has {data.size} bytes; its header takes more, and no chunk is ever empty")
    magic, version, flags, _, _, axes = _FIXED.unpack(data[: _FIXED.size].tobytes())
    if magic != MAGIC:
        raise CorruptError("these bytes do not begin as a chunk does ('LA')")
    if version >> 4 != VERSION:
        raise UnsupportedVersionError(
            f"the chunk is of format version {version >> 4}; this release reads version {VERSION}: upgrade latentstore"
        )
    end = _FIXED.size + 4 * (axes + 1)
    if not 1 <= axes <= MAX_AXES or flags & ~_FORTRAN:
        raise CorruptError(f"the chunk claims {axes} axes and flags {flags}")
    if data.size < end:
        raise TruncatedError("the chunk ends inside its header")
    *shape, parts = data[_FIXED.size : end].view("<u4").tolist()
    if math.prod(shape) > MAX_CHUNK_BYTES or parts > max(1, math.prod(shape)):
        raise CorruptError(f"the chunk claims shape {tuple(shape)} in {parts} parts")
    return version & 15, bool(flags & _FORTRAN), tuple(shape), parts


def stored_shape(data: Uint8s) -> tuple[int, ...]:
    """The shape that a chunk's header claims, before anything else of it is checked."""
    return _read_head(data)[2]


def check_size(shape: tuple[int, ...]) -> None:
    """ArgumentError if a chunk of this shape is larger, or has more axes, than a chunk may."""
    if len(shape) > MAX_AXES or math.prod(shape) > MAX_CHUNK_BYTES:
        raise ArgumentError(
            f"a chunk of shape {shape} is too large: at most {MAX_CHUNK_BYTES} values in {MAX_AXES} axes; "
            f"choose smaller chunks"
        )


def encode_chunk(coder: PartCoder, chunk: npt.NDArray[Any], fortran: bool = False) -> bytes:
    """The bytes of a whole chunk."""
    grid = coder.grid
    return pack(coder, [coder.encode(chunk[grid.block(i)], i) for i in range(grid.parts)], fortran)


def decode_chunk(coder: PartCoder, data: Uint8s) -> npt.NDArray[Any]:
    """The array of a whole chunk, C-contiguous, or Fortran-contiguous if it was so when encoded."""
    index = read_index(data, coder)
    if index.total_bytes != data.size:
        kind = TruncatedError if index.total_bytes > data.size else CorruptError
        raise kind(f"the chunk has {data.size} bytes where its index announces {index.total_bytes}")
    chunk = np.empty(coder.grid.shape, coder.dtype)
    blobs = [data[a:b] for a, b in zip(index.starts.tolist(), index.ends.tolist(), strict=True)]
    decode_parts(coder, [Parts(chunk, range(coder.grid.parts), blobs)])
    return np.asfortranarray(chunk) if index.fortran else chunk


def decode_parts(coder: PartCoder, chunks: Sequence[Parts]) -> None:
    """Decodes these parts into their places; empty ones become the fill value."""
    full = [parts if coder.bare else _filled(coder, parts) for parts in chunks]
    if full := [parts for parts in full if parts.numbers]:
        coder.decode(full)


def _filled(coder: PartCoder, parts: Parts) -> Parts:
    """Those that are not empty; the others get their values."""
    if all(len(blob) for blob in parts.blobs):
        return parts
    for number, blob in zip(parts.numbers, parts.blobs, strict=True):
        if not len(blob):
            parts.chunk[coder.grid.block(number)] = coder.fill
    there = [i for i, blob in enumerate(parts.blobs) if len(blob)]
    return Parts(parts.chunk, [parts.numbers[i] for i in there], [parts.blobs[i] for i in there])
