"""Where a loader is. Each pass over it has a place of its own; a `Course` knows which of them counts.

A pass is one iterator. It belongs to one epoch, and its place moves with every batch that it hands out.

- An epoch is over when its last batch has been handed out, whether or not the consumer asks for one more.
- Where a pass was left early, the next pass begins the next epoch. A pass that began in the middle of an epoch, because
  a state was loaded, is the exception: the next pass reads the rest.
- A pass that was let go after one batch was a look, and changes nothing. If another iterator has taken its place, it
  was no look.
- A pass that begins while another one is still used begins where that one began, and does not disturb it.
- After an error of a pass, the next one goes on behind the last batch that was handed out.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from latentstore.loaders.epoch.share import Read


@dataclass(frozen=True)
class Place:
    """A place in the order. read: what the ranks have read of the epoch, see `loaders.epoch.share`."""

    epoch: int = 0
    read: Read = ()

    @property
    def next_epoch(self) -> Place:
        """The beginning of the epoch after this one."""
        return Place(self.epoch + 1)


class Reading:
    """What the loader knows of one pass. begin, end: where it began, and where its last batch ended. batches: how many
    it has handed out. used: when it handed out the last one, as a number that grows. known: how many epochs had been
    read to their end by then. broken: whether it ended in an error. replaced: whether another iterator was made while
    this pass was used, and went on without it."""

    def __init__(self, owner: object, begin: Place) -> None:
        self.begin = self.end = begin
        self.batches = self.used = self.known = 0
        self.broken = self.replaced = False
        self._owner: weakref.ref[object] | None = weakref.ref(owner)

    @property
    def alive(self) -> bool:
        """Whether somebody still has the iterator, and can go on with it."""
        return not self.broken and self._owner is not None and self._owner() is not None

    def close(self) -> None:
        """The iterator gives no more batches."""
        self._owner = None

    @property
    def upcoming(self) -> Place:
        """Where the next pass begins if this pass is the one that counts."""
        if self.alive:
            return self.begin
        if self.broken or (self.begin.read and not self.replaced):
            return self.end
        return self.begin.next_epoch


class Course:
    """The passes that began since a place was set, by `load_state_dict`, by `set_epoch` or by making the loader.

    here: the place that was set, or the beginning of the epoch after the last one that was read to its end.
    """

    def __init__(self, here: Place) -> None:
        self.here = here
        self._readings: list[Reading] = []
        self._clock = 0

    @property
    def current(self) -> Reading | None:
        """The pass that counts, None before there is one.

        Of those that can go on: the last one that was used of the latest epoch, but one of a single batch only if there
        is no other. One beside which two epochs were read to their end is forgotten: somebody keeps it, and does not
        use it. If none can go on: the last one that was used and was more than a look.
        """
        alive = [r for r in self._readings if r.alive and r.known >= self.here.epoch - 1]
        if alive:
            return max(alive, key=lambda r: (r.batches > 1, r.begin.epoch, r.used))
        left = [r for r in self._readings if r.known >= self.here.epoch]
        counted = [r for r in left if r.batches > 1 or r.broken or r.replaced]
        return max(counted, key=lambda r: r.used, default=None)

    @property
    def place(self) -> Place:
        """Where the pass that counts has got to."""
        current = self.current
        return self.here if current is None else current.end

    @property
    def upcoming(self) -> Place:
        """Where the next pass begins."""
        current = self.current
        if current is None or current.begin.epoch < self.here.epoch:
            return self.here
        return current.upcoming

    def handed(self, reading: Reading, end: Place, last: bool) -> None:
        """`reading` hands out a batch that ends at `end`; last: of its epoch."""
        self._clock += 1
        if not reading.batches:
            self._readings = [r for r in self._readings if r.alive or r.batches > 1 or r.broken or r.replaced]
            self._readings.append(reading)
        reading.batches, reading.used, reading.end = reading.batches + 1, self._clock, end
        reading.known = self.here.epoch
        if reading.batches == 2:  # it is more than a look, so what was left before no longer counts
            self._readings = [r for r in self._readings if r.alive]
        if last:
            self.over(reading)

    def over(self, reading: Reading) -> None:
        """The epoch of `reading` has no more batches."""
        reading.close()
        self._readings = [r for r in self._readings if r is not reading]
        if reading.end.epoch >= self.here.epoch:
            self.here = reading.end.next_epoch
