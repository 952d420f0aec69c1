"""Stores while they grow: one run at a time, and overwriting on object stores."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote.location import Location
from latentstore.writing import lock
from latentstore.writing.spec import StoreSpec, open_writer
from latentstore.writing.staging import Staging

SIZE = (40, 56)


def begin(codec: Any, url: str, layout: str, shard_samples: int = 8, **options: Any) -> Any:
    size = SIZE if layout.endswith("fixed") else None
    spec = StoreSpec.of(codec, size=size, shard_samples=shard_samples, source="made")
    return open_writer(url, spec, format=layout.split("-")[0], **options)


def fill(writer: Any, make_samples: Any, layout: str, counts: tuple[int, ...] = (8, 4)) -> None:
    size = SIZE if layout.endswith("fixed") else None
    for index, count in enumerate(counts):
        if index not in writer.done():
            writer.write_shard(index, make_samples(count, size, 10 * index)[0])
    writer.finish(len(counts))


def tree(url: str) -> dict[str, bytes]:
    location = Location(url)
    return {name: location.read(name) for name in location.list()}


# ---- the lock


def test_a_second_run_gets_one_sentence(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    url = f"{tmp_path}/x.zarr"
    with begin(codec, url, "zarr-fixed") as writer:
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(StoreError, match=rf"x\.zarr is being written .*process {os.getpid()} on "):
                begin(codec, url, "zarr-fixed", **options)
        fill(writer, make_samples, "zarr-fixed")
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    begin(codec, url, "zarr-fixed", overwrite=True).abort()


def test_a_refused_run_leaves_nothing(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    url = f"{tmp_path}/x.zarr"
    fill(begin(codec, url, "zarr-fixed"), make_samples, "zarr-fixed")
    with pytest.raises(StoreError, match="already exists"):
        begin(codec, url, "zarr-fixed")
    assert begin(codec, url, "zarr-fixed", resume=True).published
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]


def write_lock(url: str, **owner: Any) -> Path:
    path = Path(f"{url}.partial/lock")
    found = {"token": "other", "pid": os.getpid(), "host": socket.gethostname(), "since": "then", "beats": 0}
    path.write_text(json.dumps({**found, **owner}))
    return path


def test_the_lock_of_another_process(codec: Any, tmp_path: Path) -> None:
    url = f"{tmp_path}/x.zarr"
    begin(codec, url, "zarr-fixed")
    write_lock(url, pid=os.getppid())
    said = rf"process {os.getppid()} on .* delete the file .*x\.zarr\.partial/lock"
    with pytest.raises(StoreError, match=said):
        begin(codec, url, "zarr-fixed", resume=True)
    ended = multiprocessing.get_context("spawn").Process(target=int)
    ended.start()
    ended.join()
    write_lock(url, pid=ended.pid)
    assert not begin(codec, url, "zarr-fixed", resume=True).published


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


# ---- overwriting on object stores


class Stop(BaseException):
    """What a kill looks like from inside."""


def test_overwriting_is_cut_off_anywhere(
    codec: Any, make_samples: Any, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = f"memory://over-{layout}/old", f"memory://over-{layout}/new"
    fill(begin(codec, old, layout), make_samples, layout, counts=(8, 8, 3))
    before = tree(old)
    fill(begin(codec, new, layout, 9), make_samples, layout)
    after = tree(new)
    left = -1
    change = {name: getattr(Location, name) for name in ("write", "remove", "copy", "move")}

    def counted(name: str) -> Any:
        def call(self: Location, *given: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Stop
            left -= 1
            return change[name](self, *given)

        return call

    for name in change:
        monkeypatch.setattr(Location, name, counted(name))
    stop, seen_old = 0, 0
    while True:
        Location(old).remove()
        Location(f"{old}.partial").remove()
        for name, data in before.items():
            Location(old).write(name, data)
        left = stop
        try:
            fill(begin(codec, old, layout, 9, overwrite=True), make_samples, layout)
        except Stop:
            left = -1
            try:
                count = len(latentstore.open(old))
            except StoreError:  # between the old manifest and the new one
                count = 0
            assert count in (0, 12, 19)
            if count == 19:
                assert tree(old) == before
                seen_old += 1
            resumed = Location(f"{old}.partial").exists("job.json")
            writer = begin(codec, old, layout, 9, resume=resumed, overwrite=not resumed)
            if not writer.published:
                fill(writer, make_samples, layout)
            assert tree(old) == after and not Location(f"{old}.partial").list(), stop
            stop += 1
            continue
        break
    assert tree(old) == after
    assert 5 < seen_old < stop


def test_overwriting_on_s3(codec: Any, make_samples: Any, layout: str, s3_server: Any) -> None:
    url = f"s3://bucket/over-{layout}"
    given = {"shard_samples": 8, "storage_options": s3_server}
    fill(begin(codec, url, layout, **given), make_samples, layout, counts=(8, 8, 3))
    writer = begin(codec, url, layout, **given, overwrite=True)
    assert len(latentstore.open(url, storage_options=s3_server)) == 19
    with pytest.raises(StoreError, match="holds an interrupted conversion"):
        begin(codec, url, layout, **given)
    fill(writer, make_samples, layout)
    ds = latentstore.open(url, storage_options=s3_server)
    assert len(ds.read_latents(np.arange(12))) == 12
    assert not Location(f"{url}.partial", s3_server).list()


def test_a_new_store_may_be_begun_again(codec: Any, make_samples: Any, layout: str) -> None:
    url = f"memory://again-{layout}"
    size = SIZE if layout.endswith("fixed") else None
    begin(codec, url, layout).write_shard(0, make_samples(8, size)[0])
    with pytest.raises(StoreError, match="or start again with --overwrite"):
        begin(codec, url, layout)
    fill(begin(codec, url, layout, overwrite=True), make_samples, layout)
    assert len(latentstore.open(url)) == 12


def test_an_old_store_moved_aside_comes_back(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    url = f"{tmp_path}/x.zarr"
    fill(begin(codec, url, "zarr-fixed"), make_samples, "zarr-fixed")
    whole = tree(url)
    begin(codec, url, "zarr-fixed", overwrite=True)
    staging = Staging.at(url, None)
    staging.target.path().rename(staging.partial.path("old"))
    begin(codec, url, "zarr-fixed", overwrite=True)
    assert tree(url) == whole
