"""Batches of samples of one group each, such as images of one shape: a pure function of seed, epoch and groups.

The samples of an epoch come in pools (`loaders.epoch.pools`): those of a window of the order, or all of them in a full
shuffle. The samples of a pool are divided by their group, and each group into batches; the last batch of a group may be
smaller. Which samples meet in a batch, and the order of the batches of a pool, are permuted. As stored, samples of a
group stay in their order, and batches come in the order of their first samples.

Groups may have batches of different sizes: a budget of latent positions gives small images larger batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from latentstore.loaders.epoch.order import EpochOrder, permute, round_keys
from latentstore.loaders.epoch.similar import Share, similar

SHAPE, LENGTH, SIMILAR = "shape", "length", "similar"
"""What samples of a group have in common. "similar": about the same height and width."""

_BATCHES, _GROUP = 7, 8


@dataclass(frozen=True)
class Groups:
    """The group of each sample of a store, or of several; made once, for all epochs.

    group: int32 (n,), numbers from 0 on. batch_sizes: int64 (groups,), samples in a batch of each group.
    """

    group: np.ndarray
    batch_sizes: np.ndarray

    @classmethod
    def by_shape(
        cls, shapes: np.ndarray, positions: np.ndarray, batch_size: int | None, max_positions: int | None
    ) -> Groups:
        """Groups of samples of the same shape, int64 (n, k).

        positions: latent positions of each sample, int64 (n,). batch_size: samples in a batch, or max_positions: latent
        positions in it at most.
        """
        return cls._of(_numbered(shapes), positions, batch_size, max_positions)

    @classmethod
    def by_length(cls, lengths: np.ndarray, max_positions: int) -> Groups:
        """Groups of samples of similar lengths, int64 (n,): in a group, lengths differ by 8 % at most."""
        return cls._of(_numbered(length_steps(lengths)), lengths, None, max_positions)

    @classmethod
    def by_similarity(
        cls, shapes: np.ndarray, batch_size: int | None, max_positions: int | None, share: Share
    ) -> Groups:
        """Groups of samples of about the same height and width, see `loaders.epoch.similar`.

        shapes: int64 (n, k + 2): what must be the same in a group, then height and width. share: of the samples that
        are divided into batches together.
        """
        _, index, which, counts = np.unique(
            _numbered(shapes), return_index=True, return_inverse=True, return_counts=True
        )
        cell, positions = similar(shapes[index], counts, batch_size, max_positions, share)
        return cls._of(cell[which], positions[which], batch_size, max_positions)

    @classmethod
    def _of(cls, names: np.ndarray, positions: np.ndarray, batch_size: int | None, most: int | None) -> Groups:
        known, group = np.unique(names, return_inverse=True)
        largest = np.ones(len(known), np.int64)
        np.maximum.at(largest, group, positions)
        sizes = np.maximum(most // largest, 1) if most is not None else np.full(len(known), batch_size, np.int64)
        return cls(group.astype(np.int32), sizes)


def length_steps(lengths: np.ndarray) -> np.ndarray:
    """int64 (n, 1): equal where lengths, int64 (n,), differ by 8 % at most."""
    steps = np.floor(np.log(np.maximum(lengths, 1)) / np.log(1.08))
    return np.asarray(steps.astype(np.int64)[:, None])


def _numbered(rows: np.ndarray) -> np.ndarray:
    """int64 (n,): equal where rows (n, k) are, and in the same order."""
    names = np.zeros(len(rows), np.int64)
    for column in rows.T:
        known, own = np.unique(column, return_inverse=True)
        names = np.unique(names * max(1, len(known)) + own, return_inverse=True)[1]
    return names


class Pools(Protocol):
    """The samples of one epoch in pools, each of which is divided into batches alone.

    order: of the samples, where shards are read by windows. ends: int64 (pools,), the position after each pool. counts:
    int64 (pools, groups), samples of each group.
    """

    ends: np.ndarray
    counts: np.ndarray

    @property
    def order(self) -> EpochOrder: ...

    def members(self, pool: int) -> tuple[np.ndarray, np.ndarray]:
        """(samples, their places in stored order), int64 each: those of a pool by their groups, then by their
        places."""

    def windows(self, pool: int) -> list[int]:
        """The windows of the order that a pool's samples are in, ascending."""


class Pooled(Protocol):
    """The pools of every epoch, and the groups of the samples."""

    groups: Groups

    def epoch(self, epoch: int) -> Pools: ...


class GroupedEpoch:
    """The batches of one epoch, a `Grouping`. seed, shuffled: of the order."""

    def __init__(self, pooled: Pooled, seed: int, shuffled: bool, epoch: int, drop_last: bool) -> None:
        self._pools, self._sizes = pooled.epoch(epoch), pooled.groups.batch_sizes
        self._seed, self._epoch, self._shuffled = seed, epoch, shuffled
        self.order = self._pools.order
        self._counts = self._pools.counts
        self._each = self._counts // self._sizes if drop_last else -(-self._counts // self._sizes)
        self._ends = np.cumsum(self._each.sum(1))
        self._at = -1

    @property
    def count(self) -> int:
        """Batches of the epoch."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def span(self, first: int, last: int) -> tuple[int, int]:
        """See `Grouping.span`."""
        begin, end = np.searchsorted(self._ends, [first, last], side="right").tolist()
        ends = self._pools.ends
        return int(ends[begin - 1]) if begin else 0, int(ends[end]) - 1

    def batch(self, number: int) -> tuple[np.ndarray, list[int]]:
        """See `Grouping.batch`."""
        pool = int(np.searchsorted(self._ends, number, side="right"))
        if pool != self._at:
            self._fill(pool)
        place = int(self._turns[number - (int(self._ends[pool - 1]) if pool else 0)])
        group = int(np.searchsorted(self._batch_ends, place, side="right"))
        size, count = int(self._sizes[group]), int(self._counts[pool, group])
        first = (place - (int(self._batch_ends[group - 1]) if group else 0)) * size
        positions = np.arange(first, min(first + size, count))
        if self._shuffled:
            positions = permute(positions, count, round_keys(_GROUP, self._seed, self._epoch, pool, group))
        return self._members[int(self._firsts[group]) + positions], self._windows

    def _fill(self, pool: int) -> None:
        counts, sizes = self._counts[pool], self._sizes
        self._members, places = self._pools.members(pool)
        self._windows = self._pools.windows(pool)
        self._batch_ends, self._firsts = np.cumsum(self._each[pool]), np.cumsum(counts) - counts
        batches = int(self._batch_ends[-1])
        if self._shuffled:
            self._turns = permute(np.arange(batches), batches, round_keys(_BATCHES, self._seed, self._epoch, pool))
        else:
            group = np.repeat(np.arange(len(sizes)), self._each[pool])
            within = np.arange(batches) - (self._batch_ends - self._each[pool])[group]
            self._turns = np.argsort(places[self._firsts[group] + within * sizes[group]])
        self._at = pool
