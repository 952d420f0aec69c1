"""Locations: local and remote, byte ranges, retries, whole writes."""

from __future__ import annotations

import errno
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote import location as remote
from latentstore.loaders.remote.location import Location, MissingError, is_transient, merge_ranges

_numbers = itertools.count()


@pytest.fixture(params=["local", "memory", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "local":
        return Location(tmp_path / "a b" / "é")
    if request.param == "memory":
        return Location(f"memory://test {next(_numbers)}/é")
    return Location(f"s3://bucket/test {next(_numbers)}/é", request.getfixturevalue("s3_server"))


def test_write_then_read(location: Location) -> None:
    location.write("x y/ü.bin", b"0123456789")
    assert location.read("x y/ü.bin") == b"0123456789"
    assert location.size("x y/ü.bin") == 10
    assert location.exists("x y/ü.bin") and not location.exists("x y/u.bin")
    assert location.map("x y/ü.bin").tobytes() == b"0123456789"
    location.write("x y/ü.bin", [b"ab", memoryview(b"cd")])
    assert location.read("x y/ü.bin") == b"abcd"


def test_ranges(location: Location) -> None:
    location.write("one", bytes(range(100)))
    location.write("two", bytes(range(100, 200)))
    got = location.read_ranges(
        [("two", 5, 8), ("one", 90, None), ("one", -4, None), ("one", 0, 3), ("two", 6, 10), ("one", 2, 2)]
    )
    assert got == [
        bytes([105, 106, 107]), bytes(range(90, 100)), bytes(range(96, 100)), bytes([0, 1, 2]),
        bytes([106, 107, 108, 109]), b"",
    ]  # fmt: skip


def test_a_range_past_the_end_is_an_error(location: Location) -> None:
    location.write("one", b"0123456789")
    with pytest.raises(StoreError, match="one is cut short: bytes 8 to 12 asked for, 2 of them there"):
        location.read_ranges([("one", 8, 12)])


def test_missing_object_is_named(location: Location) -> None:
    location.write("there", b"x")
    for act in (
        lambda: location.read("no such"),
        lambda: location.size("no such"),
        lambda: location.map("no such"),
    ):
        with pytest.raises(MissingError, match="no such is missing"):
            act()


def test_list_move_remove(location: Location) -> None:
    assert location.list() == {}
    location.write("b/2", b"22")
    location.write("a", b"1")
    location.write("b/c/3", b"333")
    assert list(location.list().items()) == [("a", 1), ("b/2", 2), ("b/c/3", 3)]
    assert location.list("b") == {"b/2": 2, "b/c/3": 3}
    other = Location(f"{location.url} other", location.storage_options)
    location.move("b/2", other, "deep/er")
    assert other.read("deep/er") == b"22" and not location.exists("b/2")
    location.remove("b")
    location.remove("b")
    assert location.list() == {"a": 1}
    location.remove()
    assert not location.exists()


def test_pickles_without_its_connection(location: Location) -> None:
    location.write("a", b"1")
    copy = pickle.loads(pickle.dumps(location))
    assert copy.read("a") == b"1" and copy.url == location.url


def test_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    location = Location(tmp_path)
    location.write("a", b"old")

    def parts() -> Any:
        yield b"new"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="a: could not be written: No space left on device"):
        location.write("a", parts())
    assert location.read("a") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


class Flaky:
    """A file system of one object that fails a few times first."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def cat_ranges(self, paths: list[str], starts: list[int], ends: list[int], on_error: str) -> list[Any]:
        self.calls += 1
        bad = self.calls <= self.failures
        return [self.error if bad and s == 0 else b"x" * (e - s) for s, e in zip(starts, ends, strict=True)]

    def info(self, path: str) -> dict[str, int]:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return {"size": 7}


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(remote, "FIRST_PAUSE_SECONDS", 0.0)

    def make(failures: int, error: Exception) -> tuple[Location, Flaky]:
        fs = Flaky(failures, error)
        monkeypatch.setattr(Location, "_filesystem", lambda self: fs)
        return Location("s3://nowhere"), fs

    return make


@pytest.mark.parametrize("error", [OSError(errno.EIO, "server"), TimeoutError("slow"), ConnectionError("reset")])
def test_transient_errors_are_retried(flaky: Any, error: Exception) -> None:
    location, fs = flaky(remote.ATTEMPTS - 1, error)
    assert location.read_ranges([("a", 0, 3), ("b", 1, 2)]) == [b"xxx", b"x"]
    assert fs.calls == remote.ATTEMPTS
    location, fs = flaky(2, error)
    assert location.size("a") == 7 and fs.calls == 3


def test_retries_end(flaky: Any) -> None:
    location, _ = flaky(99, OSError(errno.EIO, "server on fire"))
    with pytest.raises(StoreError, match="nowhere/a: still failing after 5 attempts: server on fire"):
        location.read_ranges([("a", 0, 3)])
    with pytest.raises(StoreError, match="still failing"):
        location.size("a")


def test_lasting_errors_are_not_retried(flaky: Any) -> None:
    location, fs = flaky(99, PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(StoreError, match="nowhere/a: Permission denied"):
        location.read_ranges([("a", 0, 3)])
    assert fs.calls == 1
    assert not is_transient(FileNotFoundError()) and not is_transient(ValueError())


def test_unknown_protocol_says_so() -> None:
    with pytest.raises(StoreError, match="gopher://x"):
        Location("gopher://x").read("a")


_ranges = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.integers(0, 30)), max_size=20)


@given(_ranges, st.integers(0, 10))
def test_merged_ranges_cover(items: list[tuple[str, int, int]], gap: int) -> None:
    ranges: list[tuple[str, int, int | None]] = [(name, start, start + size) for name, start, size in items]
    merged, pieces = merge_ranges(ranges, gap)
    for (name, start, end), (i, offset) in zip(ranges, pieces, strict=True):
        assert merged[i][0] == name and merged[i][1] + offset == start
        assert end is not None and end <= (merged[i][2] or 0)
    for name in "ab":
        mine = sorted(m[1:] for m in merged if m[0] == name)
        assert all(b[0] - (a[1] or 0) > gap for a, b in itertools.pairwise(mine))
