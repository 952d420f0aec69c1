"""Which part of an epoch each rank reads, also where other ranks have read some of it.

An epoch is a line of units at positions 0, 1, 2, ...: samples, or whole batches where these are made by size. Ranks
share what is left of the line. There are two ways:

- Turns: rank r of W reads every W-th unit that is left. What was read is then always a beginning of the line.
- Runs: what is left is cut into W runs of equal length, and each rank reads one of them. So a rank reads few shards,
  and a shard is read by one rank, or by two where a run ends in it. What is left of an epoch is then a list of runs.

Ranks of a training make equally many batches. So what all of them have read follows from what one of them has read:
`Read` says how many ranks there were, and how many units each of them has read, in the order in which they came. This
is all that a state needs. It is the same on every rank, and it stays small: a thousand ranks that stop in the middle of
an epoch add one pair of numbers to it, not a thousand runs. Two following entries with as many ranks are one entry, so
that a run which goes on with as many ranks reads what it would have read without a stop, batch by batch.

No unit is repeated before the last of a rank. Where the ranks cannot share evenly, some of them have one unit fewer
than others, and they read one unit once more at the end of the epoch. With turns, these are the first ones of the
epoch. With runs, it is the last one of the rank's run, whose shard is at hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from latentstore.codecs.arguments import whole_number
from latentstore.codecs.errors import ArgumentError

Read = tuple[tuple[int, int], ...]
"""((ranks, units that each of them has read), ...)"""

MOST_RANKS = 1 << 20
"""A state names no more ranks than this: memory is taken for each of them."""


def units_read(read: Read) -> int:
    """The units that all ranks together have read."""
    return sum(ranks * each for ranks, each in read)


def checked_read(said: Any, units: int) -> Read | None:
    """`Read` of a state, of an epoch of `units`; None if it cannot be."""
    if not isinstance(said, list | tuple):
        return None
    read = []
    for entry in said:
        pair = [whole_number(number) for number in entry] if isinstance(entry, list | tuple) else []
        if len(pair) != 2 or pair[0] is None or pair[1] is None or not 1 <= pair[0] <= MOST_RANKS or pair[1] < 1:
            return None
        read.append((pair[0], pair[1]))
    return None if units_read(tuple(read)) >= max(1, units) else tuple(read)


class Runs:
    """Runs of positions, end to end: the line of what is left of an epoch.

    begin: int64 (m,), where each run begins. end: int64 (m,), the position after it. They ascend.
    """

    def __init__(self, begin: np.ndarray, end: np.ndarray) -> None:
        self.begin = begin
        self._ends = np.cumsum(end - begin)
        self._starts = self._ends - (end - begin)

    @classmethod
    def left(cls, units: int, read: Read) -> Runs:
        """What `read` leaves of an epoch of `units`, where ranks read runs."""
        runs = cls(np.zeros(1, np.int64), np.array([units], np.int64))
        for ranks, each in read:
            bounds = cuts(runs.length, ranks)
            runs = cls(*runs.parts(bounds[:-1] + each, bounds[1:]))
        return runs

    @property
    def length(self) -> int:
        """Units of the line."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def at(self, places: np.ndarray) -> np.ndarray:
        """int64: the positions of the units at these places of the line, each 0 to length - 1."""
        run = np.searchsorted(self._ends, places, side="right")
        return np.asarray(self.begin[run] + places - self._starts[run])

    def parts(self, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(begin, end) of the fewest runs of positions that hold the parts `begin` to `end` (exclusive) of the line.

        The parts are int64 (n,) each, in ascending order, and do not overlap.
        """
        edges = np.unique(np.concatenate([begin, end, self._starts, self._ends]))
        first, last = edges[:-1], edges[1:]
        inside = np.searchsorted(begin, first, side="right") > np.searchsorted(end, first, side="right")
        first, last = first[inside], last[inside]
        starts = self.at(first)
        ends = starts + last - first
        opens = np.ones(len(starts), bool)
        opens[1:] = starts[1:] != ends[:-1]
        closes = np.append(opens[1:], np.ones(min(1, len(opens)), bool))
        return starts[opens], ends[closes]


def cuts(length: int, ranks: int) -> np.ndarray:
    """int64 (ranks + 1,): where a line is cut into runs whose lengths differ by one at most."""
    rank = np.arange(ranks + 1, dtype=np.int64)
    return rank * (length // ranks) + rank * (length % ranks) // ranks


class Share:
    """The part of one rank.

    units: of the epoch. read: what has been read of it. rank, world_size: as in torch.distributed. drop: what happens
    where the ranks cannot share evenly. True leaves out fewer than `world_size` units. False repeats as few. runs:
    whether a rank reads a run, or takes turns.

    count: the units that each rank reads. begin: how many of them each has read already. All ranks read equally many.
    """

    def __init__(
        self, units: int, read: Read = (), rank: int = 0, world_size: int = 1, drop: bool = False, runs: bool = False
    ) -> None:
        if world_size < 1 or not 0 <= rank < world_size:
            raise ArgumentError(f"rank {rank} of {world_size}: ranks run from 0 to world_size - 1")
        self.begin = 0
        if read and read[-1][0] == world_size:
            self.begin, read = read[-1][1], read[:-1]
        self._before, self._units, self._rank, self.world_size = read, units, rank, world_size
        self._first = units_read(read)
        self._runs = Runs.left(units, read) if runs else None
        left = max(0, units - self._first)
        self.count = left // world_size if drop else -(-left // world_size)
        if self._runs is not None:
            bounds = cuts(left, world_size)
            self._start, self._stop = int(bounds[rank]), max(int(bounds[rank + 1]), 1)

    def positions(self, start: int, stop: int) -> np.ndarray:
        """int64: the positions of this rank's units number `start` to `stop` (exclusive), of its `count`."""
        own = np.arange(start, stop, dtype=np.int64)
        if self._runs is not None:
            return self._runs.at(np.minimum(self._start + own, self._stop - 1))
        own = own * self.world_size + self._rank + self._first
        return own % self._units if own.size and own[-1] >= self._units else own

    def spans(self) -> list[tuple[int, int]]:
        """(first, last) of the runs of positions that this rank's units from `begin` on are in; they ascend.

        Where ranks take turns, there is one span that holds them.
        """
        if self.begin >= self.count:
            return []
        if self._runs is None:
            return [(self._first, self._units - 1)]
        begin = min(self._start + self.begin, self._stop - 1)
        end = min(self._start + self.count, self._stop)
        found = self._runs.parts(np.array([begin]), np.array([max(end, begin + 1)]))
        return [(int(a), int(b) - 1) for a, b in zip(*found, strict=True)]

    def read(self, units: int) -> Read:
        """What has been read when each rank has read `units` of its own."""
        return (*self._before, (self.world_size, units)) if units else self._before
