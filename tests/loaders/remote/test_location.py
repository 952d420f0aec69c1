"""Locations: what is written is read again, listed, moved and removed; local and remote alike."""

from __future__ import annotations

import ast
import errno
import io
import itertools
import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT

from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.ranges import Range

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
        lambda: location.open("no such"),
    ):
        with pytest.raises(MissingError, match="no such is missing"):
            act()


def test_a_folder_is_removed_while_files_come_and_go_in_it(tmp_path: Path) -> None:
    """As a lock that is renewed does: a file is written there, and moved away."""
    place, over = Location(tmp_path), threading.Event()
    folder = tmp_path / "tmp"

    def renew() -> None:
        while not over.is_set():
            with suppress(FileNotFoundError):
                (folder / "lock").write_bytes(b"1")
                (folder / "lock").replace(tmp_path / "lock")

    with ThreadPoolExecutor(1) as pool:
        renewed = pool.submit(renew)
        try:
            for _ in range(2000):
                folder.mkdir()
                place.remove("tmp")
                assert not folder.exists()
        finally:
            over.set()
        renewed.result()


def test_files_and_folders_that_go_while_they_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a store's do that somebody writes: `latentstore.open` looks there."""
    for name in ("a/before", "a/after", "a/kept", "b/c/removed"):
        Location(tmp_path).write(name, b"123")
    asked, scandir = Path.stat, os.scandir

    def renamed(self: Path, **options: Any) -> os.stat_result:
        if self.name == "before":
            self.unlink()
        found = asked(self, **options)
        if self.name == "after":
            self.unlink()
        return found

    def removed(path: Any = ".") -> Any:
        if str(path).endswith("c"):
            shutil.rmtree(path)
        return scandir(path)

    monkeypatch.setattr(Path, "stat", renamed)
    monkeypatch.setattr(os, "scandir", removed)
    assert Location(tmp_path).list() == {"a/after": 3, "a/kept": 3}


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


ODD = ("run[12]", "run*", "run?", "a#b %20", "d")


@pytest.mark.parametrize("odd", ODD)
def test_names_are_no_patterns(location: Location, odd: str) -> None:
    """fsspec takes brackets, stars and question marks for patterns: one store removed objects of others."""
    places = {name: Location(f"{location.url}/{name}", location.storage_options) for name in ("run1", "run2x", odd)}
    for place in places.values():
        for name in ("lock", f"parts/{odd}", "parts/run1"):
            place.write(name, b"1")
    places[odd].remove(f"parts/{odd}")
    assert list(places[odd].list()) == ["lock", "parts/run1"]
    places[odd].remove("parts")
    assert list(places[odd].list()) == ["lock"]
    places[odd].remove("lock")
    assert places[odd].list() == {}
    places["run1"].move("lock", places[odd], "moved")
    places[odd].remove()
    assert not places[odd].list() and len(places["run1"].list()) == 2 and len(places["run2x"].list()) == 3


@pytest.mark.parametrize("location", ["s3"], indirect=True)
def test_markers_of_folders_are_no_objects(location: Location) -> None:
    """Removing "shards/" by that name would be to remove all shards."""
    fs, path = location.filesystem()
    location.write("shards/1", b"1")
    for marker in ("", "shards/", "none/", "old_$folder$"):
        fs.call_s3("put_object", Bucket="bucket", Key=f"{path.removeprefix('bucket/')}/{marker}", Body=b"")
    assert location.list() == location.list("shards") == {"shards/1": 1}
    assert location.children() == ([], ["none", "shards"])
    location.remove()
    assert not location.exists()


@pytest.mark.parametrize("location", ["s3"], indirect=True)
def test_what_was_listed_a_while_ago(location: Location) -> None:
    """The client keeps listings. What others have written since is there all the same."""
    fs, path = location.filesystem()
    location.write("a", b"1")
    location.list()
    location.children()
    fs.call_s3("put_object", Bucket="bucket", Key=f"{path.removeprefix('bucket/')}/b", Body=b"22")
    assert location.exists("b") and location.size("b") == 2


def test_a_bucket_that_is_not_there(s3_server: dict[str, Any]) -> None:
    place = Location("s3://nothing/x", s3_server)
    with pytest.raises(StoreError, match=r"^s3://nothing/x/a could not be written: there is no such bucket$"):
        place.write("a", b"1")
    place.remove("a")


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = Location("x")
    place.write("a", b"1")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    for one in (place, pickle.loads(pickle.dumps(place))):
        assert one.read("a") == b"1" and one.url == "x"


