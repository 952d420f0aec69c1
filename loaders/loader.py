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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.loaders.batch import Collate
from latentstore.loaders.buckets import Buckets
from latentstore.loaders.order import EpochOrder, RankSlice, SampleOrder
from latentstore.loaders.remote.readahead import ReadAhead

if TYPE_CHECKING:
    import torch

    from latentstore.codecs.neural.decoder import Decoder
    from latentstore.loaders.dataset import LatentDataset

Batches = Generator[tuple["Job", dict[str, Any]], None, None]

# Batches that each worker may be ahead of the one in use. This bounds the memory; two hide the jitter of one.
AHEAD = 2
# Batches whose order is computed in one call, because a call of NumPy has a fixed cost.
SLAB = 16
STATE_VERSION = 1


class LatentLoader:
    """Batches of a store's samples. Each batch is a dict::

        {
            "latent": int8 (b, c, h, w),    # with output="codes": the codes as stored
            "key": list[str],
            "label": int64 (b,),            # and every other field: a tensor of numbers, or a list
        }

    ds: from `latentstore.open`.
    batch_size: samples in a batch of this rank; the last batch may have fewer.
    shuffle: False: as stored. True: a new permutation of all samples every epoch. "block": shards are shuffled, and
        samples within windows of a few shards. Choose "block" for object stores: each shard is read whole, once, before
        it is needed.
    seed: of the shuffle. The same seed and epoch give the same order everywhere.
    num_workers: threads that read and decode ahead; 0 reads and decodes when a batch is asked for. It changes the speed
        only.
    drop_last: True leaves out an incomplete last batch, and samples that the ranks cannot share evenly. False repeats
        the first samples of the epoch for these, so that all ranks make the same number of batches.
    output: "codes": int8. "latents": `dtype`, with zero mean and unit variance per channel over the store. "pixels":
        images uint8 (b, 3 or 1, H, W), under the name "pixels", decoded from the channels that are opened.
    dtype: for "latents" only: torch.float32 (default), bfloat16 or float16.
    decoder: for "pixels" only: "linear", the name of a trained decoder such as "small", or what `load_decoder` gives.
    rank, world_size: this process, and how many processes share the epoch.

    Images of many sizes give a list of tensors instead of one tensor. For audio, "latent" is (b, c, t), and the output
    "waveforms" gives decoded audio, float32 (b, n, inputs), under the name "waveform". Where lengths differ, batches
    are padded with zeros: "lengths" is int64 (b,), and "mask", bool (b, longest), is True where there is audio.
    Shuffled batches are then made of samples of similar lengths (`loaders.buckets`), and `padding` says how much is
    padded.

    Iterating over the loader reads one epoch and moves on to the next. If it is stopped earlier, the next iteration
    begins the same epoch again. `state_dict` says where the last batch that was handed out ended. `load_state_dict`
    continues exactly there, with any number of workers, and with shuffle=True with any number of ranks.

    ArgumentError: an argument is out of range, the output is not one of the store's modality, or a field of the store
    has the name of another entry of the batch.
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
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or num_workers < 0:
            raise ArgumentError(
                f"batch_size is {batch_size}, expected 1 or more; num_workers is {num_workers}, expected 0 or more"
            )
        if shuffle not in (False, True, "block"):
            raise ArgumentError(f"shuffle is {shuffle!r}, expected True, False or 'block'")
        self.ds = ds
        self.batch_size, self.num_workers, self.drop_last = batch_size, num_workers, drop_last
        self.rank, self.world_size = rank, world_size
        kind = "block" if shuffle == "block" else "full" if shuffle else "none"
        self._order = SampleOrder(tuple(np.diff(ds.shard_starts).tolist()), kind, seed)
        self._collate = Collate(ds, output, dtype, decoder)
        self._pads = ds.modality.pads and ds.size is None
        self._bucketed = self._pads and kind != "none"
        self._padded = self._places = 0
        self._slice(0)  # refuses impossible ranks now
        self._epoch = 0
        self._position = self._start = 0

    @property
    def epoch(self) -> int:
        """The epoch that is being read, or that the next iteration reads."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Read `epoch` next, from its beginning. Nothing changes if the loader is in this epoch already."""
        if epoch < 0:
            raise ArgumentError(f"epoch is {epoch}, expected 0 or more")
        if epoch != self._epoch:
            self._epoch, self._position, self._start = epoch, 0, 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self._batches_of(self._slice(0).count)

    @property
    def padding(self) -> float:
        """The share, 0 to 1, of padding in the batches handed out since the last iteration began."""
        return self._padded / self._places if self._places else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Where the last batch that was handed out ended, as JSON.

        It is the same on every rank that has made as many batches.
        """
        return {
            "version": STATE_VERSION,
            "epoch": self._epoch,
            "position": self._position,
            "world_size": self.world_size,
            **self._identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken. ArgumentError if it belongs to another order or data set."""
        if state.get("version") != STATE_VERSION:
            raise ArgumentError(
                f"the loader state has version {state.get('version')!r}, and this version of latentstore reads "
                f"{STATE_VERSION}"
            )
        for name, own in self._identity().items():
            if state.get(name) != own:
                raise ArgumentError(f"the loader state has {name} {state.get(name)!r}, and this loader has {own!r}")
        if self._order.contiguous and state["position"] and state["world_size"] != self.world_size:
            raise ArgumentError(
                f"the loader state is from {state['world_size']} ranks, and there are {self.world_size}: another "
                "number of ranks can continue in the middle of an epoch only with shuffle=True"
            )
        self._epoch, self._position, self._start = state["epoch"], state["position"], state["position"]

    def _identity(self) -> dict[str, Any]:
        own = {"order": self._order.kind, "seed": self._order.seed, "samples": self._order.samples}
        return {**own, "batch_size": self.batch_size} if self._bucketed else own

    def __iter__(self) -> Iterator[dict[str, Any]]:
        first, self._start = self._start, 0
        self._position = first
        self._padded = self._places = 0
        return self._read(self._epoch, first)

    def _read(self, epoch: int, first: int) -> Iterator[dict[str, Any]]:
        order, cut = self._order.epoch(epoch), self._slice(first)
        last = cut.positions(cut.count - 1, cut.count)
        if self._bucketed:
            last = np.minimum((last + 1) * self.batch_size, self._order.samples) - 1
        shards = ReadAhead(self.ds, order, int(order.windows(last).max(initial=-1)), ahead=self.num_workers > 0)
        jobs = self._bucketed_jobs(epoch, cut, first) if self._bucketed else self._jobs(order, cut, first)
        batches = self._ahead(jobs, shards) if self.num_workers else self._one_by_one(jobs, shards)
        try:
            for job, batch in batches:
                if self._epoch == epoch:
                    self._position = job.position
                shards.passed(job.windows)
                self._count(batch)
                yield batch
        finally:
            batches.close()
            shards.close()
        if self._epoch == epoch:
            self._epoch, self._position = epoch + 1, 0

    def _count(self, batch: dict[str, Any]) -> None:
        if self._pads:
            self._places += batch["mask"].numel()
            self._padded += batch["mask"].numel() - int(batch["lengths"].sum())

    def _one_by_one(self, jobs: Iterator[Job], shards: ReadAhead) -> Batches:
        for job in jobs:
            yield job, self._load(job, shards)

    def _ahead(self, jobs: Iterator[Job], shards: ReadAhead) -> Batches:
        """The batches in order, made by `num_workers` threads, each up to ``AHEAD`` batches ahead."""
        waiting: deque[tuple[Job, Future[dict[str, Any]]]] = deque()
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

    def _load(self, job: Job, shards: ReadAhead) -> dict[str, Any]:
        shards.need(job.windows)
        return self._collate(job.indices)

    def _slice(self, first: int) -> RankSlice:
        contiguous = self._order.contiguous
        first = 0 if contiguous else first
        units = self._order.samples
        if self._bucketed:  # ranks share batches, not samples
            units = units // self.batch_size if self.drop_last else -(-units // self.batch_size)
        return RankSlice(units, self.rank, self.world_size, self.drop_last, contiguous, first)

    def _batches_of(self, count: int) -> int:
        if self._bucketed:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def _bucketed_jobs(self, epoch: int, cut: RankSlice, first: int) -> Iterator[Job]:
        """As `_jobs`, for batches of similar lengths; positions count batches."""
        buckets = Buckets(self._order, epoch, self.batch_size, self._lengths)
        begin = first // self.world_size if self._order.contiguous else 0
        for own, number in enumerate(cut.positions(begin, cut.count).tolist(), begin + 1):
            indices, windows = buckets.batch(number)
            yield Job(indices, windows, cut.first + own * self.world_size)

    def _lengths(self, indices: np.ndarray) -> np.ndarray:
        return self.ds.reader.sizes(indices)[:, 1]

    def _jobs(self, order: EpochOrder, cut: RankSlice, first: int) -> Iterator[Job]:
        """The batches of this rank that are left when all ranks together have read `first` samples."""
        begin = first // self.world_size if self._order.contiguous else 0
        batches = self._batches_of(cut.count - begin)
        for slab in range(0, batches, SLAB):
            start = begin + slab * self.batch_size
            stop = min(begin + min(slab + SLAB, batches) * self.batch_size, cut.count)
            positions = cut.positions(start, stop)
            indices, windows = order.indices(positions), order.windows(positions)
            for a in range(0, stop - start, self.batch_size):
                b = min(a + self.batch_size, stop - start)
                done = cut.first + (start + b) * self.world_size
                yield Job(indices[a:b], np.unique(windows[a:b]).tolist(), done)


@dataclass(frozen=True)
class Job:
    """One batch to make.

    indices: of its samples, int64 (b,). windows: the windows of the order that they are in. position: where the epoch
    is after this batch, counted over all ranks, in samples, or in batches where these are made by length.
    """

    indices: np.ndarray
    windows: list[int]
    position: int


def _result(waiting: deque[tuple[Job, Future[dict[str, Any]]]]) -> tuple[Job, dict[str, Any]]:
    job, future = waiting.popleft()
    return job, future.result()
