"""The pools of an epoch, whose samples are divided into batches by their groups (`loaders.epoch.groups`).

Of one store, a pool is a window of "block", or all samples where there are no windows. Of a mixture, whose stores have
windows of their own, it is a run of positions: in a full shuffle the whole epoch, else as many as have no more of any
store than a window of it.
"""

from __future__ import annotations

import numpy as np

from latentstore.loaders.epoch.groups import Groups, Pools
from latentstore.loaders.epoch.order import EpochOrder, FullEpoch, SampleOrder, round_keys
from latentstore.loaders.epoch.schedule import PARTS, MixedOrder
from latentstore.loaders.epoch.similar import Share


def pool_share(order: SampleOrder | MixedOrder) -> Share:
    """The part of an epoch that a pool is, as a rule."""
    if isinstance(order, MixedOrder):
        return _pool_samples(order), max(1, order.samples)
    shards = max(1, len(order.shard_sizes))
    return (min(order.window, shards), shards) if order.kind == "block" else (1, 1)


def _pool_samples(order: MixedOrder) -> int:
    if order.kind == "full":
        return max(1, order.samples)
    windows = [
        own.samples * own.window * PARTS // (max(1, len(own.shard_sizes)) * weight)
        for own, weight in zip(order.orders, order.weights, strict=True)
    ]
    return max(1, min(*windows, order.samples))


class StorePools:
    """The pools of one store. groups: of its samples."""

    def __init__(self, groups: Groups, order: SampleOrder) -> None:
        self.groups, self._order = groups, order
        self._starts = np.cumsum([0, *order.shard_sizes])
        shard = np.repeat(np.arange(len(order.shard_sizes)), order.shard_sizes)
        kinds = len(groups.batch_sizes)
        flat = np.bincount(shard * kinds + groups.group, minlength=len(order.shard_sizes) * kinds)
        self.counts = flat.reshape(len(order.shard_sizes), kinds)
        self._all: np.ndarray | None = None

    def epoch(self, epoch: int) -> Pools:
        """See `Pooled.epoch`."""
        order = self._order
        # as stored, a batch may need any shard: there are no windows
        blocks = order.kind == "block"
        return _StoreEpoch(self, order.epoch(epoch) if blocks else FullEpoch(order.samples, round_keys(0)))

    def members(self, shards: list[int]) -> np.ndarray:
        """int64: the samples of shards, sorted by group; all samples where the list is empty."""
        if not shards:
            if self._all is None:
                self._all = np.argsort(self.groups.group, kind="stable").astype(np.int64)
            return self._all
        samples = np.concatenate([np.arange(self._starts[s], self._starts[s + 1]) for s in shards])
        return np.asarray(samples[np.argsort(self.groups.group[samples], kind="stable")])


class _StoreEpoch:
    """The pools of one epoch of a store: the windows of its order."""

    def __init__(self, store: StorePools, order: EpochOrder) -> None:
        self._store, self.order, self.ends = store, order, order.window_ends
        self._shards = [order.shards(window) for window in range(len(self.ends))]
        counts = np.array([(store.counts[s] if s else store.counts).sum(0) for s in self._shards], np.int64)
        self.counts = counts.reshape(len(self.ends), len(store.groups.batch_sizes))

    def members(self, pool: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Pools.members`. A sample's place is its number."""
        samples = self._store.members(self._shards[pool])
        return samples, samples

    def windows(self, pool: int) -> list[int]:
        """See `Pools.windows`."""
        return [pool]


class MixedPools:
    """The pools of a mixture. groups: of the samples of all its stores."""

    def __init__(self, groups: Groups, order: MixedOrder) -> None:
        self.groups, self._order = groups, order
        self._last: tuple[int, _MixedEpoch] | None = None

    def epoch(self, epoch: int) -> Pools:
        """See `Pooled.epoch`. Which samples an epoch has differs, so all its positions are looked at once."""
        if self._last is None or self._last[0] != epoch:
            self._last = epoch, _MixedEpoch(self.groups, self._order, epoch)
        return self._last[1]


class _MixedEpoch:
    """The pools of one epoch of a mixture. A sample may come twice in it, so its place is its position."""

    def __init__(self, groups: Groups, order: MixedOrder, epoch: int) -> None:
        self.order, self._group = order.epoch(epoch), groups.group
        size = _pool_samples(order)
        self._starts = np.arange(0, order.samples, size, dtype=np.int64)
        self.ends = np.minimum(self._starts + size, order.samples)
        kinds = len(groups.batch_sizes)
        counts = [np.bincount(self._group[self._samples(pool)[0]], minlength=kinds) for pool in range(len(self.ends))]
        self.counts = np.array(counts, np.int64).reshape(len(self.ends), kinds)

    def _samples(self, pool: int) -> tuple[np.ndarray, np.ndarray]:
        positions = np.arange(self._starts[pool], self.ends[pool], dtype=np.int64)
        return self.order.indices(positions), positions

    def members(self, pool: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Pools.members`."""
        samples, positions = self._samples(pool)
        rows = np.argsort(self._group[samples], kind="stable")
        return samples[rows], positions[rows]

    def windows(self, pool: int) -> list[int]:
        """See `Pools.windows`."""
        positions = np.arange(self._starts[pool], self.ends[pool], dtype=np.int64)
        return [int(window) for window in np.unique(self.order.windows(positions))]