def test_details_and_children(location: Location) -> None:
    with pytest.raises(MissingError, match="is missing"):
        location.children()
    assert location.details() == {}
    location.write("b/c/3", b"333")
    location.write("a", b"1")
    location.write("é.bin", b"22")
    assert location.children() == (["a", "é.bin"], ["b"])
    assert {name: info["size"] for name, info in location.details().items()} == {"a": 1, "b/c/3": 3, "é.bin": 2}
    assert list(location.details("b")) == ["b/c/3"]


def test_open_reads_in_pieces(location: Location) -> None:
    content = np.random.default_rng(1).integers(0, 256, 10_000).astype(np.uint8).tobytes()
    location.write("a", content)
    with location.open("a", block_bytes=1000) as file:
        assert file.read(10) == content[:10]
        assert file.seek(5000) == 5000 and file.read(3000) == content[5000:8000]
        assert file.seek(-7, io.SEEK_END) == 9993 and file.read() == content[-7:]
        assert file.seek(20_000) == 20_000 and file.read(5) == b""
        file.seek(3)
        file.seek(2, io.SEEK_CUR)
        assert file.tell() == 5 and file.read() == content[5:]


@pytest.mark.parametrize("location", ["memory", "s3"], indirect=True)
def test_open_does_not_read_it_whole(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    location.write("a", bytes(100_000))
    read: list[Range] = []
    plain = Location.read_ranges

    def counting(self: Location, ranges: Any) -> list[bytes]:
        read.extend(ranges)
        return plain(self, ranges)

    monkeypatch.setattr(Location, "read_ranges", counting)
    with location.open("a", block_bytes=4096) as file:
        assert not read
        for at in (0, 100, 50_000):
            file.seek(at)
            file.read(512)
        assert read == [("a", 0, 4096), ("a", 50_000, 54_096)]
        read.clear()
        file.seek(0)
        assert len(file.read()) == 100_000
        assert len(read) <= 2  # all at once, and not in many small requests


def test_pickles_without_its_connection(location: Location) -> None:
    location.write("a", b"1")
    copy = pickle.loads(pickle.dumps(location))
    assert copy.read("a") == b"1" and copy.url == location.url


@pytest.mark.parametrize("system", ["as it is", "a part at a time", "without writev"])
def test_pieces_of_all_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr("latentstore.loaders.remote.location.AHEAD_BYTES", 1000)
    if system == "without writev":
        monkeypatch.delattr(os, "writev", raising=False)
    elif system == "a part at a time":
        monkeypatch.setattr(os, "writev", lambda fd, parts: os.write(fd, b"".join(parts)[:700]))
    pieces = [bytes([n % 251]) * (n % 40) for n in range(1500)] + [b"x" * 5000, b"", b"y"]
    for given in (pieces, map(memoryview, pieces), [], [b""]):
        location = Location(tmp_path)
        location.write("a", given)
        assert location.read("a") == (b"".join(pieces) if given not in ([], [b""]) else b"")


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


def test_two_processes_prune_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that the other one has removed when this one looks into it is no error."""
    for name in ("a/tmp", "a/ranks/0000", "b/tmp"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b" / "kept").touch()
    scandir = os.scandir

    def raced(path: Any = ".") -> Any:
        if str(path).endswith("tmp"):
            Path(path).rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", raced)
    Location(tmp_path / "a").prune()
    Location(tmp_path / "b").prune()
    assert not (tmp_path / "a").exists() and [path.name for path in (tmp_path / "b").iterdir()] == ["kept"]


def test_urls_are_opened_in_one_place() -> None:
    clients = {"fsspec", "s3fs", "gcsfs", "aiohttp", "botocore", "requests", "urllib3"}
    found = set()
    for room in ("codecs", "loaders", "latentstore"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names.append(node.module)
                if clients & {name.partition(".")[0] for name in names}:
                    found.add(path.relative_to(ROOT).parent.as_posix())
    assert found == {"loaders/remote"}


def test_unknown_protocol_says_so() -> None:
    with pytest.raises(StoreError, match="gopher://x"):
        Location("gopher://x").read("a")
