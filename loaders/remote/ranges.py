"""Byte ranges: fewer and larger requests that cover many small ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from latentstore.codecs.errors import StoreError

# Two ranges this near are fetched as one: at 100 MB/s and 5 ms a request, reading over half a megabyte costs
# no more than a second request.
MERGE_GAP_BYTES = 512 << 10

# A request for more is made in parts of at least this, so that they come side by side, and one that fails costs little.
PART_BYTES = 8 << 20
MOST_PARTS = 4096

# (name of an object, first byte, byte after the last). An end of None is the end of the object; then a negative
# start counts from that end.
Range = tuple[str, int, int | None]


def merge_ranges(ranges: Sequence[Range], gap: int = MERGE_GAP_BYTES) -> tuple[list[Range], list[tuple[int, int]]]:
    """Merge ranges of one object that are at most `gap` bytes apart.

    Returns (merged, pieces): the ranges to read, and for each of `ranges` (which of `merged` holds it, offset in
    that). Ranges with an open end, and ranges counted from the end, are not merged.
    """
    order = sorted(range(len(ranges)), key=lambda i: (ranges[i][0], ranges[i][1]))
    merged: list[Range] = []
    pieces: list[tuple[int, int]] = [(0, 0)] * len(ranges)
    for i in order:
        name, start, end = ranges[i]
        if merged and end is not None and start >= 0:
            last_name, last_start, last_end = merged[-1]
            if last_name == name and last_start >= 0 and last_end is not None and start - last_end <= gap:
                merged[-1] = (name, last_start, max(last_end, end))
                pieces[i] = (len(merged) - 1, start - last_start)
                continue
        merged.append((name, start, end))
        pieces[i] = (len(merged) - 1, 0)
    return merged, pieces


def merge_blobs(
    objects: np.ndarray, start: np.ndarray, length: np.ndarray, gap: int = MERGE_GAP_BYTES
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`merge_ranges` without a Python loop, for the many blobs of a batch. Objects are numbers.

    objects, start, length: whole numbers (n,). Returns (object, begin, end) of each merged range, (m,), and
    (source, offset) of each blob, (n,): which merged range holds it (int32), and where in it (int64).
    """
    order = np.lexsort((start, objects))
    o, a = objects[order].astype(np.int64), start[order]
    b = a + length[order]
    # A new range begins where the object changes or the gap is too wide. A blob may end before an earlier one does
    # (one sample may be asked for twice), so the gap is counted from the furthest end so far.
    changes = np.ones(len(o), bool)
    changes[1:] = o[1:] != o[:-1]
    fresh = changes.copy()
    fresh[1:] |= a[1:] - gap > _furthest(b, changes)[:-1]
    first = np.flatnonzero(fresh)
    run = np.cumsum(fresh) - 1
    begin, end = a[first], np.maximum.reduceat(b, first) if len(first) else a
    source, offset = np.empty(len(o), np.int32), np.empty(len(o), np.int64)
    source[order] = run
    offset[order] = a - begin[run]
    return o[first], begin, end, source, offset


def _furthest(ends: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """The largest of `ends` so far, counted anew wherever `changes` is True."""
    if (ends[1:] >= ends[:-1])[~changes[1:]].all():
        return ends  # the usual case: no blob is asked for twice
    # The places of the ends in ascending order are small numbers, so the number of the object fits in front of them,
    # whatever the size of objects and their numbers.
    ascending = np.argsort(ends, kind="stable")
    place = np.empty(len(ends), np.int64)
    place[ascending] = np.arange(len(ends))
    above = np.cumsum(changes) * len(ends)
    return ends[ascending[np.maximum.accumulate(above + place) - above]]


def split_range(item: tuple[str, int, int]) -> list[tuple[str, int, int]]:
    """A range in parts of `PART_BYTES` to twice as much; one part if it is smaller than two of them.

    The ends may be those of a forged index, so there is a limit to the number of parts; they are larger then.
    """
    name, start, end = item
    count = max(1, min((end - start) // PART_BYTES, MOST_PARTS))
    cuts = [start + (end - start) * i // count for i in range(count + 1)]
    return [(name, a, b) for a, b in itertools.pairwise(cuts)]


def check_length(url: str, start: int, end: int | None, got: int) -> None:
    """StoreError if a read of bytes `start` to `end` returned `got` bytes, fewer than that."""
    if end is not None and got != end - start:
        raise StoreError(f"{url} is cut short: bytes {start} to {end} asked for, {got} of them there")
