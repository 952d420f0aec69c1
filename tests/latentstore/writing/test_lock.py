"""The lock: one run at a time, on this machine and on others."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from latentstore.codecs.errors import StoreError
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
    beating = threading.Event()

    def look(seconds: float) -> None:
        if beating.is_set():
            place.write(lock.LOCK, json.dumps({**json.loads(place.read(lock.LOCK)), "beats": 1}).encode())

    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(lock.time, "sleep", look)
    elsewhere = {"token": "other", "pid": 1, "host": "elsewhere", "since": "then", "beats": 0}
    place.write(lock.LOCK, json.dumps(elsewhere).encode())
    beating.set()
    with pytest.raises(StoreError, match="process 1 on elsewhere, since then"):
        lock.Lock(place).acquire()
    beating.clear()
    mine = lock.Lock(place)
    mine.acquire()
    assert json.loads(place.read(lock.LOCK))["host"] == socket.gethostname()
    mine.release()
    assert not place.list()


def test_a_lock_is_renewed_until_it_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.001)
    place = Location(f"{tmp_path}/x.partial")
    mine = lock.Lock(place)
    mine.acquire()
    mine.beat()
    thread = mine._thread
    assert thread is not None
    while json.loads(place.read(lock.LOCK))["beats"] < 2:
        assert thread.is_alive()
    mine.release()
    assert not place.exists()
    place.write(lock.LOCK, b'{"token": "other"}')
    lost = lock.Lock(place)
    lost.beat()
    assert lost._thread is not None
    lost._thread.join()
    lost.release()
    assert json.loads(place.read(lock.LOCK)) == {"token": "other"}
