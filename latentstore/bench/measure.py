"""What `latentstore bench` measures: a loader, its stages one by one, and what this machine could do at most."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.arguments import require_number
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.batch import Collate
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.loader import LatentLoader
from latentstore.loaders.opening import open_latents

__all__ = ["Bench", "Told", "bench", "cores"]

Told = Callable[[str], None]
SHARES = {"loader": 0.45, "limit": 0.3, "stages": 0.25}
"""Of the time that there is."""


@dataclass(frozen=True)
class Bench:
    """What was measured.

    store, samples, channels, batch_size, workers, shuffle, output: what was read, and how. local: whether the store is
    files of this machine. cores: of this machine, that this process may use.
    open_seconds: to open the store. first_batch_seconds: from making the loader to its first batch.
    samples_per_second, stored_mb_per_second, latent_mb_per_second: of the loader; megabytes are 10^6 bytes, as stored,
        and as int8 latents.
    limit_samples_per_second: reading and entropy decoding alone, with as many threads, in the same run. of_limit: the
        share of it that the loader reaches.
    fetch, decode, collate: the share of each in the work for a batch, on one thread: getting the bytes, entropy
        decoding, and everything else. one_thread_samples_per_second: of all three.
    measured_samples: that the loader handed out. passes: over how much of the store that was.
    """

    store: str
    samples: int
    channels: int
    all_channels: int
    batch_size: int
    workers: int
    shuffle: bool | str
    output: str
    local: bool
    cores: int
    open_seconds: float
    first_batch_seconds: float
    samples_per_second: float
    stored_mb_per_second: float
    latent_mb_per_second: float
    limit_samples_per_second: float
    of_limit: float
    fetch: float
    decode: float
    collate: float
    one_thread_samples_per_second: float
    measured_samples: int
    passes: float


def bench(
    url: str,
    *,
    channels: int | None = None,
    batch_size: int = 256,
    workers: int | None = None,
    shuffle: bool | str | None = None,
    output: str = "codes",
    seconds: float = 12.0,
    storage_options: dict[str, Any] | None = None,
    told: Told = lambda line: None,
) -> Bench:
    """Reads the store at `url` with a `LatentLoader` for a while, and says how fast that was.

    channels, batch_size, shuffle, output: as of `open` and `LatentLoader`; shuffle is True for local stores, and
    "block" for others. workers: threads; None for as many as there are cores. seconds: about how long it may take.
    told: is called with a line when a step begins.

    ArgumentError if the store has no samples, or an argument is out of range. StoreError if there is no store.
    """
    if not 0 < seconds < float("inf"):
        raise ArgumentError(f"seconds is {seconds!r}; it is a number of seconds, more than 0.")
    workers = cores() if workers is None else require_number(workers, "workers", 0)
    told(f"opening {url}")
    began = time.perf_counter()
    ds = open_latents(url, channels=channels, storage_options=storage_options)
    open_seconds = time.perf_counter() - began
    if not len(ds):
        raise ArgumentError(f"{ds.url} has no samples, so there is nothing to measure")
    batch_size = min(require_number(batch_size, "batch_size", 1), len(ds))
    shuffle = (True if ds.is_local else "block") if shuffle is None else shuffle

    told("reading the first batch")
    began = time.perf_counter()
    loader = LatentLoader(ds, batch_size, shuffle, num_workers=workers, output=output)
    batches = _endless(loader)
    first = next(batches)
    first_seconds = time.perf_counter() - began

    told("reading batches")
    handed, took = _counted(batches, first, SHARES["loader"] * seconds)
    batches.close()
    plain = _Plain(ds, batch_size)
    told("reading and decoding alone")
    limit = plain.limit(workers, SHARES["limit"] * seconds)
    told("measuring each stage")
    stages = plain.stages(Collate(ds, output, None), SHARES["stages"] * seconds)
    fetch, decode, collate = (stages / stages.sum()).tolist()

    stored = int(ds.group_bytes(plain.some).sum()) / len(plain.some)
    per_latent = ds.channels * _positions(ds, plain.some)
    speed = handed / took
    return Bench(
        store=url, samples=len(ds), channels=ds.channels, all_channels=ds.codec.channels, batch_size=batch_size,
        workers=workers, shuffle=shuffle, output=output, local=ds.is_local, cores=cores(),
        open_seconds=open_seconds, first_batch_seconds=first_seconds,
        samples_per_second=speed, stored_mb_per_second=speed * stored / 1e6,
        latent_mb_per_second=speed * per_latent / 1e6,
        limit_samples_per_second=limit, of_limit=speed / limit,
        fetch=fetch, decode=decode, collate=collate, one_thread_samples_per_second=1 / float(stages.sum()),
        measured_samples=handed, passes=handed / len(ds),
    )  # fmt: skip


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Plain:
    """Reads a store without a loader, batch by batch; a store that is not local, shard by shard.

    some: the samples that figures of bytes are of.
    """

    def __init__(self, ds: LatentDataset, batch_size: int) -> None:
        self.ds, self.batch_size = ds, batch_size
        self._at = 0
        self.some = np.arange(min(len(ds), 4096), dtype=np.int64)

    def _next(self) -> tuple[np.ndarray, list[int]]:
        """(the samples to read next, the shards to load for them)."""
        if self.ds.is_local:
            begin, self._at = self._at, (self._at + self.batch_size) % len(self.ds)
            places = np.arange(begin, begin + self.batch_size, dtype=np.int64)
            return places * _stride(len(self.ds)) % len(self.ds), []
        starts = self.ds.shard_starts
        shard, self._at = self._at, (self._at + 1) % (len(starts) - 1)
        return np.arange(starts[shard], starts[shard + 1], dtype=np.int64), [shard]

    def _decoded(self, work: tuple[np.ndarray, list[int]]) -> int:
        indices, shards = work
        self.ds.load_shards(shards)
        for at in range(0, len(indices), self.batch_size):
            self.ds.read_latents(indices[at : at + self.batch_size])
        self.ds.drop_shards(shards)
        return len(indices)

    def limit(self, workers: int, seconds: float) -> float:
        """Samples a second of reading and decoding alone, with so many threads."""
        threads = max(1, workers)
        began, done = time.perf_counter(), 0
        with ThreadPoolExecutor(threads) as pool:
            while not done or time.perf_counter() - began < seconds:
                done += sum(pool.map(self._decoded, [self._next() for _ in range(2 * threads)]))
        return done / (time.perf_counter() - began)

    def stages(self, collate: Collate, seconds: float) -> np.ndarray:
        """float64 (3,): seconds a sample, on one thread, to get the bytes, to decode them, and for all else."""
        totals, done = np.zeros(3), 0
        began = time.perf_counter()
        while not done or time.perf_counter() - began < seconds:
            indices, shards = self._next()
            batch = indices[: self.batch_size]
            clock = [time.perf_counter()]
            self.ds.load_shards(shards)
            for step in (
                lambda: _touch(self.ds.fetch(batch)),  # noqa: B023
                lambda: self.ds.fetch(batch),  # noqa: B023  again: what decoding does of it
                lambda: self.ds.read_latents(batch),  # noqa: B023
                lambda: collate(batch),  # noqa: B023
            ):
                step()
                clock.append(time.perf_counter())
            self.ds.drop_shards(shards)
            fetch, again, read, whole = np.diff(clock).tolist()
            fetch *= len(batch) / len(indices)  # a shard is loaded for all of its batches
            totals += fetch, max(0.0, read - again), max(0.0, whole - read)
            done += len(batch)
        return totals / done


def _endless(loader: LatentLoader) -> Generator[Any, None, None]:
    while True:
        yield from loader


def _counted(batches: Iterator[Any], first: Any, seconds: float) -> tuple[int, float]:
    """(samples handed out, the seconds that this took), from now on; `first` counts only if there is no other."""
    began, handed = time.perf_counter(), 0
    while not handed or time.perf_counter() - began < seconds:
        handed += len(next(batches)["key"])
    return handed, time.perf_counter() - began


def _touch(blobs: Blobs) -> None:
    """Reads the first and the last byte of each blob, since mapped files are read when they are used."""
    for number, buffer in enumerate(blobs.buffers):
        mine = blobs.source == number
        ends = np.concatenate([blobs.start[mine], blobs.start[mine] + blobs.length[mine] - 1])
        np.asarray(buffer)[ends].sum()


def _stride(count: int) -> int:
    """A number that has no divisor in common with `count`: multiples of it visit all samples, far apart."""
    stride = max(1, int(count * 0.618))
    while np.gcd(stride, count) > 1:
        stride += 1
    return stride


def _positions(ds: LatentDataset, some: np.ndarray) -> float:
    """Latent positions of a sample, on average."""
    sizes = ds.sizes(some)
    height, width = ds.codec.latent_shape(sizes[:, 0], sizes[:, 1])[1:]
    return float(np.mean(np.multiply(height, width)))
