"""Byte ranges: what is merged covers what was asked for, and both ways of merging agree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote.ranges import MERGE_GAP_BYTES, Range, check_length, merge_blobs, merge_ranges

_ranges = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.integers(0, 30)), max_size=20)


@given(_ranges, st.integers(0, 10))
def test_merged_ranges_cover(items: list[tuple[str, int, int]], gap: int) -> None:
    ranges: list[Range] = [(name, start, start + size) for name, start, size in items]
    merged, pieces = merge_ranges(ranges, gap)
    for (name, start, end), (i, offset) in zip(ranges, pieces, strict=True):
        assert merged[i][0] == name and merged[i][1] + offset == start
        assert end is not None and end <= (merged[i][2] or 0)
    for name in "ab":
        mine = sorted(m[1:] for m in merged if m[0] == name)
        assert all(b[0] - (a[1] or 0) > gap for a, b in itertools.pairwise(mine))


# Stores of many sizes number their objects from 2^32 on for every group. No object is large enough for the starts here,
# but a damaged index may hold them.
@pytest.mark.parametrize(("number", "first"), [(1, 0), (1 << 32, 0), (1 << 48, 1 << 44), (1 << 56, 1 << 61)])
@given(_ranges, st.integers(0, 10))
def test_both_ways_of_merging_agree(number: int, first: int, items: list[tuple[str, int, int]], gap: int) -> None:
    items = [(name, first + start, size) for name, start, size in items]
    ranges: list[Range] = [(name, start, start + size) for name, start, size in items]
    objects = np.array([ord(name) * number for name, _, _ in items], np.int64)
    start = np.array([start for _, start, _ in items], np.int64)
    length = np.array([size for _, _, size in items], np.int64)
    obj, begin, end, source, offset = merge_blobs(objects, start, length, gap)
    merged, pieces = merge_ranges(ranges, gap)
    assert list(zip(map(chr, (obj // number).tolist()), begin.tolist(), end.tolist(), strict=True)) == merged
    assert list(zip(source.tolist(), offset.tolist(), strict=True)) == pieces
    assert source.dtype == np.int32 and offset.dtype == np.int64


def test_the_gap_is_counted_from_the_furthest_end() -> None:
    ranges: list[Range] = [("a", 0, 100), ("a", 10, 20), ("a", 101, 110)]
    assert merge_ranges(ranges, 1)[0] == [("a", 0, 110)]
    assert merge_ranges(ranges, 0)[0] == [("a", 0, 100), ("a", 101, 110)]
    assert merge_ranges([("a", 0, 1), ("a", 1 + MERGE_GAP_BYTES, 9 << 20)])[0] == [("a", 0, 9 << 20)]
    assert len(merge_ranges([("a", 0, 1), ("a", 2 + MERGE_GAP_BYTES, 9 << 20)])[0]) == 2


def test_open_ranges_are_not_merged() -> None:
    ranges: list[Range] = [("a", 0, None), ("a", -4, None), ("a", 0, 3), ("a", 2, 5)]
    merged, pieces = merge_ranges(ranges)
    assert sorted(merged, key=str) == [("a", -4, None), ("a", 0, 5), ("a", 0, None)]
    assert [merged[i][1] + offset for i, offset in pieces] == [0, -4, 0, 2]


def test_a_short_read_says_where() -> None:
    check_length("s3://b/x", 3, 7, 4)
    check_length("s3://b/x", 3, None, 0)
    with pytest.raises(StoreError, match="s3://b/x is cut short: bytes 3 to 7 asked for, 1 of them there"):
        check_length("s3://b/x", 3, 7, 1)
