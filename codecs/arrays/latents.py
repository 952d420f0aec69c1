"""Latents in a chunk of an array, int8 (samples, channels, h, w), without loss.

Each part is one group of channels of one sample, coded as a group blob. A chunk of one group of one sample is its blob
alone, as stores keep it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.arrays.chunk_bytes import Grid, Parts, check_size
from latentstore.codecs.arrays.options import LATENT
from latentstore.codecs.bitstream.group import at_once
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.modality import IMAGE, LEAST_REDUCTION

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["LatentChunks", "check_latents"]

Int8s = npt.NDArray[np.int8]


class LatentChunks:
    """Codes chunks of `shape`, int8; a `PartCoder`."""

    kind = 1
    dtype = np.dtype(np.int8)

    def __init__(self, codec: Codec, shape: tuple[int, ...], fill: int) -> None:
        check_latents(shape, codec)
        self.codec = codec
        self.sha256 = codec.sha256
        self.fill = fill
        self.grid = Grid(shape, (1, codec.group_channels, *shape[2:]))
        self.bare = shape[:2] == (1, codec.group_channels)
        self.at_once = at_once(*shape[2:])

    def encode(self, block: Int8s, part: int) -> bytes:
        if not self.bare and (block == self.fill).all():
            return b""
        latent = block[0]
        missing = self.codec.group_channels - len(latent)
        if missing:  # a prefix may end inside a group: zeros behind it cost next to nothing
            latent = np.concatenate([latent, np.zeros((missing, *latent.shape[1:]), np.int8)])
        # Zarr does not say which channels a chunk holds. Where it holds all, the group is known; else the
        # model that codes the part in fewest bits is found.
        groups = self.grid.counts[1]
        group = part % groups if groups == self.codec.groups else None
        return self.codec.entropy.encode(np.ascontiguousarray(latent), group)

    def decode(self, chunks: Sequence[Parts]) -> None:
        n = self.codec.group_channels
        blobs = [blob for parts in chunks for blob in parts.blobs]
        chunk = chunks[0].chunk
        whole = len(chunks) == 1 and len(blobs) == self.grid.parts
        straight = whole and chunk.shape[1] % n == 0 and chunk.flags.c_contiguous
        out = chunk if straight else np.empty((len(blobs), n, *chunk.shape[2:]), np.int8)
        self.codec.read_groups(Blobs.whole(blobs), out)
        if straight:
            return
        places = (parts.chunk[self.grid.block(part)] for parts in chunks for part in parts.numbers)
        for place, group in zip(places, out, strict=True):
            place[0] = group[: place.shape[1]]

    def loses_nothing_outside(self, blob: Any) -> None:
        return None


def check_latents(shape: tuple[int, ...], codec: Codec | None) -> None:
    """Raises ArgumentError unless chunks of `shape` can hold latents. codec: where it is known already."""
    if len(shape) != 4 or 0 in shape[1:]:
        raise ArgumentError(f"codec {LATENT!r} stores non-empty latents (sample, channel, y, x), not shape {shape}")
    check_size(shape)
    IMAGE.check(shape[3] * LEAST_REDUCTION, shape[2] * LEAST_REDUCTION)
    if codec and shape[1] > codec.channels:
        raise ArgumentError(
            f"codec {LATENT!r}: a chunk of shape {shape} has {shape[1]} channels, latents of {codec.name} "
            f"have {codec.channels}"
        )
