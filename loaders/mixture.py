"""`latentstore.mix`: several stores as one, by weights. Which store a sample comes from: `loaders.epoch.schedule`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.columns import PADDED
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.epoch.schedule import STOPS, MixedEpoch, MixedOrder, whole_weights
from latentstore.loaders.opening import open
from latentstore.loaders.remote.readahead import ReadAhead
from latentstore.loaders.source import Ahead, BatchMaker, Source, Wanted, shard_sizes
from latentstore.loaders.stats import Stats
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.loaders.tensors.source import store_of

STORE = "store"
"""The entry of a batch that says which store each sample is from."""
BATCHES = ("mixed", "separate")


def mix(
    stores: Mapping[str | Path | LatentDataset | TensorDataset, float],
    *,
    stop: str = "first",
    batches: str = "mixed",
    channels: int | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Mixture:
    """Several stores as one, for a `LatentLoader`.

    stores: a weight, above 0, for each URL or opened store: its share of the samples; the weights need not add up to 1.
    stop: when an epoch ends. "first": before a store would begin a second time. What is left of the others comes in the
        next epochs. "longest": when every sample of every store has come at least once. Shorter stores begin again.
    batches: "mixed": a batch has samples of all stores. "separate": each batch is from one store. Choose it for stores
        that differ in codec, channels or size.
    channels, storage_options: as of `latentstore.open`, for the stores given by their URL.

    ArgumentError: a weight is no number above 0, or stores whose samples do not fit into one batch are to be mixed.

        mixture = latentstore.mix({"photos.zarr": 0.7, "drawings.zarr": 0.3}, channels=12)
        for batch in LatentLoader(mixture, batch_size=256, shuffle=True):
            batch["store"]  # int64 (256,): 0 for photos.zarr, 1 for drawings.zarr
    """
    if not isinstance(stores, Mapping) or not stores:
        raise ArgumentError(
            f"stores is {stores!r:.200}; a weight for each store is expected, such as {{'a.zarr': 0.7}}"
        )
    for store, weight in stores.items():
        name = store.url if isinstance(store, LatentDataset | TensorDataset) else store
        number = isinstance(weight, int | float | np.integer | np.floating) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or weight <= 0:
            raise ArgumentError(f"the weight of {name} is {weight!r}, expected a number above 0")
    for name, value, known in (("stop", stop, STOPS), ("batches", batches, BATCHES)):
        if value not in known:
            raise ArgumentError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    opened = [
        store if isinstance(store, LatentDataset | TensorDataset) else open(store, channels, storage_options)
        for store in stores
    ]
    return Mixture(opened, [float(weight) for weight in stores.values()], stop, batches)


class Mixture(Source):
    """What `mix` gives. Samples are numbered through all stores, those of the first store first.

    stores: the data sets. names: their URLs; ``batch["store"]`` counts in both. weights: as given.
    """

    def __init__(
        self, stores: Sequence[LatentDataset | TensorDataset], weights: list[float], stop: str, batches: str
    ) -> None:
        self.stores, self.weights, self.stop = list(stores), weights, stop
        self._own = [store_of(ds) for ds in stores]
        self.names = [ds.url for ds in stores]
        self.separate = batches == "separate"
        self.url = f"a mixture of {', '.join(self.names)}"
        self._starts = np.cumsum([0, *(len(ds) for ds in stores)])
        for ds in stores:
            if STORE in ds.kinds:
                raise ArgumentError(
                    f"{ds.url} has a field {STORE!r}, and batches of a mixture have an entry of that name; convert "
                    "again with another name for the field"
                )
        if not self.separate:
            for ds in stores[1:]:
                _require_alike(stores[0], ds)
        self.pads = not self.separate and self._own[0].pads

    def __len__(self) -> int:
        """Samples of all stores."""
        return int(self._starts[-1])

    def __repr__(self) -> str:
        parts = ", ".join(f"{name!r}: {weight:g}" for name, weight in zip(self.names, self.weights, strict=True))
        return f"Mixture({{{parts}}}: {len(self)} samples)"

    def order(self, kind: str, seed: int, slot: int) -> MixedOrder:
        """See `Source.order`."""
        sizes = [shard_sizes(ds) for ds in self.stores]
        return MixedOrder.of(sizes, kind, seed, whole_weights(self.weights), self.stop, slot)

    def collate(self, wanted: Wanted) -> BatchMaker:
        """See `Source.collate`. The fields of a mixed batch are those that all stores have."""
        stats = None if self.separate else self._stats()
        own = [store.collate(wanted, number, stats) for number, store in enumerate(self._own)]
        return MixedCollate(self.stores, own, self._starts, self.separate)

    def _stats(self) -> dict[str, Stats]:
        """Mean and standard deviation of the latents of the mixture, by field."""
        return {name: self._stats_of(name) for name in self._own[0].latents}

    def _stats_of(self, name: str) -> Stats:
        share = np.array(self.weights)[:, None] / sum(self.weights)
        each = [store.latents[name].stats for store in self._own]
        mean, std = (np.array([np.asarray(part, np.float64) for part in parts]) for parts in zip(*each, strict=True))
        middle = (share * mean).sum(0)
        spread = np.sqrt(np.maximum((share * (std**2 + (mean - middle) ** 2)).sum(0), 0))
        return Stats(middle.astype(np.float32), spread.astype(np.float32))

    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """See `Source.sizes`."""
        sizes = np.empty((len(indices), 2), np.int64)
        for number, here in _by_store(self._starts, indices):
            sizes[here] = self._own[number].sizes(indices[here] - self._starts[number])
        return sizes

    def identity(self) -> dict[str, Any]:
        """See `Source.identity`."""
        total = sum(self.weights)
        return {
            "stores": [store.identity() for store in self._own],
            "weights": whole_weights([weight / total for weight in self.weights]),
            "stop": self.stop,
            "batches": BATCHES[self.separate],
        }

    def ahead(self, order: MixedEpoch, spans: list[tuple[int, int]], ahead: bool, memory: int) -> Ahead:
        """See `Source.ahead`. Each store has an equal part of the memory."""
        return MixedAhead([
            ReadAhead(ds, order.streams[number], order.spans(number, spans), ahead, memory // len(self.stores))
            for number, ds in enumerate(self.stores)
        ])  # fmt: skip


def _require_alike(first: LatentDataset | TensorDataset, other: LatentDataset | TensorDataset) -> None:
    """ArgumentError unless samples of both fit into one batch."""
    pairs: list[tuple[str, Any, Any]] = [("holds", type(first).__name__, type(other).__name__)]
    if isinstance(first, TensorDataset) and isinstance(other, TensorDataset):
        pairs.append(("has the latents", sorted(first.latents), sorted(other.latents)))
        for name in sorted(first.latents.keys() & other.latents.keys()):
            pairs += _latent_pairs(first.latents[name], other.latents[name])
        for name in sorted({*first.tensors, *other.tensors}):
            pairs += [
                (f"has the field {name!r} as", first.tensors.get(name), other.tensors.get(name)),
                (f"has {name!r} of the encoder", _encoder(first, name), _encoder(other, name)),
            ]
    elif isinstance(first, LatentDataset) and isinstance(other, LatentDataset):
        pairs += _latent_pairs(first, other)
    for what, one, two in pairs:
        if one != two:
            raise ArgumentError(
                f"{first.url} {what} {one} and {other.url} {what} {two}, so their samples do not fit into one batch: "
                "give batches='separate' for batches of one store each"
            )


def _encoder(ds: TensorDataset, name: str) -> str | None:
    found = ds.encoders.get(name)
    return None if found is None else f"{found.name} {found.sha256} {found.preprocessing}"


def _latent_pairs(first: LatentDataset, other: LatentDataset) -> list[tuple[str, Any, Any]]:
    return [
        ("is of codec", first.reader.meta.codec, other.reader.meta.codec),
        ("is of the artifact", first.reader.meta.sha256[:16], other.reader.meta.sha256[:16]),
        ("is read with channels", first.channels, other.channels),
        ("has samples of size", first.size, other.size),
    ]


def _by_store(starts: np.ndarray, indices: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(number of the store, where its samples are in `indices`) of each store that has some."""
    store = np.searchsorted(starts, indices, side="right") - 1
    return [(number, np.flatnonzero(store == number)) for number in np.unique(store).tolist()]


