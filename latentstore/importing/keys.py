"""Keys of samples that have none in their source: numbers, made when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from latentstore.codecs.errors import ArgumentError

__all__ = ["MOST_SAMPLES", "Numbered", "Unknown", "require_count"]

MOST_SAMPLES = 1 << 28
"""Of a source. A few bytes may claim any number of samples."""


class Numbered(Sequence[str]):
    """Numbers as text that sorts as they do: "000000", "000001", ... of `count` samples, or a slice of them."""

    def __init__(self, count: int, these: range | None = None) -> None:
        self._count, self._these = count, range(count) if these is None else these

    def __len__(self) -> int:
        return len(self._these)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Numbered: ...
    def __getitem__(self, at: int | slice) -> str | Numbered:
        if isinstance(at, slice):
            return Numbered(self._count, self._these[at])
        return f"{self._these[at]:0{max(6, len(str(self._count - 1)))}d}"


class Unknown(Sequence[str]):
    """The keys of samples that are known when they are read: "" for each."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Unknown: ...
    def __getitem__(self, at: int | slice) -> str | Unknown:
        if isinstance(at, slice):
            return Unknown(len(range(self._count)[at]))
        if not -self._count <= at < self._count:
            raise IndexError(at)
        return ""


def require_count(count: int, where: str) -> int:
    """The number of samples that a source claims; ArgumentError if that is more than any has."""
    if count > MOST_SAMPLES:
        raise ArgumentError(f"the source {where} claims {count:,} samples; at most {MOST_SAMPLES:,} are read")
    return count
