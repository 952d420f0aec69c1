"""How much memory goes back to the system: measured in a process that has done nothing else.

Processes that begin afresh import what they run, and a module of tests cannot be imported everywhere.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from latentstore.loaders.remote.allocator import give_back, give_back_of


def resident() -> int:
    """kB of memory of its own that this process has."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def given_back_between_what_is_used() -> int:
    blocks = [b"x" * 100_000 for _ in range(1000)]  # small enough to lie in the heap
    kept = blocks[::50]
    del blocks
    before = resident()
    give_back()
    assert len(kept) == 20
    return before - resident()


def use_and_free() -> None:
    blocks = [b"x" * 3_000_000 for _ in range(8)]
    del blocks


def left_at_the_end_of_a_thread() -> int:
    """kB that stay of 24,000 that a thread has used and freed."""
    with ThreadPoolExecutor(1) as pool:
        large = b"x" * 20_000_000
        del large  # from now on, blocks of this size are not mapped one by one
        give_back_of(pool, 1)
        before = resident()
        pool.submit(use_and_free).result()
        give_back()
        give_back_of(pool, 1)
        return resident() - before
