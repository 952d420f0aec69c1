"""Fetching: the blobs of samples are the bytes that were stored, wherever they lie and however they are read."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import StoreError
from latentstore.loaders.reader import Reader
from latentstore.loaders.remote import ranges
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.fetch import Fetcher
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.ranges import Range

GROUPS = 3
OBJECTS_OF_A_GROUP = 1000
_numbers = itertools.count()


def put(location: Location, name: str, content: bytes) -> None:
    """Write an object; local files without waiting for the disk, as `Location.write` does."""
    if location.local is None:
        location.write(name, content)
        return
    location.path(name).parent.mkdir(parents=True, exist_ok=True)
    location.path(name).write_bytes(content)


class FlatReader(Reader):
    """A store whose groups are flat arrays of bytes, cut into objects of `piece` bytes; blobs may cross a cut."""

    def __init__(self, location: Location, blobs: list[list[bytes]], piece: int, rows: int) -> None:
        self.location, self.piece = location, piece
        self.starts = np.append(np.arange(0, len(blobs), rows), len(blobs)).astype(np.int64)
        self.length = np.array([[len(b) for b in row] for row in blobs], np.int64).reshape(len(blobs), GROUPS)
        self.start = np.cumsum(self.length, axis=0) - self.length
        for g in range(GROUPS):
            flat = b"".join(row[g] for row in blobs)
            for number, at in enumerate(range(0, len(flat), piece)):
                put(location, self.object_name(g * OBJECTS_OF_A_GROUP + number), flat[at : at + piece])

    def locate(self, indices: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        return self.start[indices, :groups], self.length[indices, :groups]

    def objects(
        self, indices: np.ndarray, start: np.ndarray, length: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        number = np.arange(start.shape[1]) * OBJECTS_OF_A_GROUP + start // self.piece
        offset = start % self.piece
        return number.astype(np.int32), offset, offset + length <= self.piece

    def object_name(self, number: int) -> str:
        group, piece = divmod(number, OBJECTS_OF_A_GROUP)
        return f"group {group}/{piece}"

    def _span(self, block: int, group: int) -> tuple[int, int]:
        first, last = int(self.starts[block]), int(self.starts[block + 1]) - 1
        return int(self.start[first, group]), int(self.start[last, group] + self.length[last, group])

    def block_ranges(self, block: int, groups: int) -> list[list[tuple[str, int, int]]]:
        found = []
        for g in range(groups):
            begin, end = self._span(block, g)
            cuts = [begin, *range((begin // self.piece + 1) * self.piece, end, self.piece), end]
            found.append(
                [
                    (self.object_name(g * OBJECTS_OF_A_GROUP + a // self.piece), a % self.piece, a % self.piece + b - a)
                    for a, b in itertools.pairwise(cuts)
                ]
            )
        return found

    def block_bases(self, block: int, groups: int) -> list[tuple[int, int]]:
        return [(g, self._span(block, g)[0]) for g in range(groups)]

    def artifact(self) -> bytes:
        raise NotImplementedError

    manifest_now = keys = fields = sizes = artifact  # type: ignore[assignment]


def made(count: int, seed: int = 0, largest: int = 60) -> list[list[bytes]]:
    rng = np.random.default_rng(seed)
    return [[rng.bytes(int(rng.integers(1, largest))) for _ in range(GROUPS)] for _ in range(count)]


def blobs_of(fetched: Blobs) -> list[bytes]:
    return [bytes(fetched[i]) for i in range(len(fetched))]


def expected(blobs: list[list[bytes]], indices: np.ndarray, groups: int) -> list[bytes]:
    return [blob for i in indices.tolist() for blob in blobs[i][:groups]]


@pytest.fixture(params=["local", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "local":
        return Location(tmp_path / "é")
    if request.param == "memory":
        return Location(f"memory://fetch {next(_numbers)}")
    return Location(f"s3://bucket/fetch {next(_numbers)}", request.getfixturevalue("s3_server"))


# Whole objects, and objects that cut some blobs. Smaller ones are in `test_any_cut_any_order`.
@pytest.mark.parametrize("piece", [1 << 20, 100])
def test_blobs_are_what_was_stored(place: Location, piece: int) -> None:
    blobs = made(20)
    reader = FlatReader(place, blobs, piece, rows=8)
    indices = np.array([17, 3, 0, 19, 3, 18])
    for groups in (1, GROUPS):
        fetcher = pickle.loads(pickle.dumps(Fetcher(reader, groups)))
        fetched = fetcher.fetch(indices)
        assert fetched.source.dtype == np.int32 and fetched.start.dtype == fetched.length.dtype == np.int64
        assert blobs_of(fetched) == expected(blobs, indices, groups)
        assert blobs_of(fetcher.fetch(np.array([], np.int64))) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_cut_any_order(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    count, piece = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 60))  # few objects: each one is a file
    rows, groups = data.draw(st.integers(1, 5)), data.draw(st.integers(1, GROUPS))
    blobs = made(count, data.draw(st.integers(0, 99)), largest=18)
    indices = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=20)), np.int64)
    wanted = expected(blobs, indices, groups)
    for url in (tmp_path_factory.mktemp("cut"), f"memory://cut {next(_numbers)}"):
        fetcher = Fetcher(FlatReader(Location(url), blobs, piece, rows), groups)
        assert blobs_of(fetcher.fetch(indices)) == wanted
        fetcher.load(list(range(len(fetcher.reader.starts) - 1)))
        assert blobs_of(fetcher.fetch(indices)) == wanted


def test_local_files_are_mapped_once(tmp_path: Path) -> None:
    fetcher = Fetcher(FlatReader(Location(tmp_path), made(20), 1 << 20, rows=8), GROUPS)
    one, two = fetcher.fetch(np.arange(20)), fetcher.fetch(np.arange(5))
    assert len(one.buffers) == GROUPS
    assert all(np.shares_memory(a, b) for a, b in zip(one.buffers, two.buffers, strict=True))
    assert not any(buffer.flags.writeable for buffer in one.buffers)


@pytest.mark.parametrize("place", ["memory", "s3"], indirect=True)
def test_near_blobs_are_one_range(place: Location, asked: list[Range]) -> None:
    blobs = made(20)
    fetcher = Fetcher(FlatReader(place, blobs, 1 << 20, rows=8), GROUPS)
    fetched = fetcher.fetch(np.array([5, 1, 9]))
    assert len(asked) == len(fetched.buffers) == GROUPS
    # From the first blob to the last, and nothing outside of them.
    spans = [sum(len(row[g]) for row in blobs[1:10]) for g in range(GROUPS)]
    assert [end - start for _, start, end in asked if end is not None] == spans


def test_far_blobs_are_ranges_of_their_own(asked: list[Range]) -> None:
    blobs = [[bytes([i]) * (1 << 20), b"x", b"y"] for i in range(3)]
    fetcher = Fetcher(FlatReader(Location(f"memory://far {next(_numbers)}"), blobs, 1 << 30, rows=8), 1)
    assert blobs_of(fetcher.fetch(np.array([2, 0]))) == [blobs[2][0], blobs[0][0]]
    assert asked == [("group 0/0", 0, 1 << 20), ("group 0/0", 2 << 20, 3 << 20)]


# ---- blocks in memory


@pytest.mark.parametrize("piece", [1 << 20, 100])
def test_loaded_blocks_are_read_once(place: Location, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = made(20)
    fetcher = Fetcher(FlatReader(place, blobs, piece, rows=8), 2)
    calls: list[int] = []
    plain = Location.read_parts

    def counting(self: Location, ranges: Any) -> list[bytes]:
        calls.append(len(ranges))
        return plain(self, ranges)

    monkeypatch.setattr(Location, "read_parts", counting)
    fetcher.load([0, 2])
    assert len(calls) == 1 and (piece == 100 or calls == [4])  # of two blocks, two groups each
    fetcher.load([2])
    assert calls[1:] in ([], [0])
    monkeypatch.setattr(Location, "map", None)
    monkeypatch.setattr(Location, "read_ranges", None)
    indices = np.array([17, 3, 0, 19, 3])
    calls.clear()
    assert blobs_of(fetcher.fetch(indices)) == expected(blobs, indices, 2) and not calls
    fetcher.drop([0, 2])
    monkeypatch.undo()
    assert blobs_of(fetcher.fetch(indices)) == expected(blobs, indices, 2)


def test_samples_outside_of_the_loaded_blocks(place: Location, asked: list[Range]) -> None:
    blobs = made(20)
    reader = FlatReader(place, blobs, 100, rows=8)
    fetcher = Fetcher(reader, GROUPS)
    assert fetcher.block_bytes([1, 2]) == [
        sum(len(blob) for row in blobs[a:b] for blob in row) for a, b in ((8, 16), (16, 20))
    ]
    fetcher.load([1])
    asked.clear()
    for indices in (np.array([9, 2, 15]), np.array([19, 9, 8, 2, 9, 2])):
        assert blobs_of(fetcher.fetch(indices)) == expected(blobs, indices, GROUPS)
    if place.local is None:  # what is in memory is not asked for again
        own = [(reader.object_name(number), begin) for number, begin in _spans_of(reader, 8)]
        assert not [item for item in asked if (item[0], item[1]) in own]


def _spans_of(reader: FlatReader, sample: int) -> list[tuple[int, int]]:
    """(number of the object, first byte in it) of each group of a sample."""
    at = reader.start[sample].tolist()
    return [(g * OBJECTS_OF_A_GROUP + a // reader.piece, a % reader.piece) for g, a in enumerate(at)]


def test_an_index_that_points_outside_of_its_block(place: Location) -> None:
    reader = FlatReader(place, made(20), 1 << 20, rows=8)
    fetcher = Fetcher(reader, GROUPS)
    fetcher.load([0])
    reader.length[3, 1] += 1 << 20
    with pytest.raises(StoreError, match=r"an index points outside of its shard.*copy or convert it again"):
        fetcher.fetch(np.array([3]))


# ---- damage


def cut(location: Location, name: str, length: int) -> None:
    location.write(name, location.read(name)[:length])


def test_an_object_that_is_cut_short(place: Location) -> None:
    reader = FlatReader(place, made(20), 1 << 20, rows=8)
    cut(place, "group 1/0", int(reader.start[12, 1]) + 1)
    fetcher = Fetcher(reader, GROUPS)
    fetcher.fetch(np.arange(12))
    # An object store refuses a range that begins behind the end.
    for index in (12, 19):
        with pytest.raises(StoreError, match=r"group 1/0"):
            fetcher.fetch(np.array([index]))
    with pytest.raises(StoreError, match=r"group 1/0 is cut short"):
        fetcher.fetch(np.array([12]))
    with pytest.raises(StoreError, match=r"group 1/0 is cut short"):
        fetcher.load([1])


def test_a_blob_that_should_go_on_in_an_object_that_is_cut_short(place: Location) -> None:
    reader = FlatReader(place, [[bytes(60), b"x", b"y"] for _ in range(4)], 100, rows=8)
    cut(place, "group 0/1", 0)  # sample 1 is bytes 60 to 120: 40 of them in the first object
    with pytest.raises(StoreError, match=r"group 0/1 is cut short"):
        Fetcher(reader, 1).fetch(np.array([1]))


@pytest.mark.parametrize("read", [Fetcher.fetch, lambda fetcher, indices: fetcher.load([0])])
def test_an_object_that_is_missing(place: Location, read: Callable[[Fetcher, np.ndarray], Any]) -> None:
    reader = FlatReader(place, made(20), 1 << 20, rows=8)
    place.remove("group 2/0")
    with pytest.raises(MissingError, match="group 2/0 is missing"):
        read(Fetcher(reader, GROUPS), np.array([3]))


def test_a_large_block_is_read_in_parts(asked: list[Range], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "PART_BYTES", 100)
    blobs = made(20, largest=90)
    reader = FlatReader(Location(f"memory://parts {next(_numbers)}"), blobs, 1 << 20, rows=20)
    fetcher = Fetcher(reader, GROUPS)
    fetcher.load([0])
    whole = reader.length.sum(axis=0).tolist()
    assert len(asked) == sum(size // 100 for size in whole) <= sum(whole) / 100
    assert all(100 <= end - start < 200 for _, start, end in asked if end is not None)
    assert blobs_of(fetcher.fetch(np.arange(20))) == expected(blobs, np.arange(20), GROUPS)
    asked.clear()
    assert fetcher.reader.location.read_parts([("group 0/0", 5, 5), ("group 0/0", 0, 150)])[0] == b""
    assert asked == [("group 0/0", 5, 5), ("group 0/0", 0, 150)]
