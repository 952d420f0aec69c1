"""`LatentLoader`: batches of tensors from a store, in an order that depends on seed and epoch alone.

Its workers are threads. Decoding and reading release Python's global lock, so threads run side by side. They start in
microseconds, share one copy of the index, and hand over tensors without copying; nothing is forked and nothing is
pickled (`docs/loading.md` has measurements). The data set is map-style, so torch's own DataLoader with worker processes
takes it too.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.arguments import require_flag, require_number
from latentstore.codecs.errors import ArgumentError, LatentstoreError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.loaders.batch import filled
from latentstore.loaders.columns import PADDED
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.epoch.buckets import Buckets
from latentstore.loaders.epoch.groups import LENGTH, SIMILAR, GroupedEpoch, Pooled
from latentstore.loaders.epoch.passes import Announced, Pass
from latentstore.loaders.epoch.place import Course, Place
from latentstore.loaders.epoch.plan import BatchPlan, Job, Plan, SamplePlan
from latentstore.loaders.epoch.ranks import found_ranks, given_ranks
from latentstore.loaders.epoch.schedule import MixedOrder, Slots
from latentstore.loaders.epoch.share import Share
from latentstore.loaders.epoch.state import make_state, read_state
from latentstore.loaders.faults.skipping import MOST_SKIPPED, Skipping, is_of_sample
from latentstore.loaders.grouping import batch_limits, grouped_by, pooled
from latentstore.loaders.mixture import Mixture
from latentstore.loaders.remote.allocator import give_back_of
from latentstore.loaders.remote.amounts import require_bytes
from latentstore.loaders.remote.readahead import MEMORY
from latentstore.loaders.source import Ahead, Source, Wanted
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.loaders.tensors.source import store_of
from latentstore.loaders.training.augment import Augment
from latentstore.loaders.training.device import Delivery

if TYPE_CHECKING:
    import torch

    from latentstore.codecs.neural.decoder import Decoder

Batches = Generator[tuple[Job, Any], None, None]
# None in place of a batch: none of its samples can be read.

# Batches that each worker may be ahead of the one in use. This bounds the memory; two hide the jitter of one.
AHEAD = 2


class LatentLoader:
    """Batches of a store's samples. Each batch is a dict::

        {
            "latent": int8 (b, c, h, w),    # with output="codes": the codes as stored
            "key": list[str],
            "label": int64 (b,),            # and every other field: a tensor of numbers, or a list
        }

    In a store of fields, the entries have the names of the fields; what is said of latents below is then of each field
    of latents. Tensors are one tensor where those of a batch have one shape, else a list.

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
    group_by: for stores of many sizes: "shape": all images of a batch have the same latent shape, and are one tensor.
        "similar": they have about the same height and width, and are padded with zeros to the largest of the batch;
        "lengths" is int64 (b, 2), the height and width of each, and "mask", bool (b, h, w), is True inside of it.
    output: "codes": int8. "latents": `dtype`, with zero mean and unit variance per channel over the store. "pixels":
        images uint8 (b, 3 or 1, H, W), under the name "pixels", decoded from the channels that are opened.
    dtype: for "latents" only: torch.float32 (default), bfloat16 or float16.
    decoder: for "pixels" and "waveforms": "linear", "best", the name of a trained decoder such as "small", or what
        `load_decoder` gives. A trained one takes twenty to seventy times as long, so it is never taken unasked.
    augment: random changes of the latents, an `Augment`. They are drawn from the seed, the epoch and the sample, so a
        run that goes on repeats them.
    variants: for stores of tensors: under each name, the fields of which each sample has one, at random, such as
        {"latent": ["latent", "mirrored"]}. Only the chosen one is read. It is drawn as `augment` is.
    collate: called with every batch; what it returns is handed out in its place. Workers call it, several at once.
    pin_memory: True puts tensors into page-locked memory, which a GPU reads faster.
    device: where tensors are handed out, such as "cuda" or "cuda:1"; None leaves them in memory. For CUDA, memory is
        pinned, and a batch is copied while the one before it is used.
    rank, world_size: this process, and how many processes share the epoch; both or neither. By default they are looked
        up whenever a pass begins: in torch.distributed where that is initialised, else in the environment (RANK and
        WORLD_SIZE, as torchrun sets them); where there is neither, this process reads everything.
    memory: of remote stores, how many bytes of shards this process may hold, in use and read ahead: a number of bytes,
        or text such as "2GB". It decides how far ahead is read. Shards of a window that do not fit are read batch by
        batch.
    on_error: what happens where a sample cannot be read or decoded. "raise": the pass ends with the error. "skip": the
        batch is smaller by this sample, which is named by the logger "latentstore"; a batch without any sample left is
        not handed out. A server that does not answer, or a store that was replaced, is an error in any case.
    max_skipped: how many samples may be skipped until it is an error all the same.

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
        ds: LatentDataset | TensorDataset | Mixture,
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
        augment: Augment | None = None,
        variants: Mapping[str, Sequence[str]] | None = None,
        collate: Callable[[dict[str, Any]], Any] | None = None,
        pin_memory: bool = False,
        device: str | torch.device | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        memory: int | str = MEMORY,
        on_error: str = "raise",
        max_skipped: int = MOST_SKIPPED,
    ) -> None:
        if not isinstance(ds, LatentDataset | TensorDataset | Mixture):
            kind = f"{type(ds).__module__}.{type(ds).__qualname__}"
            raise ArgumentError(
                f"ds is a {kind}; LatentLoader takes what latentstore.open or latentstore.mix gives, since the order "
                "and the place in it are those of whole stores. For a part of one, use torch's DataLoader"
            )
        self.ds = ds
        self._source: Source = ds if isinstance(ds, Mixture) else store_of(ds)
        self.num_workers = require_number(num_workers, "num_workers", 0)
        self.drop_last = require_flag(drop_last, "drop_last")
        self._ranks = given_ranks(rank, world_size)
        self._grouped = grouped_by(ds, group_by, max_positions)
        self.batch_size, self.max_positions = batch_limits(ds, batch_size, max_positions)
        self._seed = require_number(seed, "seed", 0, (1 << 64) - 1)
        slot = self.batch_size if self._source.separate and self._grouped is None else None
        self._order = self._source.order(_order_of(shuffle), self._seed, slot or 1)
        self._memory = require_bytes(memory, "memory")
        if augment is not None and not isinstance(augment, Augment):
            raise ArgumentError(f"augment is {augment!r}; it is an Augment, such as Augment(flip=True), or None")
        if collate is not None and not callable(collate):
            raise ArgumentError(f"collate is {collate!r}; it is a function that takes a batch, or None")
        wanted = Wanted(output, dtype, decoder, self._grouped, augment, self._seed, variants)
        self._collate = Skipping(self._source.collate(wanted), on_error, max_skipped)
        self._hook = collate
        self._delivery = Delivery(require_flag(pin_memory, "pin_memory"), device)
        self._pooled: Pooled | None = None
        self._exact = output == "pixels"
        cut = augment is not None and self._source.pads and augment.cuts  # to one length
        if cut and self._grouped is not None:
            raise ArgumentError("windows of recordings have one length: give batch_size in place of max_positions")
        if augment is not None and self._grouped is not None:
            _require_shapes_stay(augment, self._grouped)
        self._bucketed = self._source.pads and not cut and self._order.kind != "none" and self._grouped is None
        self._padded = self._places = 0
        self._course = Course(Place())
        self._facts: dict[str, Any] | None = None
        self._pools: dict[int, ThreadPoolExecutor] = {}

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
        return plan.batches(self._share(plan, Place(self.epoch), self._found()).count)

    @property
    def padding(self) -> float:
        """The share, 0 to 1, of padding in the batches handed out since the last pass began."""
        return self._padded / self._places if self._places else 0.0

    @property
    def skipped(self) -> dict[int, str]:
        """With on_error="skip": the samples that were skipped so far, and the reason for each. They are not tried
        again. In a mixture, samples are numbered through all stores."""
        return dict(self._collate.skipped)

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
        return {**self.__dict__, "_course": Course(self._course.place), "_pools": {}}

    def __iter__(self) -> Pass:
        return self._passed(self._begin)

    def _passed(self, begin: Callable[[Place], tuple[Batches, Share]]) -> Pass:
        """A pass whose batches come from `begin`, which also says which part of the epoch they are."""
        return Pass(self, begin)

    def _plan(self, epoch: int) -> Plan:
        """The batches of an epoch."""
        order = self._order
        if self._grouped is not None:
            shuffled = order.kind != "none"
            return BatchPlan(GroupedEpoch(self._by_group(), order.seed, shuffled, epoch, self.drop_last))
        assert self.batch_size is not None
        if isinstance(order, MixedOrder) and self._source.separate:
            return BatchPlan(Slots(order.epoch(epoch), order.slots, self.batch_size))
        of = order.epoch(epoch)
        if not self._bucketed:
            return SamplePlan(of, order.samples, self.batch_size, self.drop_last)
        buckets = Buckets(of, order.samples, self._seed, epoch, self.batch_size, self._lengths, self.drop_last)
        return BatchPlan(buckets)

    def _share(self, plan: Plan, place: Place, ranks: tuple[int, int]) -> Share:
        return Share(plan.units, place.read, *ranks, self.drop_last, self._order.contiguous)

    def _part(self, place: Place, ranks: tuple[int, int]) -> tuple[Plan, Share]:
        """(the batches of the epoch, what of it a rank reads from `place` on). ArgumentError if there is too little."""
        plan = self._plan(place.epoch)
        if self.drop_last and ranks[1] > plan.units > 0:
            raise ArgumentError(
                f"{self._source.url} has {plan.units} {'samples' if isinstance(plan, SamplePlan) else 'batches'}, too "
                f"few for {ranks[1]} ranks with drop_last=True: a rank would read nothing. Use fewer ranks, or "
                "drop_last=False"
            )
        return plan, self._share(plan, place, ranks)

    def _begin(self, place: Place) -> tuple[Batches, Share]:
        """(the batches from `place` on, the part of this rank)."""
        plan, share = self._part(place, self._found())
        batches = self._read(plan, share, plan.jobs(share), place.epoch, pinned=True)
        return self._delivery.deliver(self._counted(batches)), share

    def _made(self, place: Place, ranks: tuple[int, int], part: slice) -> Batches:
        """Of the batches of a rank from `place` on, those of `part`; None in place of one without samples."""
        plan, share = self._part(place, ranks)
        return self._read(plan, share, islice(plan.jobs(share), part.start, part.stop, part.step), place.epoch)

    def _read(self, plan: Plan, share: Share, jobs: Iterator[Job], epoch: int, pinned: bool = False) -> Batches:
        """The batches of `jobs`. pinned: whether pinning is done here."""
        shards = self._source.ahead(plan.order, plan.spans(share), self.num_workers > 0, self._memory)
        load = partial(self._load, shards=shards, epoch=epoch, pinned=pinned)
        batches = self._ahead(jobs, shards, load) if self.num_workers else ((job, load(job)) for job in jobs)
        try:
            for job, batch in batches:
                shards.passed(job.windows)
                yield job, batch
        finally:
            batches.close()
            if shards.close() and self.num_workers:
                give_back_of(self._workers(), self.num_workers)

    def _counted(self, made: Batches) -> Batches:
        """Those that have samples; what is padded in them is counted from now on."""
        self._padded = self._places = 0
        pads = self._source.pads or self._grouped in (LENGTH, SIMILAR)
        try:
            for job, batch in made:
                if batch is None:
                    continue
                if pads and isinstance(batch, dict) and batch.keys() >= PADDED:
                    self._places += batch["mask"].numel()
                    self._padded += batch["mask"].numel() - filled(batch["lengths"])
                yield job, batch
        finally:
            made.close()

    def _ahead(self, jobs: Iterator[Job], shards: Ahead, load: Callable[[Job], Any]) -> Batches:
        """The batches in order, made by `num_workers` threads, each up to ``AHEAD`` batches ahead."""
        waiting: deque[tuple[Job, Future[Any]]] = deque()
        pool = self._workers()
        try:
            for job in jobs:
                waiting.append((job, pool.submit(load, job)))
                shards.expect(job.windows)
                if len(waiting) > AHEAD * self.num_workers:
                    yield _result(waiting)
            while waiting:
                yield _result(waiting)
        finally:
            for _, future in waiting:
                future.cancel()

    def _workers(self) -> ThreadPoolExecutor:
        """The threads of this process that make batches, for all passes: threads that come and go with each pass would
        each leave memory behind that the system's allocator keeps for them."""
        found = self._pools.get(os.getpid())  # threads do not cross a fork
        if found is None:
            found = self._pools.setdefault(os.getpid(), ThreadPoolExecutor(self.num_workers, "latentstore-loader"))
        return found

    def _load(self, job: Job, shards: Ahead, epoch: int, pinned: bool) -> Any:
        try:
            shards.need(job.windows)
        except LatentstoreError as error:
            if not (self._collate.skips and is_of_sample(error)):
                raise  # else it is known of which samples when they are read
        batch: Any = self._collate(job.indices, epoch)
        if batch is None:
            return None
        if self._hook is not None:
            batch = self._hook(batch)
        return self._delivery.pinned(batch) if pinned else batch

    def _lengths(self, indices: np.ndarray) -> np.ndarray:
        return self._source.sizes(indices)[:, 1]

    def _by_group(self) -> Pooled:
        """The groups of all samples; found when they are first needed, since that reads the sizes of all of them."""
        if self._pooled is None:
            assert self._grouped is not None
            limits = self.batch_size, self.max_positions
            self._pooled = pooled(self.ds, self._order, self._grouped, *limits, self._exact)
        return self._pooled


def _require_shapes_stay(augment: Augment, grouped: str) -> None:
    """ArgumentError if changed samples would not be those that were grouped."""
    if augment.cuts and grouped == SIMILAR:
        raise ArgumentError("windows have one size, so nothing is padded: leave out group_by='similar'")
    if augment.turn and not augment.cuts:
        raise ArgumentError(
            "turn=True exchanges the height and the width of images, so those of a group would differ: give a crop, or "
            "flip='both' in place of turn"
        )


def _order_of(shuffle: Any) -> str:
    """The kind of order, of `loaders.epoch.order.ORDERS`."""
    if isinstance(shuffle, bool | np.bool_):
        return "full" if shuffle else "none"
    if not isinstance(shuffle, str) or shuffle != "block":
        raise ArgumentError(f"shuffle is {shuffle!r}, expected True, False or 'block'")
    return shuffle


def _result(waiting: deque[tuple[Job, Future[Any]]]) -> tuple[Job, Any]:
    job, future = waiting.popleft()
    return job, future.result()
