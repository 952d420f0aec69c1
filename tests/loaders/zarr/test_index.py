"""loaders/zarr/index.py: where blobs lie, packed or not, and strings, as they were given."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.loaders.zarr.index import ShardIndex, Strings


def table(samples: int, groups: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    """(start, length) of a shard as it is written: group after group, from byte `first` on."""
    length = np.random.default_rng(3).integers(1, 900, (groups, samples))
    start = first + np.cumsum(length.reshape(-1)).reshape(length.shape) - length
    return np.ascontiguousarray(start.T), np.ascontiguousarray(length.T)


def gap(start: np.ndarray, length: np.ndarray) -> None:
    start[5:, 1] += 7


def overlap(start: np.ndarray, length: np.ndarray) -> None:
    start[3:] = start[2]


def far(start: np.ndarray, length: np.ndarray) -> None:
    start[:, 1:] += 1 << 33


def backwards(start: np.ndarray, length: np.ndarray) -> None:
    start[:] = start[::-1].copy()


@pytest.mark.parametrize("change", [None, gap, overlap, far, backwards])
@pytest.mark.parametrize("first", [0, 1 << 40])
def test_every_blob_is_where_it_was(change: object, first: int) -> None:
    start, length = table(40, 3, first)
    if callable(change):
        change(start, length)
    index = ShardIndex(start, length)
    rows = np.random.default_rng(0).integers(0, 40, 100)
    for groups in (1, 2, 3):
        got = index.locate(rows, groups)
        assert np.array_equal(got[0], start[rows, :groups]) and np.array_equal(got[1], length[rows, :groups])
        assert got[0].dtype == got[1].dtype == np.int64
        end = (start + length)[:, :groups].max()
        assert index.extent(groups) == (start[:, :groups].min(), end)
    bytes_a_blob = 4 if change is None else 16
    assert index._edges.nbytes + (0 if index._length is None else length.nbytes) <= bytes_a_blob * (start.size + 3)


@pytest.mark.parametrize("values", [[""], ["a", "", "ß水", "long" * 99], [chr(i) for i in range(1, 3000)]])
def test_strings_are_those_that_were_given(values: list[str]) -> None:
    strings = Strings.of(values)
    assert len(strings) == len(values) and strings.take(np.arange(len(values))) == values
    assert strings.take(np.array([len(values) - 1, 0])) == [values[-1], values[0]]
