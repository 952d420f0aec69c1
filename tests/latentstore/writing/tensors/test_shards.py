"""Shards that are written by a thread while they are made: order, errors, and how much waits."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from latentstore import StoreError
from latentstore.loaders.remote.location import Location
from latentstore.writing.tensors import shards as module
from latentstore.writing.tensors.shards import Shards


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_shard_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    checked: list[int] = []
    shards = Shards(Location(tmp_path / "s", temp=str(tmp_path / "tmp")), lambda: checked.append(1))
    shards.add("a", [b"one", b"two"])
    shards.add("a", [b""])
    shards.wait()  # for none, as none is whole
    assert not (tmp_path / "s/shards/a").exists() and not checked
    shards.add("a", [b"three"], last=True)
    shards.add("b", [b"four"], last=True)
    shards.wait()
    assert len(checked) == 2
    shards.add("c", [b"never whole"])
    shards.close()
    assert files(tmp_path) == ["s/shards/a", "s/shards/b"]
    assert (tmp_path / "s/shards/a").read_bytes() == b"onetwothree"
    assert (tmp_path / "s/shards/b").read_bytes() == b"four"


def test_what_keeps_a_shard_from_its_name_is_told(tmp_path: Path) -> None:
    def refuse() -> None:
        raise StoreError("another run has the place")

    shards = Shards(Location(tmp_path / "s", temp=str(tmp_path / "tmp")), refuse)
    shards.add("a", [b"x"], last=True)
    for _ in range(2):
        with pytest.raises(StoreError, match="another run has the place"):
            shards.wait()
    with pytest.raises(StoreError, match="another run has the place"):
        shards.add("b", [b"x"])
    shards.close()
    assert files(tmp_path) == []


def test_a_disk_that_fails(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"no folder")
    shards = Shards(Location(tmp_path / "s"), lambda: None)
    shards.add("a", [b"x"], last=True)
    with pytest.raises(StoreError, match="could not be written"):
        shards.wait()
    shards.close()


def test_only_so_much_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    going, put = threading.Event(), threading.Event()
    plain = Location.write

    def slow(self: Location, name: str, parts: Iterable[bytes]) -> None:
        going.wait(300)
        plain(self, name, parts)

    monkeypatch.setattr(Location, "write", slow)
    shards = Shards(Location(tmp_path), lambda: None)
    shards.add("a", [bytes(25)])  # more than may wait, where nothing does

    def more() -> None:
        shards.add("a", [bytes(1)], last=True)
        put.set()

    thread = threading.Thread(target=more)
    thread.start()
    assert not put.wait(0.2)
    going.set()
    assert put.wait(300)
    thread.join()
    shards.wait()
    shards.close()
    assert (tmp_path / "shards/a").stat().st_size == 26
