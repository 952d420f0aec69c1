"""Reading ahead: windows are read before they are needed, once, and forgotten when they have passed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote.readahead import ReadAhead

WAIT_SECONDS = 20.0


class Shards:
    """Answers like a `LatentDataset` on an object store: which shards are in memory, and how often each was read."""

    def __init__(self, local: bool = False) -> None:
        self.is_local = local
        self.loaded: list[int] = []
        self.reads: list[int] = []
        self.most = 0
        self.broken: set[int] = set()
        self.gate = threading.Event()  # reading waits for it, or only reading these shards
        self.slow: set[int] | None = None
        self.gate.set()
        self.arrived = threading.Semaphore(0)  # released when a read begins
        self.done = threading.Semaphore(0)  # released when a read ends, or fails
        self._lock = threading.Lock()

    def load_shards(self, shards: list[int]) -> None:
        self.arrived.release()
        assert (self.slow is not None and not self.slow & set(shards)) or self.gate.wait(WAIT_SECONDS)
        try:
            with self._lock:
                self.reads += shards
                if self.broken & set(shards):
                    raise StoreError(f"shard {shards[0]} is missing")
                self.loaded += shards
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


class Full(Windows):
    """An order without windows."""

    def shards(self, window: int) -> list[int]:
        return []


@pytest.fixture
def shards() -> Shards:
    return Shards()


def opened(shards: Shards, order: Any = None, first: int = 0, last: int = 9, ahead: bool = True) -> ReadAhead:
    return ReadAhead(shards, order or Windows(), [(first, last)], ahead)  # type: ignore[arg-type]


@pytest.fixture
def reading(shards: Shards) -> Iterator[ReadAhead]:
    reading = opened(shards)
    yield reading
    shards.gate.set()
    reading.close()


def test_what_is_needed_is_in_memory(reading: ReadAhead, shards: Shards) -> None:
    reading.need([0])
    assert shards.loaded == [0, 1]
    reading.need([0, 1])
    assert shards.loaded == [0, 1, 2, 3] and shards.reads == [0, 1, 2, 3]


def test_the_next_window_is_read_ahead(reading: ReadAhead, shards: Shards) -> None:
    reading.expect([0])
    assert shards.done.acquire(timeout=WAIT_SECONDS)
    reading.need([1])
    reading.expect([0])
    assert shards.loaded == [2, 3] and shards.reads == [2, 3]


def test_need_waits_for_what_is_being_read(reading: ReadAhead, shards: Shards) -> None:
    shards.gate.clear()
    reading.expect([0])
    assert shards.arrived.acquire(timeout=WAIT_SECONDS)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(reading.need, [1]) for _ in range(4)]
        shards.gate.set()
        for one in waiting:
            one.result(WAIT_SECONDS)
    assert shards.reads == [2, 3]


def test_nothing_is_read_ahead_where_that_is_not_wanted(shards: Shards) -> None:
    for reading in (opened(shards, ahead=False), opened(shards, last=0)):
        reading.need([0])
        reading.expect([0])
        reading.close()  # waits for no one: a read that had begun would show in `reads`
    assert shards.reads == [0, 1, 0, 1]


def test_windows_that_have_passed_are_forgotten(reading: ReadAhead, shards: Shards) -> None:
    for window in range(4):
        reading.need([window])
        reading.passed([window])
        assert shards.loaded == [2 * window, 2 * window + 1]
    reading.need([4])
    reading.passed([3, 4])  # a batch from two windows
    assert shards.loaded == [6, 7, 8, 9]


def test_reading_ahead_that_comes_too_late_reads_nothing(reading: ReadAhead, shards: Shards) -> None:
    shards.slow = {2}
    shards.gate.clear()
    reading.expect([0])  # holds up the one thread that reads ahead
    reading.expect([1])
    for _ in range(2):
        reading.need([3])
    reading.passed([3])
    shards.gate.set()
    reading.expect([3])
    for _ in range(3):
        assert shards.done.acquire(timeout=WAIT_SECONDS)
    assert shards.reads == [6, 7, 2, 3, 8, 9]  # not window 2


def test_an_error_surfaces_when_the_window_is_needed(reading: ReadAhead, shards: Shards) -> None:
    shards.broken = {3}
    reading.expect([0])
    assert shards.done.acquire(timeout=WAIT_SECONDS)
    reading.need([0])
    with pytest.raises(StoreError, match="shard 2 is missing"):
        reading.need([1])
    shards.broken = set()
    reading.need([1])  # the next one who asks tries again
    assert shards.loaded == [0, 1, 2, 3]


def test_a_pass_over_runs_reads_ahead_across_the_gaps(shards: Shards) -> None:
    reading = ReadAhead(shards, Windows(), [(1, 2), (2, 3), (7, 7)], True)  # type: ignore[arg-type]
    reading.need([1])
    assert shards.done.acquire(timeout=WAIT_SECONDS)
    for window, following in [(1, 2), (2, 3), (3, 7)]:
        reading.passed([window])
        reading.expect([window])
        assert shards.done.acquire(timeout=WAIT_SECONDS)
        reading.need([following])
        assert set(shards.loaded) == {2 * window, 2 * window + 1, 2 * following, 2 * following + 1}
    reading.expect([7])  # there is no more
    reading.close()
    assert shards.reads == [2, 3, 4, 5, 6, 7, 14, 15]


def test_close_forgets_everything(shards: Shards) -> None:
    reading = opened(shards)
    reading.need([0, 1])
    reading.close()
    assert shards.loaded == []


def test_close_while_a_window_is_read(shards: Shards) -> None:
    reading = opened(shards)
    shards.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(reading.need, [0])
        assert shards.arrived.acquire(timeout=WAIT_SECONDS)
        reading.expect([0])
        reading.close()
        shards.gate.set()
        waiting.result(WAIT_SECONDS)
    assert shards.loaded == []


@pytest.mark.parametrize(("local", "order"), [(True, Windows()), (False, Full())])
def test_nothing_is_kept_of_local_stores_and_full_shuffles(local: bool, order: Any) -> None:
    shards = Shards(local)
    reading = opened(shards, order)
    reading.need([0])
    reading.expect([0])
    reading.passed([0])
    reading.close()
    assert shards.reads == []


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.booleans())
def test_any_walk_has_its_windows_in_memory(steps: list[int], ahead: bool) -> None:
    shards, window = Shards(), 0
    last = sum(steps)
    reading = opened(shards, last=last, ahead=ahead)
    for step in steps:
        window += step
        reading.need([window])
        if window < last:
            reading.expect([window])
        reading.passed([window])
        assert {2 * window, 2 * window + 1} <= set(shards.loaded)
    reading.close()
    # Before `passed`: the window before, the current one, one ahead, and one whose reading was overtaken.
    assert shards.most <= 4 * 2
