"""The batches of one epoch, in the order in which a rank makes them: which samples each has, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from latentstore.loaders.epoch.order import EpochOrder
from latentstore.loaders.epoch.share import Share

# Batches whose order is computed in one call, because a call of NumPy has a fixed cost.
SLAB = 16


@dataclass(frozen=True)
class Job:
    """One batch to make.

    indices: of its samples, int64 (b,). windows: the windows of the order that they are in, ascending. read: the units
    that this rank has read of the epoch after this batch. last: whether it is the last one of the epoch.
    """

    indices: np.ndarray
    windows: list[int]
    read: int
    last: bool


class Plan(Protocol):
    """The batches of one epoch.

    units: what ranks share. order: of the samples, where shards are read by windows.
    """

    units: int
    order: EpochOrder

    def batches(self, units: int) -> int:
        """Batches that a rank makes of its `units`."""

    def spans(self, share: Share) -> list[tuple[int, int]]:
        """(first, last) of the runs of the order's positions that a rank reads; they ascend."""

    def jobs(self, share: Share) -> Iterator[Job]:
        """The batches of a rank that are left."""


class SamplePlan:
    """Batches of samples that follow each other in the part of a rank. The units are samples."""

    def __init__(self, order: EpochOrder, samples: int, batch_size: int, drop_last: bool) -> None:
        self.order, self.units, self.batch_size, self.drop_last = order, samples, batch_size, drop_last

    def batches(self, units: int) -> int:
        return units // self.batch_size if self.drop_last else -(-units // self.batch_size)

    def spans(self, share: Share) -> list[tuple[int, int]]:
        return share.spans()

    def jobs(self, share: Share) -> Iterator[Job]:
        batches = self.batches(share.count - share.begin)
        for slab in range(0, batches, SLAB):
            start = share.begin + slab * self.batch_size
            stop = min(share.begin + min(slab + SLAB, batches) * self.batch_size, share.count)
            positions = share.positions(start, stop)
            indices, windows = self.order.indices(positions), self.order.windows(positions)
            for own, a in enumerate(range(0, stop - start, self.batch_size), slab + 1):
                b = min(a + self.batch_size, stop - start)
                yield Job(indices[a:b], np.unique(windows[a:b]).tolist(), start + b, own == batches)


class Grouping(Protocol):
    """Batches that are made before ranks share them.

    count: how many there are. order: of the samples, where shards are read by windows.
    """

    @property
    def count(self) -> int: ...
    @property
    def order(self) -> EpochOrder: ...

    def batch(self, number: int) -> tuple[np.ndarray, list[int]]:
        """(the samples, int64 (b,); the windows of the order that must be at hand, ascending) of a batch."""

    def span(self, first: int, last: int) -> tuple[int, int]:
        """The first and the last of the order's positions that batches `first` to `last` are made of."""


class BatchPlan:
    """Batches that are made before ranks share them, by size. The units are batches."""

    def __init__(self, grouping: Grouping) -> None:
        self.grouping, self.units, self.order = grouping, grouping.count, grouping.order

    def batches(self, units: int) -> int:
        return units

    def spans(self, share: Share) -> list[tuple[int, int]]:
        return [self.grouping.span(first, last) for first, last in share.spans()]

    def jobs(self, share: Share) -> Iterator[Job]:
        own = share.positions(share.begin, share.count).tolist()
        for read, number in enumerate(own, share.begin + 1):
            indices, windows = self.grouping.batch(number)
            yield Job(indices, windows, read, read == share.count)