class MixedCollate:
    """Makes batches of samples of several stores. Samples of one store stand together in a batch."""

    def __init__(
        self, stores: Sequence[LatentDataset | TensorDataset], own: Sequence[BatchMaker], starts: np.ndarray,
        separate: bool,
    ) -> None:  # fmt: skip
        self._own, self._starts = own, starts
        of = stores[0]
        self._padded: frozenset[str] | None = None  # all entries are
        if isinstance(of, TensorDataset):  # whose tensors of several shapes are a list
            self._padded = frozenset() if of.padded is None else PADDED | of.latents.keys()
        kinds: list[set[tuple[str, str]]] = [set(ds.kinds.items()) for ds in stores]
        self._separate = separate
        self._uncommon = {name for name, _ in kinds[0].union(*kinds) - kinds[0].intersection(*kinds)}

    def __call__(self, indices: np.ndarray, epoch: int = 0) -> dict[str, Any]:
        """The batch of samples `indices`, int64 (n,). epoch: of random changes."""
        parts = _by_store(self._starts, indices)
        made = [self._own[number](indices[here] - self._starts[number], epoch) for number, here in parts]
        store = torch.from_numpy(np.repeat([number for number, _ in parts], [len(here) for _, here in parts]))
        if self._separate:
            (batch,) = made
        else:
            names = [name for name in made[0] if name not in self._uncommon]
            padded = self._padded
            batch = {name: _joined([part[name] for part in made], padded is None or name in padded) for name in names}
        return {**batch, STORE: store}


