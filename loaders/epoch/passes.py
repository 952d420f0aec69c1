"""One pass over an epoch: the iterator of a `LatentLoader`, and the epochs that trainers announce."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from latentstore.loaders.epoch.place import Place, Reading
from latentstore.loaders.epoch.plan import Job
from latentstore.loaders.epoch.share import Share

if TYPE_CHECKING:
    from latentstore.loaders.loader import LatentLoader

Makes = Callable[[Place], tuple[Generator[tuple[Job, Any], None, None], Share]]


class Pass:
    """An iterator over the batches of one epoch, which `iter` of a `LatentLoader` gives.

    It decides which epoch it reads, and which part is this rank's, when the first batch is asked for. makes: from a
    place to the batches from there on, and to the part of the epoch that they are.
    """

    def __init__(self, loader: LatentLoader, makes: Makes) -> None:
        self._loader, self._makes = loader, makes
        current = loader._course.current
        self._before = current if current is not None and current.alive else None
        self._reading: Reading | None = None
        self._batches: Generator[tuple[Job, Any], None, None] | None = None
        self._share: Share | None = None

    def __iter__(self) -> Pass:
        return self

    def __next__(self) -> Any:
        reading = self._reading or self._begin()
        if self._batches is None or reading.broken:
            raise StopIteration
        reading.broken = True  # unless the batch comes
        found = next(self._batches, None)
        reading.broken = False
        if found is None:  # the epoch has no batch for this rank
            self._course.over(reading)
            self.close()
            raise StopIteration
        job, batch = found
        assert self._share is not None
        self._course.handed(reading, Place(reading.begin.epoch, self._share.read(job.read)), job.last)
        if job.last:
            self.close()
        return batch

    def __reduce__(self) -> Any:
        raise TypeError("an iterator of a LatentLoader cannot be pickled; pickle the loader, which keeps the place")

    def close(self) -> None:
        """Stop: threads end, and what was read ahead is forgotten. Nothing happens if it has ended already."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None
        if self._reading is not None:
            self._reading.close()

    def _begin(self) -> Reading:
        if self._before is not None and not self._before.alive:
            self._before.replaced = True
        self._course = self._loader._course
        place = self._course.upcoming
        self._batches, self._share = self._makes(place)
        self._reading = Reading(self, place)
        return self._reading


class Announced:
    """A trainer's count of epochs, taken over where it is ahead of the loader's. It is never behind for long: a loader
    that is read twice in an epoch of the trainer counts two epochs, and is not sent back."""

    def __init__(self, loader: LatentLoader) -> None:
        self._loader = loader
        self.batch_size = loader.batch_size

    @property
    def sampler(self) -> Announced:
        return self

    def set_epoch(self, epoch: int) -> None:
        """`epoch` begins."""
        if epoch > self._loader.epoch:
            self._loader.set_epoch(epoch)
