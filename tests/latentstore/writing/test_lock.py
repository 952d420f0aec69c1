"""The lock: one run at a time, on this machine and on others."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plain_s3 import PlainS3

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.loaders.remote.location import Location
from latentstore.writing import StoreSpec, lock, open_writer

SIZE = (40, 56)


def begin(codec: Any, url: str, **options: Any) -> Any:
    return open_writer(url, StoreSpec.of(codec, size=SIZE, shard_samples=8, source="made"), format="zarr", **options)


def test_a_second_run_gets_one_sentence(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    url = f"{tmp_path}/x.zarr"
    with begin(codec, url) as writer:
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(StoreError, match=rf"x\.zarr is being written .*process {os.getpid()} on "):
                begin(codec, url, **options)
        writer.write_shard(0, make_samples(3, SIZE)[0])
        writer.finish(1)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    begin(codec, url, overwrite=True).abort()


def write_lock(url: str, **owner: Any) -> Path:
    path = Path(f"{url}.partial/lock")
    found = {"token": "other", "pid": os.getpid(), "host": socket.gethostname(), "since": "then", "beats": 0}
    path.write_text(json.dumps({**found, **owner}))
    return path


def test_the_lock_of_another_process(codec: Any, tmp_path: Path) -> None:
    url = f"{tmp_path}/x.zarr"
    begin(codec, url)
    write_lock(url, pid=os.getppid())
    said = rf"process {os.getppid()} on .* delete the file .*x\.zarr\.partial/lock"
    with pytest.raises(StoreError, match=said):
        begin(codec, url, resume=True)
    ended = multiprocessing.get_context("spawn").Process(target=int)
    ended.start()
    ended.join()
    write_lock(url, pid=ended.pid)
    assert not begin(codec, url, resume=True).published


@pytest.mark.parametrize("scheme", ["", "memory://lock"])
def test_the_lock_of_another_machine_is_watched(
    codec: Any, tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Location(f"{scheme}{tmp_path}/x.partial")
    beating, now = threading.Event(), 0.0

    def look(seconds: float) -> None:
        nonlocal now
        now += seconds
        if beating.is_set():
            place.write(lock.LOCK, json.dumps({**json.loads(place.read(lock.LOCK)), "beats": 1}).encode())

    clock = SimpleNamespace(sleep=look, monotonic=lambda: now, strftime=time.strftime)
    monkeypatch.setattr(lock, "time", clock)
    place.write(lock.LOCK, dead())
    beating.set()
    with pytest.raises(StoreError, match="process 1 on elsewhere, since then"):
        lock.Lock(place).acquire()
    beating.clear()
    mine = lock.Lock(place)
    mine.acquire()
    assert json.loads(place.read("lock.other"))["host"] == socket.gethostname()
    mine.release()
    assert not place.list() and not place.exists()


def dead(**more: Any) -> bytes:
    """The lock of a run on another machine."""
    owner = {"token": "other", "pid": 1, "host": "elsewhere", "since": "then", "beats": 0}
    return json.dumps({**owner, **more}).encode()


@pytest.fixture
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.3)
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 1.0)


@pytest.mark.parametrize("content", [b"", b"[]", b"not JSON", b'{"token": "../../x"}', b'{"token": 7, "pid": "x"}'])
def test_a_lock_that_nobody_of_ours_wrote(tmp_path: Path, content: bytes, short_watch: None) -> None:
    place = Location(f"{tmp_path}/x.partial")
    place.write(lock.LOCK, content)
    mine = lock.Lock(place)
    mine.acquire()
    assert len(place.list()) == 2
    mine.release()
    assert not place.exists()


def test_a_lock_that_follows_itself(tmp_path: Path, short_watch: None) -> None:
    place = Location(f"{tmp_path}/x.partial")
    place.write(lock.LOCK, dead())
    place.write("lock.other", dead())
    with pytest.raises(StoreError, match="process 1 on elsewhere"):
        lock.Lock(place).acquire()


# ---- one process


def test_the_same_process_cannot_take_it_twice(tmp_path: Path) -> None:
    place = Location(f"{tmp_path}/x.partial")
    mine = lock.Lock(place)
    mine.acquire()
    for _ in range(2):
        with pytest.raises(StoreError, match=f"process {os.getpid()} on "):
            lock.Lock(place).acquire()
    mine.release()
    mine.release()
    again = lock.Lock(place)
    again.acquire()
    del again  # without being released: what a caller does who forgets the writer
    third = lock.Lock(place)
    third.acquire()
    third.release()
    assert not place.exists()


def race(place: Callable[[], Location], runs: int) -> list[lock.Lock | StoreError]:
    """What so many threads get that ask for the lock at the same moment."""
    start, results = threading.Barrier(runs), []

    def run(own: lock.Lock) -> None:
        start.wait()
        try:
            own.acquire()
            results.append(own)
        except StoreError as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(lock.Lock(place()),)) for _ in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def check_race(place: Location, results: list[lock.Lock | StoreError]) -> None:
    (winner,) = (one for one in results if isinstance(one, lock.Lock))
    assert all("is being written by another run" in str(one) for one in results if one is not winner)
    winner.check()
    winner.release()
    assert not place.list()


@pytest.mark.parametrize("before", [None, dead()])
def test_threads_that_see_the_same_lock(tmp_path: Path, before: bytes | None, short_watch: None) -> None:
    for number in range(10):
        place = Location(f"{tmp_path}/{number}.partial")
        if before is not None:
            place.write(lock.LOCK, before)
        check_race(place, race(lambda place=place: Location(place.url), 6))  # type: ignore[misc]
        assert not place.exists()


# ---- processes


def _contend(url: str, at: float, held: Any, results: Any) -> None:
    lock.WATCH_SECONDS, lock.LOOK_SECONDS = 0.3, 0.05
    own = lock.Lock(Location(url))
    time.sleep(max(0.0, at - time.time()))
    try:
        own.acquire()
    except StoreError as error:
        results.put(str(error))
        return
    results.put("")
    held.wait(300)
    own.release()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("before", [None, dead()])
def test_processes_that_see_the_same_lock(tmp_path: Path, before: bytes | None) -> None:
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    for number in range(3):
        place = Location(f"{tmp_path}/{number}.partial")
        if before is not None:
            place.write(lock.LOCK, before)
        held, results = context.Event(), context.Queue()
        at = time.time() + 0.3
        processes = [context.Process(target=_contend, args=(place.url, at, held, results)) for _ in range(4)]
        for process in processes:
            process.start()
        said = [results.get(timeout=300) for _ in processes]
        held.set()
        for process in processes:
            process.join()
        assert said.count("") == 1, said
        assert all("is being written by another run" in one for one in said if one)
        assert not place.exists()


# ---- object stores


@pytest.fixture(params=["kept", "bare", "ignored", "refused"])
def bucket(request: pytest.FixtureRequest) -> Iterator[PlainS3]:
    pytest.importorskip("s3fs")
    server = PlainS3(request.param)
    yield server
    server.stop()


@pytest.mark.parametrize("before", [None, dead()])
def test_runs_at_an_object_store(bucket: PlainS3, before: bytes | None, short_watch: None) -> None:
    """Where there are no conditional writes, the runs' writes wait for each other, so that all of them see no lock."""
    excludes = bucket.conditions in ("kept", "bare")
    place = Location("s3://bucket/x.partial", bucket.options)
    if before is not None:
        bucket.objects["x.partial/lock"] = before
    bucket.together = None if excludes else threading.Barrier(3)
    results = race(lambda: Location(place.url, bucket.options), 3)
    bucket.together = None
    winner = next(one for one in results if isinstance(one, lock.Lock))
    assert winner.place.excludes == excludes
    check_race(place, results)
    assert not bucket.objects


