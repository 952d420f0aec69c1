"""Reading ahead: shards are read before they are needed, once, within the memory, and forgotten when they are over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from until import PATIENCE_SECONDS, until

from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote.readahead import ReadAhead

SHARD_BYTES = 10


class Shards:
    """Answers like a `LatentDataset` on an object store: which shards are in memory, and how often each was read."""

    url = "s3://b/x.zarr"

    def __init__(self, local: bool = False) -> None:
        self.is_local = local
        self.loaded: list[int] = []
        self.reads: list[int] = []
        self.measured: list[int] = []
        self.unknown: set[int] = set()
        self.most = 0
        self.broken: set[int] = set()
        self.gate = threading.Event()  # reading waits for it, or only reading these shards
        self.slow: set[int] | None = None
        self.gate.set()
        self.arrived = threading.Semaphore(0)  # released when a read begins
        self.done = threading.Semaphore(0)  # released when a read ends, or fails
        self._lock = threading.Lock()

    def shard_bytes(self, shards: list[int]) -> list[int]:
        self.measured += shards
        if self.unknown & set(shards):
            raise StoreError(f"the index of shard {shards[0]} is missing")
        return [SHARD_BYTES] * len(shards)

    def load_shards(self, shards: list[int]) -> None:
        self.arrived.release()
        assert (self.slow is not None and not self.slow & set(shards)) or self.gate.wait(PATIENCE_SECONDS)
        try:
            with self._lock:
                self.reads += shards
                if self.broken & set(shards):
                    raise StoreError(f"shard {shards[0]} is missing")
                self.loaded = sorted([*self.loaded, *shards])
                self.most = max(self.most, len(self.loaded))
        finally:
            self.done.release()

    def drop_shards(self, shards: list[int]) -> None:
        with self._lock:
            self.loaded = [shard for shard in self.loaded if shard not in shards]


class Windows:
    """An order with two shards to a window."""

    def indices(self, positions: np.ndarray) -> np.ndarray:
        return positions

    windows = indices

    def shards(self, window: int) -> list[int]:
        return [2 * window, 2 * window + 1]


class Trios(Windows):
    """An order with three shards to a window."""

    def shards(self, window: int) -> list[int]:
        return [3 * window, 3 * window + 1, 3 * window + 2]


class Full(Windows):
    """An order without windows."""

    def shards(self, window: int) -> list[int]:
        return []


@pytest.fixture
def shards() -> Shards:
    return Shards()


def opened(
    shards: Shards, order: Any = None, first: int = 0, last: int = 9, ahead: bool = True, most: int = 1000
) -> ReadAhead:
    """most: shards that fit into the memory."""
    return ReadAhead(shards, order or Windows(), [(first, last)], ahead, most * SHARD_BYTES)  # type: ignore[arg-type]


@pytest.fixture
def reading(shards: Shards) -> Iterator[ReadAhead]:
    """With memory for four shards, which are two windows."""
    reading = opened(shards, most=4)
    yield reading
    shards.gate.set()
    reading.close()


def test_what_is_needed_is_in_memory(reading: ReadAhead, shards: Shards) -> None:
    reading.need([0])
    assert shards.loaded == [0, 1]
    reading.need([0, 1])
    assert shards.loaded == [0, 1, 2, 3] and sorted(shards.reads) == [0, 1, 2, 3]


def test_what_fits_is_read_ahead(reading: ReadAhead, shards: Shards) -> None:
    reading.need([0])
    reading.expect([0])
    until(lambda: shards.loaded == [0, 1, 2, 3])
    reading.need([1])
    reading.expect([0])
    assert sorted(shards.reads) == [0, 1, 2, 3]
    reading.passed([1])
    until(lambda: shards.loaded == [2, 3, 4, 5])
    reading.need([2])
    assert sorted(shards.reads) == [0, 1, 2, 3, 4, 5] and shards.most <= 4


def test_how_far_ahead_follows_from_the_memory(shards: Shards) -> None:
    reading = opened(shards, most=9, last=3)
    reading.expect([0])
    until(lambda: shards.loaded == list(range(8)))
    reading.close()
    shards = Shards()
    reading = opened(shards, most=5)
    reading.expect([0])
    until(lambda: shards.loaded == list(range(5)))  # two windows, and a half of the third
    reading.need([2])
    assert shards.loaded == list(range(5)), "a later window takes nothing from those before it"
    reading.passed([1])
    until(lambda: shards.loaded == [2, 3, 4, 5, 6])
    reading.close()
    assert sorted(shards.reads) == list(range(7))


def test_need_waits_for_what_is_being_read(reading: ReadAhead, shards: Shards) -> None:
    shards.gate.clear()
    reading.expect([0])
    assert shards.arrived.acquire(timeout=PATIENCE_SECONDS)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(reading.need, [0]) for _ in range(4)]
        assert not any(w.done() for w in waiting)
        shards.gate.set()
        for w in waiting:
            w.result(PATIENCE_SECONDS)
    until(lambda: len(shards.loaded) == 4)
    assert sorted(shards.reads) == [0, 1, 2, 3]


def test_several_threads_need_one_window(shards: Shards) -> None:
    reading = opened(shards, ahead=False)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reading.need, [[0]] * 32))
    assert shards.reads == [0, 1] and shards.measured == [0, 1]


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_window_that_does_not_fit(shards: Shards, most: int, ahead: bool, caplog: pytest.LogCaptureFixture) -> None:
    """As much of it as fits is kept, nobody waits, and the user is told once."""
    reading = opened(shards, Trios(), ahead=ahead, most=most)
    with caplog.at_level(logging.WARNING, "latentstore"):
        for window in range(3):
            for _ in range(2):  # batches
                reading.need([window])
                reading.expect([window])
                reading.passed([window])
            assert set(shards.loaded) <= {3 * window, 3 * window + 1, 3 * window + 2} and len(shards.loaded) >= most - 1
    reading.close()
    assert shards.most <= most and shards.loaded == []
    said = [record.getMessage() for record in caplog.records]
    expected = f"together have 30 bytes, and memory is {most}0 bytes: what does not fit is read again for every batch"
    assert len(said) == (most < 3) and all(expected in line for line in said)


def test_what_is_needed_takes_the_place_of_later_windows(shards: Shards) -> None:
    reading = opened(shards, ahead=False, most=5)
    reading.need([2, 3])
    reading.need([1])
    assert set(shards.loaded) >= {2, 3, 4, 5} and shards.most <= 5
    reading.close()


def test_nothing_is_read_ahead_without_being_asked(shards: Shards) -> None:
    for reading in (opened(shards, ahead=False), opened(shards, last=0)):
        reading.need([0])
        reading.expect([0])
        reading.close()  # waits for no one: a read that had begun would show in `reads`
    assert shards.reads == [0, 1, 0, 1]


def test_windows_that_have_passed_are_forgotten(shards: Shards) -> None:
    reading = opened(shards, ahead=False)
    for window in range(4):
        reading.need([window])
        reading.passed([window])
        assert shards.loaded == [2 * window, 2 * window + 1]
    reading.need([4])
    reading.passed([3, 4])  # a batch from two windows
    assert shards.loaded == [6, 7, 8, 9]


def test_what_comes_too_late_is_forgotten(reading: ReadAhead, shards: Shards) -> None:
    shards.slow = {0, 1}
    shards.gate.clear()
    reading.expect([0])
    until(lambda: shards.loaded == [2, 3])
    reading.passed([1])
    shards.gate.set()
    until(lambda: shards.loaded == [2, 3, 4, 5])
    reading.need([1, 2])
    assert shards.loaded == [2, 3, 4, 5] and sorted(shards.reads) == list(range(6))


def test_an_error_surfaces_when_the_window_is_needed(reading: ReadAhead, shards: Shards) -> None:
    shards.broken = {3}
    reading.need([0])
    reading.expect([0])
    until(lambda: 3 in shards.reads)
    with pytest.raises(StoreError, match="shard 3 is missing"):
        reading.need([1])
    shards.broken = set()
    reading.need([1])  # the next one who asks tries again
    assert shards.loaded == [0, 1, 2, 3]


def test_an_index_that_is_missing_surfaces_when_the_window_is_needed(reading: ReadAhead, shards: Shards) -> None:
    shards.unknown = {3}
    reading.need([0])
    reading.expect([0])
    until(lambda: shards.measured.count(3) == 1)
    with pytest.raises(StoreError, match="the index of shard 2 is missing"):
        reading.need([1])
    shards.unknown = set()
    reading.need([1])
    reading.passed([1])
    until(lambda: shards.loaded == [2, 3, 4, 5])  # and reading ahead goes on


def test_a_pass_over_runs_reads_ahead_across_the_gaps(shards: Shards) -> None:
    reading = ReadAhead(shards, Windows(), [(1, 2), (2, 3), (7, 7)], True, 4 * SHARD_BYTES)  # type: ignore[arg-type]
    reading.need([1])
    for window, following in [(1, 2), (2, 3), (3, 7)]:
        reading.passed([window])
        reading.expect([window])
        until(lambda w=window, f=following: shards.loaded == [2 * w, 2 * w + 1, 2 * f, 2 * f + 1])  # type: ignore[misc]
    reading.expect([7])  # there is no more
    reading.close()
    assert sorted(shards.reads) == [2, 3, 4, 5, 6, 7, 14, 15]


def test_a_shard_of_two_windows_stays_until_the_later_one_has_passed(shards: Shards) -> None:
    class Shared(Windows):
        def shards(self, window: int) -> list[int]:
            return [window, window + 1]

    reading = opened(shards, Shared(), ahead=False)
    reading.need([0])
    reading.need([1])
    reading.passed([1])
    assert shards.loaded == [1, 2] and sorted(shards.reads) == [0, 1, 2]
    reading.close()


def test_close_forgets_everything(shards: Shards) -> None:
    reading = opened(shards)
    reading.need([0, 1])
    reading.expect([1])
    reading.close()
    until(lambda: shards.loaded == [])


def test_close_while_a_window_is_read(shards: Shards) -> None:
    reading = opened(shards)
    shards.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(reading.need, [0]) for _ in range(2)]
        assert shards.arrived.acquire(timeout=PATIENCE_SECONDS)
        reading.expect([0])
        reading.close()
        shards.gate.set()
        for one in waiting:
            one.result(PATIENCE_SECONDS)  # nobody is left to wait for what is not read any more
    until(lambda: shards.loaded == [])


@pytest.mark.parametrize(("local", "order"), [(True, Windows()), (False, Full())])
def test_nothing_is_kept_of_local_stores_and_full_shuffles(local: bool, order: Any) -> None:
    shards = Shards(local)
    reading = opened(shards, order)
    reading.need([0])
    reading.expect([0])
    reading.passed([0])
    reading.close()
    assert shards.reads == []


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.booleans(), st.integers(1, 12))
def test_any_walk_has_its_windows_in_memory(steps: list[int], ahead: bool, most: int) -> None:
    shards, window = Shards(), 0
    last = sum(steps)
    reading = opened(shards, last=last, ahead=ahead, most=most)
    for step in steps:
        window += step
        reading.need([window])
        if window < last:
            reading.expect([window])
        reading.passed([window])
        # There is room for the window before, which may be in use, for this one, and for what is being read.
        if most >= (8 if ahead else 4):
            assert {2 * window, 2 * window + 1} <= set(shards.loaded)
    reading.close()
    assert shards.most <= most
