"""Fields of latents: signals are encoded by a codec of this package, in threads of their own."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.codec import warn_outliers
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.tensors.values import from_torch
from latentstore.loaders.stats import mean_std
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.latents import Latents
from latentstore.writing.measure import measure
from latentstore.writing.spec import Sample

__all__ = ["CodedLatents", "Encoding", "LatentCoder"]

MOST_BYTES = 256 << 20
"""Of signals that wait or are being encoded, beside one that is larger."""


@dataclass(frozen=True)
class CodedLatents:
    """What becomes of signals of one field.

    blobs: by part of a sample. sizes: (height, width) of each. columns: see `Latents.columns`. moments: see
    `layout.MOMENTS`.
    """

    blobs: dict[str, list[bytes]]
    sizes: list[tuple[int, int]]
    columns: dict[str, list[Any]]
    moments: np.ndarray


class LatentCoder:
    """What encodes the signals of one field. limited: coefficients so far that did not fit int8."""

    def __init__(self, name: str, declared: Latents) -> None:
        self.name, self.declared, self.codec = name, declared, declared.codec
        self.limited = 0
        self._lock = threading.Lock()

    def require(self, value: Any, where: str) -> np.ndarray:
        """The signal of what a user gives, in memory of its own. ArgumentError names `where`."""
        array = from_torch(value, where)
        if not isinstance(array, np.ndarray) and getattr(array, "mode", None) == self.codec.mode:
            array = np.asarray(array)  # an image of PIL
        if not isinstance(array, np.ndarray):
            raise ArgumentError(
                f"{where} is {type(value).__name__}; a NumPy array or a torch tensor is expected, of "
                f"{self.codec.modality.nouns.many} as {self.codec.name} takes them"
            )
        try:
            signal = self.codec.require_signal(array)
        except ArgumentError as error:
            raise ArgumentError(f"{where}: {error}") from error
        return signal if signal.flags.owndata and signal is not value else signal.copy()

    def encode(self, key: str, signal: np.ndarray) -> Sample:
        """The sample of a signal that `require` gave."""
        made = self.codec.compress_counted(signal, self.declared.quality)
        with self._lock:
            self.limited += made.limited
        height, width = self.codec.signal_size(signal)
        return Sample(key, made.groups, width, height, self._fields(self.codec.sample_fields(made.groups)))

    def _fields(self, own: dict[str, int]) -> dict[str, Any]:
        return {"rate": self.codec.rate, **own} if "rate" in self.codec.modality.fields else dict(own)

    def coded(self, samples: Sequence[Sample]) -> CodedLatents:
        """What is stored of samples. Every blob is decoded once, so that none that cannot be read is ever stored."""
        parts, columns = self.declared.parts(self.name), self.declared.columns(self.name)
        return CodedLatents(
            {part: [sample.groups[group] for sample in samples] for group, part in enumerate(parts)},
            [(sample.height, sample.width) for sample in samples],
            {column: [sample.fields["step"] for sample in samples] for column in columns},
            self._moments(samples, f"field {self.name!r}"),
        )

    def _moments(self, samples: Sequence[Sample], where: str) -> np.ndarray:
        moments = measure(self.codec, None, samples, where)
        return moments.scaled(self.codec.scales(self.declared.quality))

    def moments_of(
        self, tail: layout.Tail, rows: np.ndarray, blobs: Sequence[Sequence[bytes]], where: str
    ) -> np.ndarray:
        """See `layout.MOMENTS`, of some samples of a shard. rows: int64 (n,), which. blobs: their groups."""
        sizes, keys = tail.shapes[self.name], tail.columns["key"].take(rows)
        assert sizes is not None
        steps = tail.columns.get(layout.STEP + self.name)
        own = [{} for _ in rows] if steps is None else [{"step": int(step)} for step in steps.take(rows)]
        samples = [
            Sample(str(key), groups, width, height, self._fields(fields))
            for key, groups, (height, width), fields in zip(
                keys, blobs, sizes[np.zeros_like(rows) if len(sizes) == 1 else rows].tolist(), own, strict=True
            )
        ]
        return self._moments(samples, f"{where}, field {self.name!r}")

    def about(self, tails: Iterable[layout.Tail]) -> dict[str, Any]:
        """What the manifest says of the latents in the shards with these tails."""
        codec = self.codec
        every, positions, extent, sums = set[tuple[int, int]](), 0, 0, np.zeros((2, codec.channels))
        for tail in tails:
            sizes = tail.shapes[self.name]
            assert sizes is not None
            times = tail.count // len(sizes)
            every |= set(map(tuple, np.unique(sizes, axis=0).tolist()))
            extent += times * int(sizes.prod(axis=1).sum())
            positions += times * int(np.multiply(*codec.latent_shape(sizes[:, 0], sizes[:, 1])[1:]).sum())
            sums += tail.moments[self.name]
        mean, std = mean_std(sums, positions)
        return {
            "modality": codec.modality.name,
            "codec": codec.name,
            "quality": self.declared.quality,
            "channels": codec.channels,
            "group_channels": codec.group_channels,
            "size": list(next(iter(every))) if len(every) == 1 else None,
            "extent": extent,
            "stats": {"mean": mean, "std": std},
            **({"rate": codec.rate} if "rate" in codec.modality.fields else {}),
        }

    def tell(self) -> None:
        """Warns of what the signals of this run have lost."""
        if self.limited:
            warn_outliers(self.limited, self.declared.quality or 0, self.codec.name)


class Encoding:
    """Signals that are being encoded, in as many threads as there are cores."""

    def __init__(self) -> None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
        self._pool = ThreadPoolExecutor(threads, "latentstore-encoder")
        self._most = 2 * threads
        self._running: deque[tuple[int, Future[Sample]]] = deque()
        self._bytes = 0

    def put(self, coder: LatentCoder, key: str, signal: np.ndarray) -> Future[Sample]:
        """Encode a signal in a thread; waits where many are on their way."""
        while self._running and (len(self._running) >= self._most or self._bytes + signal.nbytes > MOST_BYTES):
            size, first = self._running.popleft()
            self._bytes -= size
            first.result()
        future = self._pool.submit(coder.encode, key, signal)
        self._running.append((signal.nbytes, future))
        self._bytes += signal.nbytes
        return future

    def close(self) -> None:
        """Forget what is not encoded yet."""
        self._pool.shutdown(wait=True, cancel_futures=True)
