"""`LatentLoader`: batches of tensors from a store, in an order that depends on seed and epoch alone.

Its workers are threads. Decoding and reading release Python's global lock, so threads run side by side. They start in
microseconds, share one copy of the index, and hand over tensors without copying; nothing is forked and nothing is
pickled (`docs/loading.md` has measurements). The data set is map-style, so torch's own DataLoader with worker processes
takes it too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.arguments import require_flag, require_number
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.epoch.buckets import Buckets
from latentstore.loaders.epoch.groups import GroupedEpoch, Windows
from latentstore.loaders.epoch.order import SampleOrder
from latentstore.loaders.epoch.place import Course, Place, Reading
from latentstore.loaders.epoch.plan import BatchPlan, Job, Plan, SamplePlan
from latentstore.loaders.epoch.ranks import found_ranks, given_ranks
from latentstore.loaders.epoch.schedule import MixedOrder, Slots
from latentstore.loaders.epoch.share import Share
from latentstore.loaders.epoch.state import make_state, read_state
from latentstore.loaders.grouping import SHAPE, batch_limits, grouped_by, groups_of
from latentstore.loaders.mixture import Mixture
from latentstore.loaders.source import Ahead, OneStore, Source

if TYPE_CHECKING:
    import torch

    from latentstore.codecs.neural.decoder import Decoder

Batches = Generator[tuple[Job, dict[str, Any]], None, None]

# Batches that each worker may be ahead of the one in use. This bounds the memory; two hide the jitter of one.
AHEAD = 2


class LatentLoader:
    """Batches of a store's samples. Each batch is a dict::

        {
            "latent": int8 (b, c, h, w),    # with output="codes": the codes as stored
            "key": list[str],
            "label": int64 (b,),            # and every other field: a tensor of numbers, or a list
        }

    ds: from `latentstore.open`, or from `latentstore.mix`: then a batch also has "store", int64 (b,), the number of the
        store that each sample is from. A part of a store, such as torch's Subset, has no order of its own here and is
        refused.
    batch_size: samples in a batch of this rank; the last batch may have fewer. Give this or `max_positions`.
    shuffle: False: as stored. True: a new permutation of all samples every epoch. "block": shards are shuffled, and
        samples within windows of a few shards. Choose "block" for object stores: each shard is read whole, once, before
        it is needed.
    seed: of the shuffle, 0 to 2^64 - 1. The same seed and epoch give the same order everywhere.
    num_workers: threads that read and decode ahead; 0 reads and decodes when a batch is asked for. It changes the speed
        only.
    drop_last: True leaves out an incomplete last batch, and samples that the ranks cannot share evenly. False repeats
        as few samples at the end of the epoch, so that all ranks make the same number of batches.
    max_positions: latent positions in a batch at most, padding included: height times width of latents of images,
        frames of audio. Images of many sizes are grouped by shape then, and audio of many lengths by similar length.
    group_by: "shape": all images of a batch have the same latent shape, and are one tensor; for stores of many sizes.
    output: "codes": int8. "latents": `dtype`, with zero mean and unit variance per channel over the store. "pixels":
        images uint8 (b, 3 or 1, H, W), under the name "pixels", decoded from the channels that are opened.
    dtype: for "latents" only: torch.float32 (default), bfloat16 or float16.
    decoder: for "pixels" only: "linear", the name of a trained decoder such as "small", or what `load_decoder` gives.
    rank, world_size: this process, and how many processes share the epoch; both or neither. By default they are looked
        up whenever a pass begins: in torch.distributed where that is initialised, else in the environment (RANK and
        WORLD_SIZE, as torchrun sets them); where there is neither, this process reads everything.

    Images of many sizes give a list of tensors instead of one tensor, unless they are grouped by shape. For audio,
    "latent" is (b, c, t), and the output "waveforms" gives decoded audio, float32 (b, n, inputs), under the name
    "waveform". Where lengths differ, batches are padded with zeros: "lengths" is int64 (b,), and "mask",
    bool (b, longest), is True where there is audio. Shuffled batches are then made of samples of similar lengths
    (`loaders.epoch.buckets`), and `padding` says how much is padded.

    Each iterator is one pass over one epoch. The epoch is over when its last batch has been handed out. Where a pass
    was left early, the next pass begins the next epoch. An iterator that is let go after one batch was only a look: it
    changes nothing, and neither does a second iterator beside the one in use.

    `state_dict` says where the last batch that was handed out ended. `load_state_dict` continues exactly there, with
    any number of workers and of ranks. A pickled loader continues there too.

    ArgumentError: an argument is out of range, the output is not one of the store's modality, a field of the store has
    the name of another entry of the batch, or (when a pass begins) the ranks in the environment cannot be meant.
    """

    def __init__(
        self,
        ds: LatentDataset | Mixture,
        batch_size: int | None = None,
        shuffle: bool | str = False,
        seed: int = 0,
        num_workers: int = 0,
        drop_last: bool = False,
        *,
        max_positions: int | None = None,
        group_by: str | None = None,
        output: str = "codes",
        dtype: torch.dtype | None = None,
        decoder: str | Decoder = LINEAR,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if not isinstance(ds, LatentDataset | Mixture):
            kind = f"{type(ds).__module__}.{type(ds).__qualname__}"
            raise ArgumentError(
                f"ds is a {kind}; LatentLoader takes what latentstore.open or latentstore.mix gives, since the order "
                "and the place in it are those of whole stores. For a part of one, use torch's DataLoader"
            )
        self.ds = ds
        self._source: Source = ds if isinstance(ds, Mixture) else OneStore(ds)
        self.num_workers = require_number(num_workers, "num_workers", 0)
        self.drop_last = require_flag(drop_last, "drop_last")
        self._ranks = given_ranks(rank, world_size)
        self._grouped = grouped_by(ds, group_by, max_positions)
        self.batch_size, self.max_positions = batch_limits(ds, batch_size, max_positions)
        self._seed = require_number(seed, "seed", 0, (1 << 64) - 1)
        self._order = self._source.order(_order_of(shuffle), self._seed, self.batch_size or 1)
        self._collate = self._source.collate(output, dtype, decoder, self._grouped == SHAPE)
        self._windows: Windows | None = None
        self._exact = output == "pixels"
        self._bucketed = self._source.pads and self._order.kind != "none" and self._grouped is None
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
        """Batches of a whole epoch; of the one that comes next, where epochs differ ("block" with groups)."""
        plan = self._plan(self.epoch)
        return plan.batches(self._share(plan, Place(self.epoch)).count)

    @property
    def padding(self) -> float:
        """The share, 0 to 1, of padding in the batches handed out since the last pass began."""
        return self._padded / self._places if self._places else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Where the last batch that was handed out ended, as JSON, and of which data set and order.

        It is the same on every rank that has made as many batches. The first call may read the keys of two samples.
        """
        return make_state(self._course.place, self._identity())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken.

        ArgumentError says what differs if it belongs to another order or data set.
        """
        place = read_state(state, self._identity(), self._source.url, lambda epoch: self._plan(epoch).units)
        self._course = Course(place)

    def _identity(self) -> dict[str, Any]:
        """What must be the same where a state is loaded."""
        if self._facts is None:
            made = self._bucketed or self._grouped is not None or self._source.separate
            self._facts = {
                "order": self._order.kind,
                "seed": self._seed,
                "drop_last": self.drop_last,
                **({"batch_size": self.batch_size} if made else {}),
                "max_positions": self.max_positions,
                "group_by": self._grouped,
                **self._source.identity(),
            }
        return self._facts

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_course": Course(self._course.place)}

    def __iter__(self) -> Pass:
        return Pass(self)

    def _plan(self, epoch: int) -> Plan:
        """The batches of an epoch."""
        order = self._order
        if self._grouped is not None:
            assert isinstance(order, SampleOrder)
            return BatchPlan(GroupedEpoch(self._by_group(), order, epoch, self.drop_last))
        assert self.batch_size is not None
        if isinstance(order, MixedOrder) and self._source.separate:
            return BatchPlan(Slots(order.epoch(epoch), order.slots, self.batch_size))
        of = order.epoch(epoch)
        if not self._bucketed:
            return SamplePlan(of, order.samples, self.batch_size, self.drop_last)
        buckets = Buckets(of, order.samples, self._seed, epoch, self.batch_size, self._lengths, self.drop_last)
        return BatchPlan(buckets)

    def _share(self, plan: Plan, place: Place) -> Share:
        return Share(plan.units, place.read, *self._found(), self.drop_last, self._order.contiguous)

    def _begin(self, place: Place) -> tuple[Batches, Share]:
        """(the batches from `place` on, the part of this rank)."""
        plan = self._plan(place.epoch)
        share = self._share(plan, place)
        self._padded = self._places = 0
        return self._read(plan, share), share

    def _read(self, plan: Plan, share: Share) -> Batches:
        shards = self._source.ahead(plan.order, plan.spans(share), self.num_workers > 0)
        jobs = plan.jobs(share)
        batches = self._ahead(jobs, shards) if self.num_workers else self._one_by_one(jobs, shards)
        try:
            for job, batch in batches:
                shards.passed(job.windows)
                self._count(batch)
                yield job, batch
        finally:
            batches.close()
            shards.close()

    def _count(self, batch: dict[str, Any]) -> None:
        if self._source.pads:
            self._places += batch["mask"].numel()
            self._padded += batch["mask"].numel() - int(batch["lengths"].sum())

    def _one_by_one(self, jobs: Iterator[Job], shards: Ahead) -> Batches:
        for job in jobs:
            yield job, self._load(job, shards)

    def _ahead(self, jobs: Iterator[Job], shards: Ahead) -> Batches:
        """The batches in order, made by `num_workers` threads, each up to ``AHEAD`` batches ahead."""
        waiting: deque[tuple[Job, Future[dict[str, Any]]]] = deque()
        pool = ThreadPoolExecutor(self.num_workers, "latentstore-loader")
        try:
            for job in jobs:
                waiting.append((job, pool.submit(self._load, job, shards)))
                shards.expect(job.windows)
                if len(waiting) > AHEAD * self.num_workers:
                    yield _result(waiting)
            while waiting:
                yield _result(waiting)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _load(self, job: Job, shards: Ahead) -> dict[str, Any]:
        shards.need(job.windows)
        return self._collate(job.indices)

    def _lengths(self, indices: np.ndarray) -> np.ndarray:
        return self._source.sizes(indices)[:, 1]

    def _by_group(self) -> Windows:
        """The groups of all samples; found when they are first needed, since that reads the sizes of all of them."""
        if self._windows is None:
            assert isinstance(self.ds, LatentDataset) and isinstance(self._order, SampleOrder)
            self._windows = Windows(groups_of(self.ds, self.batch_size, self.max_positions, self._exact), self._order)
        return self._windows


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
        self._share: Share | None = None

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
        self._batches, self._share = self._loader._begin(place)
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


def _result(waiting: deque[tuple[Job, Future[dict[str, Any]]]]) -> tuple[Job, dict[str, Any]]:
    job, future = waiting.popleft()
    return job, future.result()
