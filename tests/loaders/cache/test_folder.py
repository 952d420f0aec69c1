"""The folder of the cache: what is put there is found again, damaged files are not, and the limit holds."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import shutil
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from latentstore.loaders.cache import folder as module
from latentstore.loaders.cache.entry import HEAD_BYTES, entry_name
from latentstore.loaders.cache.folder import CacheFolder, Usage
from latentstore.loaders.cache.lock import locked

STORE, OTHER = "0" * 32, "a" * 32
SIZE = 1000
FILE = SIZE + HEAD_BYTES


def content(number: int, size: int = SIZE) -> bytes:
    return bytes([number % 256]) * size


@pytest.fixture(autouse=True)
def untold() -> None:
    module._told.clear()


@pytest.fixture
def cache(tmp_path: Path) -> CacheFolder:
    return CacheFolder(tmp_path / "cache", 10 * FILE)


def entries(cache: CacheFolder) -> list[str]:
    return sorted(path.name for path in cache.path.glob(f"{STORE}/*"))


def test_what_is_put_is_found_again(cache: CacheFolder) -> None:
    assert cache.get(STORE, "a") is None and cache.usage() == Usage(0, 0, 0)
    cache.put(STORE, "a", b"one")
    cache.put(OTHER, "a", b"two")
    cache.put(STORE, "empty", b"")
    again = pickle.loads(pickle.dumps(cache))
    assert [again.get(STORE, "a"), again.get(OTHER, "a"), again.get(STORE, "empty")] == [b"one", b"two", b""]
    assert cache.usage() == Usage(2, 3, 6 + 3 * HEAD_BYTES)
    assert cache.clear() == Usage(2, 3, 6 + 3 * HEAD_BYTES)
    assert cache.usage() == Usage(0, 0, 0) and again.get(STORE, "a") is None
    cache.put(STORE, "a", b"one")
    assert cache.get(STORE, "a") == b"one"


def test_names() -> None:
    ranges = [("latent/c/1/0/0/0", 0, 5), ("latent/c/1/0/0/0", 0, 6), ("latent/c/1/0/0/0", -5, None), ("../a", 0, None)]
    names = {entry_name(item) for item in [*ranges, ("x" * 5000, 0, 1), ("é" * 100, 0, 1)]}
    assert len(names) == 6
    assert all(len(os.fsencode(name)) < 256 and "/" not in name and not name.startswith(".") for name in names - {
        entry_name(("../a", 0, None))
    })  # fmt: skip
    assert entry_name(("../a", 0, None)) == "..%2Fa@0-"


def test_a_damaged_file_is_removed(cache: CacheFolder) -> None:
    path = cache.path / STORE / "a"
    cache.put(STORE, "a", content(7))
    whole = path.read_bytes()
    for damaged in [whole[:n] for n in (0, 5, HEAD_BYTES - 1, HEAD_BYTES, len(whole) - 1)] + [
        whole + b"x", b"\0" * len(whole), whole[:-1] + b"x", b"x" + whole[1:], whole[:16] + b"\xff" * 8 + whole[24:],
        whole[:25] + b"x" + whole[26:], whole[:31] + b"x" + whole[32:],
    ]:  # fmt: skip
        path.write_bytes(damaged)
        assert cache.get(STORE, "a") is None and not path.exists()
    path.write_bytes(whole)
    assert cache.get(STORE, "a") == content(7)


def test_forget_removes_all_ranges_of_an_object(cache: CacheFolder) -> None:
    kept = [("a/b", 0, 5), ("a", 0, None)]
    for item in [("a/bc", 0, 5), ("a/bc", 5, None), *kept]:
        cache.put(STORE, entry_name(item), b"x")
    cache.put(OTHER, entry_name(("a/bc", 0, 5)), b"x")
    cache.forget(STORE, "a/bc")
    cache.forget("f" * 32, "a/bc")
    assert entries(cache) == sorted(entry_name(item) for item in kept) and cache.usage().entries == 3


def test_what_was_not_used_for_longest_goes_first(cache: CacheFolder) -> None:
    for i in range(10):
        cache.put(STORE, f"{i}", content(i))
        os.utime(cache.path / STORE / f"{i}", (i + 1, i + 1))
    assert cache.get(STORE, "0") == content(0)  # it was used just now
    cache.put(STORE, "10", content(10))
    assert entries(cache) == sorted(["0", "10", *(f"{i}" for i in range(3, 10))])  # two have gone, so one more fits
    cache.put(STORE, "11", content(11, 4 * SIZE))
    assert cache.usage().bytes <= cache.most_bytes and cache.get(STORE, "11") is not None
    cache.put(STORE, "huge", content(0, 10 * FILE))  # larger than the cache
    assert cache.get(STORE, "huge") is None and cache.get(STORE, "11") is not None


def test_the_count_of_bytes_may_be_lost_or_wrong(cache: CacheFolder) -> None:
    for text in (None, "", "x", "99999999999999"):
        for i in range(10):
            cache.put(STORE, f"{i}", content(i))
        (cache.path / "size").unlink() if text is None else (cache.path / "size").write_text(text)
        cache.put(STORE, "new", content(1))
        assert cache.get(STORE, "new") is not None
        assert 5 * FILE <= cache.usage().bytes <= cache.most_bytes
        cache.clear()


def test_what_a_killed_process_was_writing_goes_in_the_end(cache: CacheFolder) -> None:
    cache.put(STORE, "a", content(1))
    left, fresh = cache.path / STORE / ".1.2.3.tmp", cache.path / STORE / ".1.2.4.tmp"
    for path in (left, fresh):
        path.write_bytes(bytes(4 * FILE))
    os.utime(left, (1, 1))
    (cache.path / "size").unlink()
    cache.put(STORE, "b", content(2, 4 * SIZE))
    assert not left.exists() and fresh.exists() and cache.get(STORE, "b") is not None


def test_other_files_in_the_folder_stay(cache: CacheFolder) -> None:
    (cache.path / "photos").mkdir(parents=True)
    (cache.path / "photos" / "1.jpg").write_bytes(bytes(20 * FILE))
    for i in range(12):
        cache.put(STORE, f"{i}", content(i))
    cache.clear()
    assert (cache.path / "photos" / "1.jpg").exists() and not (cache.path / STORE).exists()


# ---- a folder that fails


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = CacheFolder(tmp_path / "file" / "cache", 10 * FILE)
    with caplog.at_level(logging.WARNING, "latentstore"):
        for _ in range(3):
            cache.put(STORE, "a", b"1")
            assert cache.get(STORE, "a") is None
            cache = pickle.loads(pickle.dumps(cache))
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the cache {cache.path} cannot be ") and "goes on without it" in record.msg


def test_a_full_disk(cache: CacheFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    cache.put(STORE, "a", content(1))

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "head_of", full)
    with caplog.at_level(logging.WARNING, "latentstore"):
        for _ in range(3):
            cache.put(STORE, "b", content(2))
    assert [record.getMessage() for record in caplog.records] == [
        f"the cache {cache.path} cannot be written (No space left on device): reading goes on without it"
    ]
    assert entries(cache) == ["a"] and cache.get(STORE, "a") == content(1)


def test_the_lock_is_waited_for_only_so_long(cache: CacheFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(STORE, "a", content(1))
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    with locked(cache.path / "lock", 1) as held:
        assert held
        cache.put(STORE, "b", content(2))
        assert cache.get(STORE, "b") is None and cache.get(STORE, "a") is not None
    cache.put(STORE, "b", content(2))
    assert cache.get(STORE, "b") is not None


# ---- several processes


def _race(path: Path, seed: int, warm: Event, over: Event) -> None:
    """warm: set once it has done enough. over: then it ends."""
    cache, number, rounds = CacheFolder(path, 10 * FILE), seed, 0
    while not over.is_set():
        rounds += 1
        if rounds == 300:
            warm.set()
        number = (number * 1103515245 + 12345) % 2**31
        name = number // 65536 % 25
        data = cache.get(STORE, f"{name}")
        assert data is None or data == content(name, SIZE - name), "somebody else's bytes"
        if data is None:
            cache.put(STORE, f"{name}", content(name, SIZE - name))
        if seed == 0 and number // 65536 % 97 == 0:
            shutil.rmtree(path / STORE, ignore_errors=True)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_many_processes_keep_to_the_limit(tmp_path: Path) -> None:
    cache, context = CacheFolder(tmp_path / "cache", 10 * FILE), multiprocessing.get_context("fork")
    warm, over = [context.Event() for _ in range(4)], context.Event()
    processes = [context.Process(target=_race, args=(cache.path, i, warm[i], over)) for i in range(4)]
    for process in processes:
        process.start()
    most = looks = 0
    end = time.monotonic() + 300
    try:
        while looks < 100 or most <= 5 * FILE or not all(one.is_set() for one in warm):
            assert time.monotonic() < end and all(process.is_alive() for process in processes)
            # Between listing and asking for sizes files may go, but none is counted twice.
            most = max(most, sum(file.bytes for file in cache._files()))
            looks += 1
            time.sleep(0.002)
    finally:
        over.set()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    assert most <= cache.most_bytes + 4 * FILE
    assert cache.usage().bytes <= cache.most_bytes
    assert not list(cache.path.glob(f"{STORE}/.*")), "what was being written is still there"


def _reserve_and_die(path: Path) -> None:
    with locked(path / "lock", 1):
        (path / STORE / ".9.9.9.tmp").write_bytes(bytes(FILE))
        os._exit(9)  # with the lock


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_killed_leaves_no_lock(cache: CacheFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(STORE, "a", content(1))
    process = multiprocessing.get_context("fork").Process(target=_reserve_and_die, args=(cache.path,))
    process.start()
    process.join(300)
    assert process.exitcode == 9
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.0)  # it is free at once
    cache.put(STORE, "b", content(2))
    assert cache.get(STORE, "b") is not None


def test_a_file_that_is_evicted_stays_readable_while_it_is_open(cache: CacheFolder) -> None:
    cache.put(STORE, "a", content(1))
    with (cache.path / STORE / "a").open("rb") as file:
        file.read(HEAD_BYTES)
        for i in range(12):
            cache.put(STORE, f"{i}", content(i))
        assert cache.get(STORE, "a") is None
        assert file.read() == content(1)
