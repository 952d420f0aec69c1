"""Free memory goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from latentstore.loaders.remote.allocator import give_back


def resident() -> int:
    """kB of memory of its own that this process has."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the allocator is not glibc's"
)
def test_what_is_free_between_what_is_used() -> None:
    blocks = [b"x" * 100_000 for _ in range(1000)]  # small enough to lie in the heap
    kept = blocks[::50]
    del blocks
    before = resident()
    give_back()
    assert resident() < before - 50_000 and len(kept) == 20
