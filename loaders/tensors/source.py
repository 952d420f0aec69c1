"""A store of tensors, with latents beside them or without, as what a `LatentLoader` reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.source import LatentStore, OneStore, Wanted
from latentstore.loaders.stats import Stats
from latentstore.loaders.tensors.batch import TensorCollate
from latentstore.loaders.tensors.dataset import TensorDataset


class TensorStore(OneStore):
    """One store of fields."""

    def __init__(self, ds: TensorDataset) -> None:
        super().__init__(ds, ds.latents)
        self.tensors = ds
        self.pads = ds.padded is not None

    def collate(self, wanted: Wanted, number: int = 0, stats: Mapping[str, Stats] | None = None) -> TensorCollate:
        """See `OneStore.collate`."""
        if wanted.augment is not None and not self.latents:
            raise ArgumentError(
                f"augment is for latents of this package, and {self.url} holds tensors of other encoders: store a "
                "changed tensor as a field of its own, and give variants"
            )
        if wanted.decoder != LINEAR and not self.latents:
            raise ArgumentError(f"decoder is for latents of this package, and {self.url} holds tensors")
        padded, latents = self.tensors.padded, {}
        for name, ds in self.latents.items():
            # where recordings of similar lengths make a batch, other latents of it may have any sizes
            own = wanted if padded in (None, ds) else replace(wanted, grouped=None)
            latents[name] = own.collate(ds, number, (stats or {}).get(name))
        seed = (wanted.seed + number) % (1 << 64)
        return TensorCollate(self.tensors, wanted.output, wanted.dtype, wanted.variants, seed, latents)

    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """See `Source.sizes`. Tensors are never padded, so nobody asks of a store without latents."""
        padded = self.tensors.padded
        if padded is None:
            raise ArgumentError(f"{self.url}: tensors have shapes, not sizes")
        return padded.reader.sizes(indices)


def store_of(ds: LatentDataset | TensorDataset) -> OneStore:
    """A data set as what a loader reads."""
    return TensorStore(ds) if isinstance(ds, TensorDataset) else LatentStore(ds)


def has_one_shape(ds: TensorDataset) -> bool:
    """Whether every field has one shape in the whole store. The index of every shard is read for it."""
    return all(one.size is not None for one in ds.latents.values()) and all(
        shapes is not None and len(shapes) == 1 for shapes in map(ds.shapes, ds.tensors)
    )


def shapes_of(ds: TensorDataset, max_positions: int | None, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(the shapes of each sample's tensors and latents end to end, int64 (n, k); its positions, int64 (n,)).

    Positions of a sample are those of its first field's latent, or the values of its tensor in one channel. exact: see
    `loaders.grouping.pooled`. ArgumentError if a sample alone has more than `max_positions` of them, or the tensors of
    a field differ in rank.
    """
    each = []
    for name in ds.reader.names:
        latents, shapes = ds.latents.get(name), ds.shapes(name)
        if shapes is None:
            raise ArgumentError(f"{ds.url}: the tensors of {name!r} differ in rank, so they cannot be grouped by shape")
        if latents is not None and not exact:
            shapes = np.stack(latents.codec.latent_shape(shapes[:, 0], shapes[:, 1])[1:], axis=1)
        each.append(np.broadcast_to(shapes, (len(ds), shapes.shape[1])))
    first, name = each[0], ds.reader.names[0]
    if name in ds.latents:
        codec = ds.latents[name].codec
        positions = np.multiply(*(codec.latent_shape(first[:, 0], first[:, 1])[1:] if exact else first.T))
    else:
        axis = ds.tensors[name].channel_axis
        channels = first[:, axis] if -first.shape[1] <= axis < first.shape[1] else np.ones(len(ds), np.int64)
        positions = np.maximum(first.prod(axis=1) // np.maximum(channels, 1), 1)
    if max_positions is not None and len(ds) and positions.max() > max_positions:
        index = int(positions.argmax())
        raise ArgumentError(
            f"max_positions is {max_positions}, and {ds.where(index)} alone has {positions[index]} positions"
        )
    return np.concatenate(each, axis=1), positions
