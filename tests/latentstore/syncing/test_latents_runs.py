"""`latentstore sync` of stores of latents: runs that stop, readers beside them, two at a time."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from changing_photos import SIZE, Photos, assert_as_converted, latents_of
from paths import ROOT
from until import until

import latentstore
from latentstore import StoreError
from latentstore.codecs.errors import LatentstoreError
from latentstore.loaders.remote.location import Location
from latentstore.stores.verify import verify
from latentstore.syncing.latents import sync_latents
from latentstore.writing.tensors.gc import collect_garbage
from latentstore.writing.versions.session import LatentSession
from latentstore.writing.versions.writer import VersionWriter

KILLED = ROOT / "tests/support/programs/sync_until_killed.py"


def test_what_was_killed_goes_on(photos: Photos, tmp_path: Path) -> None:
    """Killed before every third renaming of a run that replaces, adds and removes; then run again."""
    whole = tmp_path / "whole"
    photos.sync(whole)
    first = latents_of(whole)

    def changed() -> None:
        for i in range(0, 80, 2):
            photos.put(f"dog/{i:02d}.png", 2000 + i)
        (photos.root / "cat/03.png").unlink()

    changed()
    states = set()
    for nth in range(2, 40, 3):
        store = tmp_path / f"killed-{nth}"
        subprocess.run(["cp", "-r", str(whole), str(store)], check=True)
        command = [sys.executable, str(KILLED), str(photos.root), str(store), str(nth)]
        code = subprocess.run(command, check=False).returncode
        assert code in (0, -signal.SIGKILL)
        there = latents_of(store)
        assert len(there) == 79 or there == first, "a whole version"
        photos.sync(store, delete=True)
        states.add(len(photos.read))
        assert not photos.sync(store, delete=True)[0].is_needed and not verify(str(store)).problems
        assert latents_of(store) != first and len(latents_of(store)) == 79
        if code == 0:
            break
    else:
        pytest.fail("it was never whole")
    assert {0, 40} < states, "from nothing to go on with, to nothing left to do; and something between"
    assert_as_converted(photos, store)


def test_what_changed_after_a_kill_is_encoded_again(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    command = [sys.executable, str(KILLED), str(photos.root), str(store), "7"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(StoreError, match="not finished"):
        latentstore.open(store)
    photos.put("cat/01.png", 777)  # it lies in a shard that was written
    photos.sync(store)
    assert "cat/01.png" in photos.read and 0 < len(photos.read) < 80
    assert_as_converted(photos, store)


def test_readers_see_whole_versions(photos: Photos, tmp_path: Path) -> None:
    """A reader opens and reads during 20 syncs that replace all images; every image of a version is the same one."""
    store, wrong, versions, stop = tmp_path / "x", list[str](), set[int](), threading.Event()
    for path in photos.root.rglob("*.png"):
        path.unlink()

    def put(version: int) -> None:
        for i in range(12):
            photos.put(f"{i}.png", version)

    def read() -> None:
        while not stop.is_set():
            try:
                ds = latentstore.open(store)
                same = {latent.tobytes() for latent in ds.read_latents(None)}
            except LatentstoreError as error:
                wrong.append(str(error))
                return
            versions.add(ds.info["version"])
            if len(same) != 1 or len(ds) != 12:
                wrong.append(f"version {ds.info['version']} has {len(same)} different images")

    put(0)
    photos.sync(store)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        until(lambda: bool(versions or wrong))
        for version in range(1, 21):
            put(version)
            photos.sync(store)
        until(lambda: bool(21 in versions or wrong))
    finally:
        stop.set()
        reader.join()
    assert not wrong and versions >= {1, 21} and latentstore.open(store).info["version"] == 21


def test_a_conversion_that_stopped_is_resumed(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, plain = tmp_path / "x", Location.write
    options: dict[str, Any] = {"format": "versions", "size": SIZE, "workers": 1, "progress": False}

    def full(self: Location, name: str, parts: Any) -> None:
        if name.startswith("shards/") and name.endswith("1"):
            raise StoreError(f"{self.at(name)}: could not be written: No space left on device")
        plain(self, name, parts)

    monkeypatch.setattr(Location, "write", full)
    with pytest.raises(StoreError, match="No space left"):
        latentstore.convert(photos.root, store, **options)
    monkeypatch.setattr(Location, "write", plain)
    with pytest.raises(StoreError, match="holds an interrupted conversion"):
        latentstore.convert(photos.root, store, **options)
    with pytest.raises(StoreError, match=r"with other settings \(quality\)"):
        latentstore.convert(photos.root, store, quality=20, resume=True, **options)
    photos.read.clear()
    report = latentstore.convert(photos.root, store, resume=True, **options)
    assert report.stored == 80 and report.resumed == 1 and len(photos.read) == 50
    assert_as_converted(photos, store)
    assert not list((tmp_path / "x.partial").rglob("*"))


def test_a_listing_lags(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on does not see a shard of the interrupted one. When it sees it, that is none of its own. A shard
    that was removed is listed still."""
    store, write, details, adopt = tmp_path / "x", Location.write, Location.details, VersionWriter.adopt
    late = {"parts/000001.npz"}

    def full(self: Location, name: str, parts: Any) -> None:
        if name.startswith("shards/") and name.endswith("2"):
            raise StoreError(f"{self.at(name)}: could not be written: No space left on device")
        write(self, name, parts)

    def lagging(self: Location, name: str = "") -> dict[str, dict[str, Any]]:
        found = {at: said for at, said in details(self, name).items() if at not in late}
        return {**found, "parts/000007.npz": {"size": 1}} if name == "parts" and late else found

    def adopted(self: VersionWriter, is_wanted: Any) -> Any:
        found = adopt(self, is_wanted)
        late.clear()
        return found

    monkeypatch.setattr(Location, "write", full)
    with pytest.raises(StoreError, match="No space left"):
        photos.sync(store)
    monkeypatch.setattr(Location, "write", write)
    monkeypatch.setattr(Location, "details", lagging)
    monkeypatch.setattr(VersionWriter, "adopt", adopted)
    for name in ("cat/01.png", "dog/78.png"):
        photos.put(name, 777)
    photos.sync(store)
    assert not late
    assert_as_converted(photos, store)


def test_one_run_at_a_time(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    photos.sync(store)
    photos.put("cat/01.png", 600)
    command = [sys.executable, str(KILLED), str(photos.root), str(store), "6"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(StoreError, match="begun and not finished"):
        collect_garbage(store)
    holder = LatentSession(str(store), None)
    holder.lock.acquire()
    try:
        with pytest.raises(StoreError, match="writ"):
            photos.sync(store)
    finally:
        holder.end()
    photos.sync(store)
    assert_as_converted(photos, store)


def test_a_full_disk_leaves_the_published_version(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, plain = tmp_path / "x", Location.write
    photos.sync(store)
    old = latents_of(store)
    photos.put("cat/01.png", 600)

    def full(self: Location, name: str, parts: Any) -> None:
        if name.startswith("versions/"):
            raise StoreError(f"{self.at(name)}: could not be written: No space left on device")
        plain(self, name, parts)

    monkeypatch.setattr(Location, "write", full)
    with pytest.raises(StoreError, match="No space left"):
        photos.sync(store)
    monkeypatch.undo()
    assert latents_of(store) == old
    photos.read.clear()
    sync_latents(photos.root, store, progress=False)
    assert not photos.read, "what was encoded is kept"
    assert_as_converted(photos, store)
