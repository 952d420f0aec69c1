"""Free memory goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from latentstore.loaders.remote.allocator import give_back, give_back_of


def resident() -> int:
    """kB of memory of its own that this process has."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the allocator is not glibc's"
)


def in_a_new_process(measure: Callable[[], int]) -> int:
    """What `measure` returns. In a process that has done other work, what is free may lie where that work left room."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure).result()


def given_back_between_what_is_used() -> int:
    blocks = [b"x" * 100_000 for _ in range(1000)]  # small enough to lie in the heap
    kept = blocks[::50]
    del blocks
    before = resident()
    give_back()
    assert len(kept) == 20
    return before - resident()


@glibc
def test_what_is_free_between_what_is_used() -> None:
    assert in_a_new_process(given_back_between_what_is_used) > 50_000


def use_and_free() -> None:
    blocks = [b"x" * 3_000_000 for _ in range(8)]
    del blocks


def left_at_the_end_of_a_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        large = b"x" * 20_000_000
        del large  # from now on, blocks of this size are not mapped one by one
        give_back_of(pool, 1)
        before = resident()
        pool.submit(use_and_free).result()
        give_back()
        give_back_of(pool, 1)
        return resident() - before


@glibc
def test_what_is_free_at_the_end_of_a_thread() -> None:
    assert in_a_new_process(left_at_the_end_of_a_thread) < 8_000  # of 24,000
