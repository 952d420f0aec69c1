"""The batches of a `LatentLoader` through torch's DataLoader: processes in place of threads, and its interface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from latentstore.codecs.arguments import require_number
from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.epoch.place import Place
from latentstore.loaders.loader import Batches, LatentLoader

if TYPE_CHECKING:
    from latentstore.loaders.epoch.passes import Pass
    from latentstore.loaders.epoch.plan import Job
    from latentstore.loaders.epoch.share import Share

# Arguments of DataLoader that decide what `as_dataloader` or the loader decides.
_SETTLED = {"batch_size", "shuffle", "sampler", "batch_sampler", "drop_last", "collate_fn", "dataset", "pin_memory"}


def as_dataloader(loader: LatentLoader, num_workers: int = 0, **options: Any) -> BatchLoader:
    """A torch DataLoader of the batches of `loader`, in the same order, for what accepts nothing else.

    num_workers: processes that read and decode; 0 does it in this process. Each process makes every `num_workers`-th
        batch, with as many threads as `loader` has workers. options: others of torch's DataLoader, such as
        `multiprocessing_context`, `prefetch_factor`, `persistent_workers`, `timeout`.

    It shares its place with `loader`: epochs, `state_dict`, `load_state_dict` and `set_epoch` are those of `loader`.
    They count the batches that were handed out. A run may go on with another number of processes, or with the loader.

    ArgumentError: an option is one that `loader` has settled already, or `loader` is something else.
    """
    if not isinstance(loader, LatentLoader):
        raise ArgumentError(f"loader is a {type(loader).__name__}; as_dataloader takes a LatentLoader.")
    settled = sorted(_SETTLED & set(options))
    if settled:
        raise ArgumentError(f"{settled[0]} is an argument of LatentLoader, or settled by it; leave it out here.")
    return BatchLoader(loader, require_number(num_workers, "num_workers", 0), options)


@dataclass(frozen=True)
class Task:
    """What one pass reads: from which place on, and as which (rank, number of ranks)."""

    place: Place
    ranks: tuple[int, int]

    @classmethod
    def of(cls, loader: LatentLoader) -> Task:
        """What the next pass over `loader` would read."""
        return cls(loader._course.upcoming, loader._found())

    @property
    def next_epoch(self) -> Task:
        """The whole epoch after this one."""
        return Task(self.place.next_epoch, self.ranks)


class ReadyBatches(IterableDataset[dict[str, Any]]):
    """The batches of a `LatentLoader` as a data set, for a DataLoader with batch_size=None.

    `as_dataloader` is made of it. With another DataLoader, such as torchdata's StatefulDataLoader, call `set_epoch`
    before every epoch, as for torch's DistributedSampler: processes that end with their epoch cannot tell it.
    """

    def __init__(self, loader: LatentLoader) -> None:
        super().__init__()
        self.loader = loader
        self._task: Task | None = None

    def __len__(self) -> int:
        return len(self.loader)

    def set_epoch(self, epoch: int) -> None:
        """See `LatentLoader.set_epoch`."""
        self.loader.set_epoch(epoch)

    def give(self, task: Task) -> None:
        """What the next pass is to read; without it, what the loader would read."""
        self._task = task

    def __iter__(self) -> ReadyPass:
        task, given = self._task or Task.of(self.loader), self._task is not None
        if given:  # a process that stays alive goes on with the next epoch
            self._task = task.next_epoch
        return ReadyPass(self.loader, task, given)


class ReadyPass:
    """One pass of one process over its part of the batches. It has the states of torchdata's protocol.

    empty: whether None stands in place of batches of which no sample can be read; else these are left out.
    """

    def __init__(self, loader: LatentLoader, task: Task, empty: bool) -> None:
        worker = get_worker_info()
        self._loader, self._task, self._empty = loader, task, empty
        self._part = (0, 1) if worker is None else (worker.id, worker.num_workers)
        self._made = 0
        self._batches: Batches | None = None

    def __iter__(self) -> ReadyPass:
        return self

    def __next__(self) -> Any:
        if self._batches is None:
            number, count = self._part
            part = slice(number + self._made * count, None, count)
            self._batches = self._loader._made(self._task.place, self._task.ranks, part)
        for _, batch in self._batches:
            self._made += 1
            if batch is not None or self._empty:
                return batch
        raise StopIteration

    def state_dict(self) -> dict[str, Any]:
        """Which batches of which epoch this process has made."""
        place, ranks = asdict(self._task.place), list(self._task.ranks)
        return {"place": place, "ranks": ranks, "part": list(self._part), "made": self._made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind these batches. ArgumentError if other ranks or another number of processes made them."""
        own = {"ranks": list(self._task.ranks), "part": list(self._part)}
        if {name: state[name] for name in own} != own:
            raise ArgumentError(
                f"the state is of process {state['part']} and rank {state['ranks']}, and this is process {own['part']} "
                f"and rank {own['ranks']}: go on with as many of both, or use as_dataloader, whose state fits all"
            )
        epoch, read = state["place"]["epoch"], state["place"]["read"]
        self._task = Task(Place(epoch, tuple((ranks, each) for ranks, each in read)), self._task.ranks)
        self._made, self._batches = state["made"], None


class BatchLoader(DataLoader[dict[str, Any]]):
    """What `as_dataloader` gives."""

    dataset: ReadyBatches

    def __init__(self, loader: LatentLoader, num_workers: int, options: dict[str, Any]) -> None:
        ready = ReadyBatches(loader)
        super().__init__(
            ready, batch_size=None, num_workers=num_workers, collate_fn=_as_it_is, pin_memory=loader._delivery.pins,
            **options,
        )  # fmt: skip
        self._next: Task | None = None

    @property
    def loader(self) -> LatentLoader:
        """The loader that batches come from."""
        return self.dataset.loader

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.loader)

    def __iter__(self) -> Pass:  # type: ignore[override]
        return self.loader._passed(self._begin)

    def _begin(self, place: Place) -> tuple[Batches, Share]:
        task = Task(place, self.loader._found())
        if self._next is not None and self._next != task:
            self._iterator = None  # processes that stayed alive would read another epoch: begin with new ones
        if self.persistent_workers:
            self._next = task.next_epoch
        self.dataset.give(task)
        plan, share = self.loader._part(place, task.ranks)
        batches = self.loader._counted(self._handed(plan.jobs(share)))
        return self.loader._delivery.deliver(batches), share

    def _handed(self, jobs: Iterator[Job]) -> Batches:
        """The batches that processes made, with what they are of."""
        batches: Iterator[dict[str, Any]] = super().__iter__()
        yield from zip(jobs, batches, strict=True)

    def set_epoch(self, epoch: int) -> None:
        """See `LatentLoader.set_epoch`."""
        self.loader.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """See `LatentLoader.state_dict`."""
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `LatentLoader.load_state_dict`."""
        self.loader.load_state_dict(state)


def _as_it_is(batch: Any) -> Any:
    return batch
