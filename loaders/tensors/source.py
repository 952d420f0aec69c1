"""A store of tensors as what a `LatentLoader` reads."""

from __future__ import annotations

import numpy as np

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.source import LatentStore, OneStore, Wanted
from latentstore.loaders.stats import Stats
from latentstore.loaders.tensors.batch import TensorCollate
from latentstore.loaders.tensors.dataset import TensorDataset


class TensorStore(OneStore):
    """One store of tensors."""

    def __init__(self, ds: TensorDataset) -> None:
        super().__init__(ds)
        self.tensors = ds
        self.pads = False

    def collate(self, wanted: Wanted, number: int = 0, stats: Stats | None = None) -> TensorCollate:
        """See `OneStore.collate`."""
        if wanted.augment is not None:
            raise ArgumentError(
                f"augment is for latents of this package, and {self.url} holds tensors of other encoders: store a "
                "changed tensor as a field of its own, and give variants"
            )
        if wanted.decoder != LINEAR:
            raise ArgumentError(f"decoder is for latents of this package, and {self.url} holds tensors")
        return TensorCollate(
            self.tensors, wanted.output, wanted.dtype, wanted.variants, (wanted.seed + number) % (1 << 64)
        )

    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """See `Source.sizes`. Tensors are never padded, so nobody asks."""
        raise ArgumentError(f"{self.url}: tensors have shapes, not sizes")


def store_of(ds: LatentDataset | TensorDataset) -> OneStore:
    """A data set as what a loader reads."""
    return TensorStore(ds) if isinstance(ds, TensorDataset) else LatentStore(ds)


def has_one_shape(ds: TensorDataset) -> bool:
    """Whether every field has one shape in the whole store. The index of every shard is read for it."""
    return all(shapes is not None and len(shapes) == 1 for shapes in map(ds.shapes, ds.tensors))


def shapes_of(ds: TensorDataset, max_positions: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(the shapes of each sample's tensors end to end, int64 (n, k); its positions, int64 (n,)).

    Positions of a sample are the values of its first field's tensor in one channel. ArgumentError if a sample alone has
    more than `max_positions` of them, or the tensors of a field differ in rank.
    """
    each = []
    for name in ds.tensors:
        shapes = ds.shapes(name)
        if shapes is None:
            raise ArgumentError(f"{ds.url}: the tensors of {name!r} differ in rank, so they cannot be grouped by shape")
        each.append(np.broadcast_to(shapes, (len(ds), shapes.shape[1])))
    first = each[0]
    axis = ds.tensors[next(iter(ds.tensors))].channel_axis
    channels = first[:, axis] if -first.shape[1] <= axis < first.shape[1] else np.ones(len(ds), np.int64)
    positions = np.maximum(first.prod(axis=1) // np.maximum(channels, 1), 1)
    if max_positions is not None and len(ds) and positions.max() > max_positions:
        index = int(positions.argmax())
        raise ArgumentError(
            f"max_positions is {max_positions}, and {ds.where(index)} alone has {positions[index]} positions"
        )
    return np.concatenate(each, axis=1), positions