def test_a_common_object_store(s3_server: dict[str, Any], short_watch: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs have seen that the lock is dead, and the write of the second one is refused."""
    place = Location("s3://bucket/common.partial", s3_server)
    place.write(lock.LOCK, dead())
    one, other = lock.Lock(Location(place.url, s3_server)), lock.Lock(place)
    free = other._free_name()
    one.acquire()
    monkeypatch.setattr(other, "_free_name", lambda: free)
    with pytest.raises(StoreError, match="is being written by another run") as caught:
        other.acquire()
    assert one.place.excludes
    check_race(place, [one, caught.value])


def test_a_process_tries_again_after_its_lock_failed(bucket: PlainS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody keeps the error, as notebooks do, and by it the lock that was never held."""
    place = Location("s3://bucket/x.partial", bucket.options)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)
    bucket.refuses = lambda what: "x.partial/lock" in bucket.objects
    with pytest.raises(StoreError, match="refuses it") as kept:
        lock.Lock(place).acquire()
    bucket.refuses = lambda what: False
    assert list(bucket.objects) == ["x.partial/lock"]
    again = lock.Lock(place)
    again.acquire()
    again.release()
    assert not bucket.objects and kept.value is not None


def test_a_lock_that_may_not_be_removed_is_told(
    bucket: PlainS3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was to be done is done. The next run finds that nobody has the lock."""
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)
    place = Location("s3://bucket/x.partial/ranks/0000", bucket.options)
    mine = lock.Lock(place)
    mine.acquire()
    bucket.refuses = lambda what: what.startswith("DELETE")
    mine.release()
    (record,) = caplog.records
    assert record.getMessage().startswith("the lock of s3://bucket/x could not be removed")
    bucket.refuses = lambda what: False
    other = lock.Lock(place)
    other.acquire()
    other.release()
    assert not bucket.objects


@pytest.mark.parametrize("format", ["zarr", "wds", "versions"])
def test_a_bucket_that_is_not_there(codec: Any, s3_options: dict[str, Any], format: str) -> None:
    spec = StoreSpec.of(codec, size=SIZE, shard_samples=8, source="made")
    with pytest.raises(StoreError, match=r"^s3://nothing/x cannot be written: there is no such bucket$"):
        open_writer("s3://nothing/x", spec, format=format, storage_options=s3_options)
    with pytest.raises(ArgumentError, match=r"^s3://bucket is a whole bucket: name a folder in it"):
        open_writer("s3://bucket", spec, format=format, storage_options=s3_options)


# ---- losing it


def test_a_lock_is_renewed_until_it_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.001)
    place = Location(f"{tmp_path}/x.partial")
    mine = lock.Lock(place)
    mine.acquire()
    thread = mine._thread
    assert thread is not None
    while json.loads(place.read(lock.LOCK))["beats"] < 2:
        assert thread.is_alive()
    place.write(f"lock.{mine._owner['token']}", dead())
    thread.join()
    with pytest.raises(StoreError, match=r"written by another run now .process 1 on elsewhere.* so this one stops"):
        mine.check()
    mine.release()
    assert len(place.list()) == 2  # nothing of the other run's is removed


def test_a_run_that_has_lost_its_lock_writes_nothing(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    url = f"{tmp_path}/x.zarr"
    samples = make_samples(3, SIZE)[0]
    with begin(codec, url) as writer:
        writer.write_shard(0, samples)
        own = json.loads(Path(f"{url}.partial/lock").read_text())
        Path(f"{url}.partial/lock.{own['token']}").write_bytes(dead())
        writer._lock._renewed -= 1000  # silent for so long
        before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
        for step in (lambda: writer.write_shard(1, samples), lambda: writer.finish(1), writer.abort):
            with pytest.raises(StoreError, match="so this one stops"):
                step()
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


def test_the_lock_is_renewed_before_anything_is_deleted(
    codec: Any, make_samples: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting an old store may take longer than a lock is watched."""
    url = f"{tmp_path}/x.zarr"
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.001)
    plain = Location.remove
    seen: list[str] = []

    def slowly(self: Location, name: str = "") -> None:
        path = Path(f"{url}.partial/lock")
        if not name.startswith(lock.LOCK):
            begun, end = json.loads(path.read_text())["beats"], time.monotonic() + 300
            while json.loads(path.read_text())["beats"] == begun:
                assert time.monotonic() < end, f"no beat while {self.at(name)} is removed"
            seen.append(name)
        plain(self, name)

    with begin(codec, url) as writer:
        writer.write_shard(0, make_samples(3, SIZE)[0])
    monkeypatch.setattr(Location, "remove", slowly)
    with begin(codec, url, overwrite=True) as writer:  # deletes what the first run has left
        assert "job.json" in seen
        writer.write_shard(0, make_samples(3, SIZE)[0])
        seen.clear()
        writer.finish(1)
        assert "job.json" in seen
    with begin(codec, url, overwrite=True) as writer:
        seen.clear()
        writer.abort()
        assert "job.json" in seen
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
