"""Batches of samples of one group each, such as images of one shape: a pure function of seed, epoch and groups.

The samples of a window of the order are divided by their group, and each group into batches; the last batch of a group
may be smaller. In a full shuffle there is one window, so each group has one smaller batch in an epoch. Which samples
meet in a batch, and the order of the batches of a window, are permuted. As stored, samples of a group stay in their
order, and batches come in the order of their first samples.

Groups may have batches of different sizes: a budget of latent positions gives small images larger batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentstore.loaders.epoch.order import EpochOrder, FullEpoch, SampleOrder, permute, round_keys

_BATCHES, _GROUP = 7, 8


@dataclass(frozen=True)
class Groups:
    """The group of each sample of a store; made once, for all epochs.

    group: int32 (n,), numbers from 0 on. batch_sizes: int64 (groups,), samples in a batch of each group.
    """

    group: np.ndarray
    batch_sizes: np.ndarray

    @classmethod
    def by_shape(
        cls, shapes: np.ndarray, positions: np.ndarray, batch_size: int | None, max_positions: int | None
    ) -> Groups:
        """Groups of samples of the same shape, int64 (n, 2).

        positions: latent positions of each sample, int64 (n,). batch_size: samples in a batch, or max_positions: latent
        positions in it at most.
        """
        return cls._of(shapes[:, 0] << 32 | shapes[:, 1], positions, batch_size, max_positions)

    @classmethod
    def by_length(cls, lengths: np.ndarray, max_positions: int) -> Groups:
        """Groups of samples of similar lengths, int64 (n,): in a group, lengths differ by 8 % at most."""
        return cls._of(
            np.floor(np.log(np.maximum(lengths, 1)) / np.log(1.08)).astype(np.int64), lengths, None, max_positions
        )

    @classmethod
    def _of(cls, names: np.ndarray, positions: np.ndarray, batch_size: int | None, most: int | None) -> Groups:
        known, group = np.unique(names, return_inverse=True)
        largest = np.ones(len(known), np.int64)
        np.maximum.at(largest, group, positions)
        sizes = np.maximum(most // largest, 1) if most is not None else np.full(len(known), batch_size, np.int64)
        return cls(group.astype(np.int32), sizes)


class Windows:
    """The samples of each window by their groups: what `GroupedEpoch` needs of one window at a time."""

    def __init__(self, groups: Groups, order: SampleOrder) -> None:
        self.groups = groups
        self.starts = np.cumsum([0, *order.shard_sizes])
        shard = np.repeat(np.arange(len(order.shard_sizes)), order.shard_sizes)
        kinds = len(groups.batch_sizes)
        flat = np.bincount(shard * kinds + groups.group, minlength=len(order.shard_sizes) * kinds)
        self.counts = flat.reshape(len(order.shard_sizes), kinds)
        self._all: np.ndarray | None = None

    def members(self, shards: list[int]) -> np.ndarray:
        """int64: the samples of shards, sorted by group; all samples where the list is empty."""
        if not shards:
            if self._all is None:
                self._all = np.argsort(self.groups.group, kind="stable").astype(np.int64)
            return self._all
        samples = np.concatenate([np.arange(self.starts[s], self.starts[s + 1]) for s in shards])
        return np.asarray(samples[np.argsort(self.groups.group[samples], kind="stable")])


class GroupedEpoch:
    """The batches of one epoch, a `Grouping`."""

    def __init__(self, windows: Windows, order: SampleOrder, epoch: int, drop_last: bool) -> None:
        self._windows, self._seed, self._epoch, self._drop = windows, order.seed, epoch, drop_last
        self._shuffled = order.kind != "none"
        # as stored, a batch may need any shard: there are no windows
        blocks = order.kind == "block"
        self.order: EpochOrder = order.epoch(epoch) if blocks else FullEpoch(order.samples, round_keys(0))
        self._shards = [self.order.shards(window) for window in range(len(self.order.window_ends))]
        sizes = windows.groups.batch_sizes
        counts = np.array([windows.counts[s].sum(0) if s else windows.counts.sum(0) for s in self._shards])
        self._counts = counts.reshape(len(self._shards), len(sizes))
        each = self._counts // sizes if drop_last else -(-self._counts // sizes)
        self._each, self._ends = each, np.cumsum(each.sum(1))
        self._at = -1

    @property
    def count(self) -> int:
        """Batches of the epoch."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def span(self, first: int, last: int) -> tuple[int, int]:
        """See `Grouping.span`."""
        begin, end = np.searchsorted(self._ends, [first, last], side="right").tolist()
        ends = self.order.window_ends
        return int(ends[begin - 1]) if begin else 0, int(ends[end]) - 1

    def batch(self, number: int) -> tuple[np.ndarray, list[int]]:
        """See `Grouping.batch`."""
        window = int(np.searchsorted(self._ends, number, side="right"))
        if window != self._at:
            self._fill(window)
        place = int(self._turns[number - (int(self._ends[window - 1]) if window else 0)])
        group = int(np.searchsorted(self._batch_ends, place, side="right"))
        size, count = int(self._windows.groups.batch_sizes[group]), int(self._counts[window, group])
        first = (place - (int(self._batch_ends[group - 1]) if group else 0)) * size
        positions = np.arange(first, min(first + size, count))
        if self._shuffled:
            positions = permute(positions, count, round_keys(_GROUP, self._seed, self._epoch, window, group))
        return self._members[int(self._firsts[group]) + positions], [window]

    def _fill(self, window: int) -> None:
        counts, sizes = self._counts[window], self._windows.groups.batch_sizes
        self._members = self._windows.members(self._shards[window])
        self._batch_ends, self._firsts = np.cumsum(self._each[window]), np.cumsum(counts) - counts
        batches = int(self._batch_ends[-1])
        if self._shuffled:
            self._turns = permute(np.arange(batches), batches, round_keys(_BATCHES, self._seed, self._epoch, window))
        else:
            group = np.repeat(np.arange(len(sizes)), self._each[window])
            within = np.arange(batches) - (self._batch_ends - self._each[window])[group]
            self._turns = np.argsort(self._members[self._firsts[group] + within * sizes[group]])
        self._at = window
