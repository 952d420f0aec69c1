"""`LatentLoader`: batches of tensors from a store, in an order that depends on seed and epoch alone.

Its workers are threads. Decoding and reading release Python's global lock, so threads run side by side. They start in
microseconds, share one copy of the index, and hand over tensors without copying; nothing is forked and nothing is
pickled (`docs/loading.md` has measurements). The data set is map-style, so torch's own DataLoader with worker processes
takes it too.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.arguments import require_flag, require_number, whole_number
from latentstore.codecs.errors import ArgumentError, LatentstoreError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.loaders.batch import Collate
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.epoch.buckets import Buckets, pooled
from latentstore.loaders.epoch.order import EpochOrder, RankSlice, SampleOrder
from latentstore.loaders.epoch.place import Course, Place, Reading
from latentstore.loaders.epoch.ranks import found_ranks, given_ranks
from latentstore.loaders.remote.amounts import require_bytes
from latentstore.loaders.remote.readahead import MEMORY, ReadAhead
from latentstore.loaders.skipping import MOST_SKIPPED, Skipping, is_of_sample

if TYPE_CHECKING:
    import torch

    from latentstore.codecs.neural.decoder import Decoder

Batches = Generator[tuple["Job", dict[str, Any]], None, None]
# None: of a batch that has no sample that can be read.
Made = Generator[tuple["Job", dict[str, Any] | None], None, None]

# Batches that each worker may be ahead of the one in use. This bounds the memory; two hide the jitter of one.
AHEAD = 2
# Batches whose order is computed in one call, because a call of NumPy has a fixed cost.
SLAB = 16
STATE_VERSION = 2


class LatentLoader:
    """Batches of a store's samples. Each batch is a dict::

        {
            "latent": int8 (b, c, h, w),    # with output="codes": the codes as stored
            "key": list[str],
            "label": int64 (b,),            # and every other field: a tensor of numbers, or a list
        }

    ds: from `latentstore.open`. A part of it, such as torch's Subset, has no order of its own here and is refused.
    batch_size: samples in a batch of this rank; the last batch may have fewer.
    shuffle: False: as stored. True: a new permutation of all samples every epoch. "block": shards are shuffled, and
        samples within windows of a few shards. Choose "block" for object stores: each shard is read whole, once, before
        it is needed.
    seed: of the shuffle, 0 to 2^64 - 1. The same seed and epoch give the same order everywhere.
    num_workers: threads that read and decode ahead; 0 reads and decodes when a batch is asked for. It changes the speed
        only.
    drop_last: True leaves out an incomplete last batch, and samples that the ranks cannot share evenly. False repeats
        the first samples of the epoch for these, so that all ranks make the same number of batches.
    output: "codes": int8. "latents": `dtype`, with zero mean and unit variance per channel over the store. "pixels":
        images uint8 (b, 3 or 1, H, W), under the name "pixels", decoded from the channels that are opened.
    dtype: for "latents" only: torch.float32 (default), bfloat16 or float16.
    decoder: for "pixels" only: "linear", the name of a trained decoder such as "small", or what `load_decoder` gives.
    rank, world_size: this process, and how many processes share the epoch; both or neither. By default they are looked
        up whenever a pass begins: in torch.distributed where that is initialised, else in the environment (RANK and
        WORLD_SIZE, as torchrun sets them); where there is neither, this process reads everything.
    memory: of a remote store, how many bytes of shards this process may hold, in use and read ahead: a number of bytes,
        or text such as "2GB". It decides how far ahead is read. Shards of a window that do not fit are read batch by
        batch.
    on_error: what happens where a sample cannot be read or decoded. "raise": the pass ends with the error. "skip": the
        batch is smaller by this sample, which is named by the logger "latentstore"; a batch without any sample left is
        not handed out. A server that does not answer, or a store that was replaced, is an error in any case.
    max_skipped: how many samples may be skipped until it is an error all the same.

    Images of many sizes give a list of tensors instead of one tensor. For audio, "latent" is (b, c, t), and the output
    "waveforms" gives decoded audio, float32 (b, n, inputs), under the name "waveform". Where lengths differ, batches
    are padded with zeros: "lengths" is int64 (b,), and "mask", bool (b, longest), is True where there is audio.
    Shuffled batches are then made of samples of similar lengths (`loaders.epoch.buckets`), and `padding` says how much
    is padded.

    Each iterator is one pass over one epoch. The epoch is over when its last batch has been handed out. Where a pass
    was left early, the next pass begins the next epoch. An iterator that is let go after one batch was only a look: it
    changes nothing, and neither does a second iterator beside the one in use.

    `state_dict` says where the last batch that was handed out ended. `load_state_dict` continues exactly there, with
    any number of workers, and with shuffle=True with any number of ranks. A pickled loader continues there too.

    ArgumentError: an argument is out of range, the output is not one of the store's modality, a field of the store has
    the name of another entry of the batch, or (when a pass begins) the ranks in the environment cannot be meant.
    """

    def __init__(
        self,
        ds: LatentDataset,
        batch_size: int,
        shuffle: bool | str = False,
        seed: int = 0,
        num_workers: int = 0,
        drop_last: bool = False,
        *,
        output: str = "codes",
        dtype: torch.dtype | None = None,
        decoder: str | Decoder = LINEAR,
        rank: int | None = None,
        world_size: int | None = None,
        memory: int | str = MEMORY,
        on_error: str = "raise",
        max_skipped: int = MOST_SKIPPED,
    ) -> None:
        if not isinstance(ds, LatentDataset):
            kind = f"{type(ds).__module__}.{type(ds).__qualname__}"
            raise ArgumentError(
                f"ds is a {kind}; LatentLoader takes what latentstore.open gives, since the order and the place in it "
                "are those of a whole store. For a part of one, or for several together, use torch's DataLoader"
            )
        self.ds = ds
        self.batch_size = require_number(batch_size, "batch_size", 1)
        self.num_workers = require_number(num_workers, "num_workers", 0)
        self.drop_last = require_flag(drop_last, "drop_last")
        self._ranks = given_ranks(rank, world_size)
        self._memory = require_bytes(memory, "memory")
        self._order = SampleOrder(tuple(np.diff(ds.shard_starts).tolist()), _order_of(shuffle), seed)
        self._collate = Skipping(Collate(ds, output, dtype, decoder), on_error, max_skipped)
        self._pads = ds.modality.pads and ds.size is None
        self._bucketed = self._pads and self._order.kind != "none"
        self._padded = self._places = 0
        self._course = Course(Place())
        self._facts: dict[str, Any] | None = None

    @property
    def rank(self) -> int:
        """This process: as given, or as found now."""
        return self._found()[0]

    @property
    def world_size(self) -> int:
        """How many processes share an epoch: as given, or as found now."""
        return self._found()[1]

    def _found(self) -> tuple[int, int]:
        return self._ranks or found_ranks()

    @property
    def epoch(self) -> int:
        """The epoch that is being read, or that the next pass reads."""
        return self._course.upcoming.epoch

    def set_epoch(self, epoch: int) -> None:
        """Read `epoch` next, from its beginning. Nothing changes if the loader is in this epoch already."""
        epoch = require_number(epoch, "epoch", 0)
        current, upcoming = self._course.current, self._course.upcoming
        if epoch != upcoming.epoch:
            self._course = Course(Place(epoch))
        elif current is not None and not current.alive:
            self._course = Course(upcoming)

    @property
    def batch_sampler(self) -> Announced:
        """Where trainers such as Lightning's announce the epoch that begins, by `batch_sampler.sampler.set_epoch`.

        So a run that goes on at the beginning of an epoch, for which Lightning loads no state, reads the right epoch.
        """
        return Announced(self)

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self._batches_of(self._slice(0, self._found()).count)

    @property
    def padding(self) -> float:
        """The share, 0 to 1, of padding in the batches handed out since the last pass began."""
        return self._padded / self._places if self._places else 0.0

    @property
    def skipped(self) -> dict[int, str]:
        """With on_error="skip": the samples that were skipped so far, and the reason for each. They are not tried
        again."""
        return dict(self._collate.skipped)

    def state_dict(self) -> dict[str, Any]:
        """Where the last batch that was handed out ended, as JSON, and of which data set and order.

        It is the same on every rank that has made as many batches. The first call may read the keys of two samples.
        """
        place = self._course.place
        world_size = self.world_size if place.world_size is None else place.world_size
        at = {"epoch": place.epoch, "position": place.position, "world_size": world_size}
        return {"version": STATE_VERSION, **at, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken.

        ArgumentError says what differs if it belongs to another order or data set.
        """
        if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
            version = state.get("version") if isinstance(state, dict) else state
            raise ArgumentError(
                f"the loader state has version {version!r}, and this version of latentstore reads {STATE_VERSION}"
            )
        own = self._identity()
        other = [name for name in own if state.get(name) != own[name]]
        if other:
            said = "; ".join(f"{name} is {state.get(name)!r} in the state and {own[name]!r} here" for name in other)
            raise ArgumentError(
                f"the loader state is of another data set or order than this loader's, {self.ds.url}: {said}"
            )
        numbers = [whole_number(state.get(name)) for name in ("epoch", "position", "world_size")]
        epoch, position, world_size = (-1 if number is None else number for number in numbers)
        if epoch < 0 or not 0 <= position < max(1, self._units) or world_size < 1:
            place_said = {name: state.get(name) for name in ("epoch", "position", "world_size")}
            raise ArgumentError(f"the loader state is damaged: {place_said} is no place in an epoch of {self._units}")
        place = Place(epoch, position, world_size)
        if self._ranks is not None:
            self._require_ranks(place, self._ranks)  # else it is known when a pass begins
        self._course = Course(place)

    def _require_ranks(self, place: Place, ranks: tuple[int, int]) -> None:
        if self._order.contiguous and place.position and place.world_size != ranks[1]:
            raise ArgumentError(
                f"the loader state is from {place.world_size} ranks, and there are {ranks[1]}: another number of ranks "
                "can continue in the middle of an epoch only with shuffle=True"
            )

    def _identity(self) -> dict[str, Any]:
        """What must be the same where a state is loaded."""
        if self._facts is None:
            sizes = self._order.shard_sizes
            ends = self.ds.keys(np.array([0, len(self.ds) - 1])) if len(self.ds) else []
            self._facts = {
                "order": self._order.kind,
                "seed": self._order.seed,
                "drop_last": self.drop_last,
                **({"batch_size": self.batch_size} if self._bucketed else {}),
                "samples": self._order.samples,
                "shards": len(sizes),
                "shard_sizes": hashlib.sha256(np.array(sizes, "<i8").tobytes()).hexdigest()[:16],
                "first_and_last_key": ends,
                "store": self.ds.reader.meta.digest,
            }
        return self._facts

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_course": Course(self._course.place)}

    def __iter__(self) -> Pass:
        return Pass(self)

    def _begin(self, place: Place) -> tuple[Batches, int]:
        """(the batches from `place` on, the number of ranks)."""
        ranks = self._found()
        self._require_ranks(place, ranks)
        if self.drop_last and ranks[1] > self._units > 0:
            raise ArgumentError(
                f"{self.ds.url} has {len(self.ds)} samples, too few for {ranks[1]} ranks with drop_last=True: a rank "
                "would read nothing. Use fewer ranks, or drop_last=False"
            )
        self._padded = self._places = 0
        return self._read(place, self._slice(place.position, ranks)), ranks[1]

    def _read(self, place: Place, cut: RankSlice) -> Batches:
        order, reach = self._order.epoch(place.epoch), cut.reach
        if self._bucketed:
            reach = pooled(*reach, self.batch_size, self._order.samples)
        begin, end = order.windows(np.array(reach)).tolist() if cut.count else (0, -1)
        shards = ReadAhead(self.ds, order, begin, end, self.num_workers > 0, self._memory)
        jobs = self._bucketed_jobs(place, cut) if self._bucketed else self._jobs(order, cut, place.position)
        batches = self._ahead(jobs, shards) if self.num_workers else self._one_by_one(jobs, shards)
        try:
            for job, batch in batches:
                shards.passed(job.windows)
                if batch is not None:
                    self._count(batch)
                    yield job, batch
        finally:
            batches.close()
            shards.close()

    def _count(self, batch: dict[str, Any]) -> None:
        if self._pads:
            self._places += batch["mask"].numel()
            self._padded += batch["mask"].numel() - int(batch["lengths"].sum())

    def _one_by_one(self, jobs: Iterator[Job], shards: ReadAhead) -> Made:
        for job in jobs:
            yield job, self._load(job, shards)

    def _ahead(self, jobs: Iterator[Job], shards: ReadAhead) -> Made:
        """The batches in order, made by `num_workers` threads, each up to ``AHEAD`` batches ahead."""
        waiting: deque[tuple[Job, Future[dict[str, Any] | None]]] = deque()
        pool = ThreadPoolExecutor(self.num_workers, "latentstore-loader")
        try:
            for job in jobs:
                waiting.append((job, pool.submit(self._load, job, shards)))
                shards.expect(job.windows[-1] + 1)
                if len(waiting) > AHEAD * self.num_workers:
                    yield _result(waiting)
            while waiting:
                yield _result(waiting)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _load(self, job: Job, shards: ReadAhead) -> dict[str, Any] | None:
        try:
            shards.need(job.windows)
        except LatentstoreError as error:
            if not (self._collate.skips and is_of_sample(error)):
                raise  # else it is known of which samples when they are read
        return self._collate(job.indices)

    @property
    def _units(self) -> int:
        """What ranks share: samples, or batches where these are made by length."""
        samples = self._order.samples
        if not self._bucketed:
            return samples
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def _slice(self, first: int, ranks: tuple[int, int]) -> RankSlice:
        contiguous = self._order.contiguous
        first = 0 if contiguous else first
        return RankSlice(self._units, *ranks, self.drop_last, contiguous, first)

    def _batches_of(self, count: int) -> int:
        if self._bucketed:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def _bucketed_jobs(self, place: Place, cut: RankSlice) -> Iterator[Job]:
        """As `_jobs`, for batches of similar lengths; positions count batches."""
        buckets = Buckets(self._order, place.epoch, self.batch_size, self._lengths)
        begin = place.position // cut.world_size if self._order.contiguous else 0
        for own, number in enumerate(cut.positions(begin, cut.count).tolist(), begin + 1):
            indices, windows = buckets.batch(number)
            yield Job(indices, windows, cut.first + own * cut.world_size, own == cut.count)

    def _lengths(self, indices: np.ndarray) -> np.ndarray:
        return self.ds.reader.sizes(indices)[:, 1]

    def _jobs(self, order: EpochOrder, cut: RankSlice, first: int) -> Iterator[Job]:
        """The batches of this rank that are left when all ranks together have read `first` samples."""
        begin = first // cut.world_size if self._order.contiguous else 0
        batches = self._batches_of(cut.count - begin)
        for slab in range(0, batches, SLAB):
            start = begin + slab * self.batch_size
            stop = min(begin + min(slab + SLAB, batches) * self.batch_size, cut.count)
            positions = cut.positions(start, stop)
            indices, windows = order.indices(positions), order.windows(positions)
            for own, a in enumerate(range(0, stop - start, self.batch_size), slab + 1):
                b = min(a + self.batch_size, stop - start)
                done = cut.first + (start + b) * cut.world_size
                yield Job(indices[a:b], np.unique(windows[a:b]).tolist(), done, own == batches)


