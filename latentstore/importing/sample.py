"""What every source gives: samples, in parts that are read together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from latentstore.conversion.quarantine import Failure

__all__ = ["MOST_BYTES", "PART_BYTES", "PART_SAMPLES", "UNNAMED", "Part", "Sample", "Source", "Value", "cut"]

Value = np.ndarray | int | float | str | bytes
"""A value of a sample as a source has it, before it becomes what the store declares."""
UNNAMED = "tensor"
"""The field of an array that has no name in its source."""
MOST_BYTES = 1 << 30
"""Of the tensors of a sample, and of a file or a member that is read whole."""
# A part is read by one thread, and all of it is in memory.
PART_SAMPLES = 64
PART_BYTES = 16 << 20


@dataclass(frozen=True)
class Sample:
    """One sample. path: where it is in the source, for people. values: by the names that the source has for them.
    source: text that changes when what it was read from changes; "" where the source does not tell."""

    key: str
    path: str
    values: Mapping[str, Value]
    source: str = ""


class Part(ABC):
    """Entries of a source that are read together, by one thread. Several parts may be read at once.

    keys: of the samples, in order; "" where a key is only known when the sample is read. sources: of each entry, see
    `Sample.source`; empty where the source tells of none.
    """

    keys: Sequence[str]
    sources: Sequence[str] = ()

    @abstractmethod
    def read(self, rows: Sequence[int]) -> list[Sample | Failure]:
        """Some entries, by their positions in `keys`, which ascend. An entry may hold several samples.

        StoreError if what holds the source does not answer.
        """


@dataclass(frozen=True)
class Source:
    """All entries of a source, in an order that depends on nothing but the source.

    kind: what it is, for people. failures: entries of which the listing knows that they cannot be read. passed_over:
    how many files are no part of the data set, by what they are.
    """

    url: str
    kind: str
    parts: Sequence[Part]
    failures: tuple[Failure, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(part.keys) for part in self.parts)


def cut(sizes: Sequence[int | None]) -> Iterator[slice]:
    """Where a list of entries is cut into parts. sizes: bytes of each, None if unknown."""
    start, held = 0, 0
    for at, size in enumerate(sizes):
        if at > start and (at - start >= PART_SAMPLES or held + (size or 0) > PART_BYTES):
            yield slice(start, at)
            start, held = at, 0
        held += size or 0
    if start < len(sizes):
        yield slice(start, len(sizes))
