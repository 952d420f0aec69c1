"""Free memory goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from given_back import given_back_between_what_is_used, left_at_the_end_of_a_thread

glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the allocator is not glibc's"
)


def in_a_new_process(measure: Callable[[], int]) -> int:
    """What `measure` returns. In a process that has done other work, what is free may lie where that work left room."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure).result()


@glibc
def test_what_is_free_between_what_is_used() -> None:
    assert in_a_new_process(given_back_between_what_is_used) > 50_000


@glibc
def test_what_is_free_at_the_end_of_a_thread() -> None:
    assert in_a_new_process(left_at_the_end_of_a_thread) < 8_000
