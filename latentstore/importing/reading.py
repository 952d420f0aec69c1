"""Reading the parts of a source: a few of them for a first look, or all in threads and in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from latentstore.codecs.errors import LatentstoreError
from latentstore.conversion.quarantine import Failure
from latentstore.importing.sample import Part, Sample, Source, Value

__all__ = ["looked_at", "read_parts", "size_of"]

# A first look reads a few samples of a few parts.
LOOK_PARTS = 8
LOOK_SAMPLES = 8
THREADS = 4

Rows = Sequence[int]
Read = tuple[Sequence[int], list[Sample | Failure]]


def looked_at(source: Source, parts: int = LOOK_PARTS, samples: int = LOOK_SAMPLES) -> list[Sample]:
    """Samples from all over a source that can be read: of at most so many parts, and so many samples of each.

    LatentstoreError if none can be read.
    """
    found: list[Sample] = []
    failure: Failure | None = source.failures[0] if source.failures else None
    full = [part for part in source.parts if len(part.keys)]
    for part in (full[at] for at in _spread(len(full), parts)):
        for one in part.read(_spread(len(part.keys), samples)):
            if isinstance(one, Sample):
                found.append(one)
            else:
                failure = failure or one
    if not found:
        count = len(source) + len(source.failures)
        first = f"; the first: {failure}" if failure else ""
        raise LatentstoreError(f"no tensor of {source.url} could be read, of {count:,} entries{first}")
    return found


def read_parts(source: Source, wanted: Callable[[Part], Rows]) -> Iterator[Read]:
    """(rows, what was read of them) of all parts, in order. wanted: the rows of a part that are read.

    Memory: as many parts as there are threads, and one more.
    """
    threads = min(THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Read]] = deque()
    with ThreadPoolExecutor(threads, "latentstore-import") as pool:
        try:
            for part in source.parts:
                rows = wanted(part)
                if rows:
                    waiting.append(pool.submit(_read, part, rows))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read(part: Part, rows: Rows) -> Read:
    return rows, part.read(rows)


def size_of(sample: Sample) -> int:
    """Bytes of a sample's values."""
    return sum(_size(value) for value in sample.values.values())


def _size(value: Value) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    return len(value) if isinstance(value, str | bytes) else 8


def _spread(count: int, most: int) -> list[int]:
    """At most so many of 0, 1, ..., count - 1, evenly."""
    if count <= most:
        return list(range(count))
    return [round(at) for at in np.linspace(0, count - 1, most)]
