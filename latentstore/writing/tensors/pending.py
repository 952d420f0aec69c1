"""From samples to the bytes of shards: tensors are coded in threads, in order, and put together with the latents."""

from __future__ import annotations

import builtins
import os
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.loaders.columns import Column
from latentstore.loaders.tensors import layout
from latentstore.writing.spec import Sample
from latentstore.writing.tensors.encoding import LatentCoder
from latentstore.writing.tensors.shards import Shards

CHUNK_BYTES = 1 << 20
"""Tensors are coded so many bytes at a time. Where chunks are large, one thread codes the last while others wait."""
MOST_CHUNKS = 8
"""That wait or are being coded, before `write` waits too: enough for threads never to wait for the program. Of tensors
that are larger than a chunk, as many as there are threads and two more."""
CHUNK_SAMPLES = 4096
CHUNK_SIGNAL_BYTES = 32 << 20
"""Of what is encoded to latents; their blobs are much smaller."""
MOST_TEXT = 1 << 27
"""Characters of text, and bytes, of a shard, which all stand in its tail."""
ALIGNMENT = 64
MOST_THREADS = 4


class Rooms:
    """Memory that arrays are copied to, used again and again: fresh memory takes several times as long to fill."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free: list[np.ndarray] = []

    def take(self) -> np.ndarray:
        """uint8 (size,), of any content. One thread at a time may take."""
        return self._free.pop() if self._free else np.empty(self._size, np.uint8)

    def give(self, room: np.ndarray) -> None:
        """Nothing of a room is needed any longer."""
        if len(self._free) < MOST_CHUNKS:
            self._free.append(room)


@dataclass
class Chunk:
    """Samples that are coded together. room: as many bytes of arrays are enough. keys, sources, others: of the samples.
    arrays: by field. bytes: of the arrays. text: characters of keys and of fields of text, and bytes of those of bytes.
    signals: by field of latents what they become, which is computed elsewhere. signal_bytes: of these signals."""

    room: np.ndarray
    keys: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    arrays: dict[str, list[np.ndarray]] = field(default_factory=dict)
    others: dict[str, list[Any]] = field(default_factory=dict)
    bytes: int = 0
    text: int = 0
    signals: dict[str, list[Future[Sample]]] = field(default_factory=dict)
    signal_bytes: int = 0

    def add_signal(self, name: str, signal: Future[Sample], size: int) -> None:
        """What one of the next sample's signals becomes. size: of the signal, in bytes."""
        self.signals.setdefault(name, []).append(signal)
        self.signal_bytes += size

    def add(self, key: str, source: str, arrays: Mapping[str, np.ndarray], others: Mapping[str, Any]) -> None:
        """One more sample, whose arrays are copied."""
        self.keys.append(key)
        self.sources.append(source)
        self.text += len(key) + len(source)
        for name, array in arrays.items():
            self.arrays.setdefault(name, []).append(self._copied(array))
        for name, value in others.items():
            self.others.setdefault(name, []).append(value)
            if isinstance(value, str | builtins.bytes):
                self.text += len(value)

    def _copied(self, array: np.ndarray) -> np.ndarray:
        first = -(-self.bytes // ALIGNMENT) * ALIGNMENT
        self.bytes = first + array.nbytes
        if self.bytes > len(self.room):
            return array.copy()
        copy = self.room[first : self.bytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy

    @property
    def held(self) -> int:
        """About how many bytes of it stay in memory, once signals are encoded."""
        return self.bytes + self.text + self.signal_bytes // 64

    @property
    def full(self) -> bool:
        """Whether it is time to code it."""
        size = self.bytes + self.text >= len(self.room) or self.signal_bytes >= CHUNK_SIGNAL_BYTES
        return size or len(self.keys) >= CHUNK_SAMPLES


@dataclass(frozen=True)
class Coded:
    """What is left of a chunk. others: by column. shapes, moments: by field, see `layout.Tail`. blobs: by part."""

    keys: list[str]
    sources: list[str]
    others: dict[str, list[Any]]
    text: int
    shapes: dict[str, list[tuple[int, ...]]]
    blobs: dict[str, list[bytes]]
    moments: dict[str, np.ndarray]


class Pending:
    """Chunks on their way to shards. `coded` gives them back in order.

    Memory: `MOST_CHUNKS` chunks, or a few of large tensors.
    """

    def __init__(self, coders: Mapping[str, TensorCoder], latents: Mapping[str, LatentCoder], rooms: Rooms) -> None:
        self._coders, self._latents, self._rooms = coders, latents, rooms
        threads = min(MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
        self._pool = ThreadPoolExecutor(threads, "latentstore-writer")
        self._few = threads + 2
        self._waiting: deque[tuple[int, Future[Coded]]] = deque()

    def put(self, chunk: Chunk) -> None:
        """Code a chunk in a thread."""
        self._waiting.append((chunk.held, self._pool.submit(self._code, chunk)))

    def coded(self, every: bool) -> list[Coded]:
        """The chunks that are coded, in order; every: wait for all, else only as far as memory asks for it."""
        found = []
        while self._waiting and (every or self._waiting[0][1].done() or self._are_many()):
            found.append(self._waiting.popleft()[1].result())
        return found

    def _are_many(self) -> bool:
        size = sum(taken for taken, _ in self._waiting)
        return len(self._waiting) > self._few and (len(self._waiting) > MOST_CHUNKS or size > MOST_CHUNKS * CHUNK_BYTES)

    def close(self) -> None:
        """Forget what is not coded yet."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _code(self, chunk: Chunk) -> Coded:
        blobs = {name: self._one(name, arrays, chunk.keys) for name, arrays in chunk.arrays.items()}
        shapes = {name: [array.shape for array in arrays] for name, arrays in chunk.arrays.items()}
        chunk.arrays.clear()
        self._rooms.give(chunk.room)
        others, moments = dict(chunk.others), dict[str, np.ndarray]()
        for name, signals in chunk.signals.items():
            made = self._latents[name].coded([signal.result() for signal in signals])
            blobs |= made.blobs
            others |= made.columns
            shapes[name], moments[name] = made.sizes, made.moments
        return Coded(chunk.keys, chunk.sources, others, chunk.text, shapes, blobs, moments)

    def _one(self, name: str, arrays: list[np.ndarray], keys: list[str]) -> list[bytes]:
        try:
            return self._coders[name].encode(arrays)
        except ArgumentError as error:
            if error.index is None:
                raise
            raise ArgumentError(f"sample {keys[error.index]!r}, field {name!r}: {error}") from error


class Growing:
    """The shard that grows: coded chunks, end to end. The blobs of the first part go to `shards` at once, as they are
    the first bytes of the shard; those of the others wait for its end. bytes: of the blobs. text: see `Chunk`."""

    def __init__(self, parts: Sequence[str], kinds: Mapping[str, str], shards: Shards, name: str) -> None:
        """parts: of a sample, in order. kinds: of the columns. name: of the shard."""
        self._parts, self._kinds = list(parts), dict(kinds)
        self._shards, self.name = shards, name
        self._chunks: list[Coded] = []
        self._lengths: dict[str, list[int]] = {part: [] for part in parts}
        self.bytes = self.count = self.text = 0

    def is_full(self, size: int) -> bool:
        """Whether it is time to write it. size: bytes of a shard, about."""
        return self.bytes >= size or self.text >= min(max(size, CHUNK_BYTES), MOST_TEXT)

    def add(self, coded: Coded) -> None:
        """One more chunk."""
        for name, blobs in coded.blobs.items():
            lengths = list(map(len, blobs))
            self._lengths[name] += lengths
            self.bytes += sum(lengths)
        self._chunks.append(coded)
        self.count += len(coded.keys)
        self.text += coded.text
        self._shards.add(self.name, coded.blobs.pop(self._parts[0]))

    def end(self) -> None:
        """There is nothing more: the other parts, and the tail."""
        for part in self._parts[1:]:
            for one in self._chunks:
                self._shards.add(self.name, one.blobs.pop(part))
        lengths = np.array([self._lengths[part] for part in self._parts], np.int64).T
        columns = {
            "key": _column("str", [key for one in self._chunks for key in one.keys]),
            layout.SOURCE: _column("str", [source for one in self._chunks for source in one.sources]),
        }
        for name, kind in self._kinds.items():
            columns[name] = _column(kind, [value for one in self._chunks for value in one.others[name]])
        first = self._chunks[0]
        shapes = {name: _shapes([shape for one in self._chunks for shape in one.shapes[name]]) for name in first.shapes}
        moments = {name: np.sum([one.moments[name] for one in self._chunks], axis=0) for name in first.moments}
        tail = layout.Tail(columns, shapes, lengths, moments)
        self._shards.add(self.name, [layout.encode_tail(tail)], last=True)


def _column(kind: str, values: list[Any]) -> Column:
    if kind in ("str", "bytes"):
        return Column.flat(kind, [value.encode() if kind == "str" else bytes(value) for value in values])
    return Column(kind, np.array(values, np.int64 if kind == "int" else np.float64))


def _shapes(shapes: Sequence[tuple[int, ...]]) -> np.ndarray | None:
    """See `layout.Tail.shapes`."""
    if len({len(shape) for shape in shapes}) > 1:
        return None
    if len(set(shapes)) == 1:
        return np.array(shapes[:1], np.int64).reshape(1, -1)
    return np.array(shapes, np.int64)