@dataclass(frozen=True)
class Job:
    """One batch to make.

    indices: of its samples, int64 (b,). windows: the windows of the order that they are in. position: where the epoch
    is after this batch, counted over all ranks, in samples, or in batches where these are made by length. last: whether
    it is the last one of the epoch.
    """

    indices: np.ndarray
    windows: list[int]
    position: int
    last: bool


class Pass:
    """An iterator over the batches of one epoch, which `iter` of a `LatentLoader` gives.

    It decides which epoch it reads, and which part is this rank's, when the first batch is asked for.
    """

    def __init__(self, loader: LatentLoader) -> None:
        self._loader = loader
        current = loader._course.current
        self._before = current if current is not None and current.alive else None
        self._reading: Reading | None = None
        self._batches: Batches | None = None
        self._world_size = 1

    def __iter__(self) -> Pass:
        return self

    def __next__(self) -> dict[str, Any]:
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
        self._course.handed(reading, Place(reading.begin.epoch, job.position, self._world_size), job.last)
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
        self._batches, self._world_size = self._loader._begin(place)
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


def _order_of(shuffle: Any) -> str:
    """The kind of order, of `loaders.epoch.order.ORDERS`."""
    if isinstance(shuffle, bool | np.bool_):
        return "full" if shuffle else "none"
    if not isinstance(shuffle, str) or shuffle != "block":
        raise ArgumentError(f"shuffle is {shuffle!r}, expected True, False or 'block'")
    return shuffle


def _result(waiting: deque[tuple[Job, Future[dict[str, Any] | None]]]) -> tuple[Job, dict[str, Any] | None]:
    job, future = waiting.popleft()
    return job, future.result()