def _joined(parts: list[Any], padded: bool) -> Any:
    """Tensors (n, ...) or lists, end to end. Tensors whose last axes differ are padded with zeros, or make a list."""
    if len(parts) == 1:
        return parts[0]
    tensors = all(isinstance(part, torch.Tensor) for part in parts)
    if not tensors or not (padded or len({part.shape[1:] for part in parts}) == 1):
        return [value for part in parts for value in part]
    shape = [max(part.shape[axis] for part in parts) for axis in range(1, parts[0].dim())]
    if all(list(part.shape[1:]) == shape for part in parts):
        return torch.cat(parts)
    whole = parts[0].new_zeros((sum(len(part) for part in parts), *shape))
    at = 0
    for part in parts:
        whole[(slice(at, at + len(part)), *(slice(0, n) for n in part.shape[1:]))] = part
        at += len(part)
    return whole


class MixedAhead:
    """`ReadAhead` of each store; the window n of the store i, of k, has the number ``n * k + i``."""

    def __init__(self, own: list[ReadAhead]) -> None:
        self._own = own

    def _each(self, windows: list[int]) -> list[tuple[ReadAhead, list[int]]]:
        k = len(self._own)
        split = [[window // k for window in windows if window % k == i] for i in range(k)]
        return [(own, mine) for own, mine in zip(self._own, split, strict=True) if mine]

    def need(self, windows: list[int]) -> None:
        """See `ReadAhead.need`."""
        for own, mine in self._each(windows):
            own.need(mine)

    def expect(self, windows: list[int]) -> None:
        """See `ReadAhead.expect`."""
        for own, mine in self._each(windows):
            own.expect(mine)

    def passed(self, windows: list[int]) -> None:
        """See `ReadAhead.passed`."""
        for own, mine in self._each(windows):
            own.passed(mine)

    def close(self) -> bool:
        """See `ReadAhead.close`."""
        much = [own.close() for own in self._own]
        return any(much)
