"""Free memory that the system's allocator keeps for itself.

Once a few blocks of some MB have come and gone, such as shards, glibc takes them from memory that it already has. That
goes back to the system only where the end of a heap is free. So a process that reads from an object store would seem to
need two or three times as much as it does. Threads have heaps of their own, and what is free at the end of one of them
stays: a few batches for each thread, more after one epoch and less after another.
"""

from __future__ import annotations

import ctypes
import sys
from concurrent.futures import Executor, wait
from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from typing import Any

__all__ = ["give_back", "give_back_of"]

# Of the end of a heap so much is given back. Blocks of this size are not mapped one by one where anything is kept.
_BLOCK_BYTES, _BLOCKS = 1 << 20, 32
_WAIT_SECONDS = 0.5


def give_back() -> None:
    """Return what is free to the system, in some tens of milliseconds. Where there is no glibc, nothing is done."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def give_back_of(pool: Executor, threads: int) -> None:
    """Return also what is free at the ends of the heaps of a pool's threads, as far as they are idle now."""
    if _of_glibc("malloc_trim") is not None:
        with suppress(RuntimeError):  # the interpreter ends, and the pool takes nothing more
            together = Barrier(threads)
            wait([pool.submit(_give_back_end, together) for _ in range(threads)], 2 * _WAIT_SECONDS)


def _give_back_end(together: Barrier) -> None:
    """Return the free end of this thread's heap. together: so that no thread of the pool takes two turns.

    glibc gives back what is free between two blocks. So blocks are taken from the end, and all but the last are freed.
    """
    with suppress(BrokenBarrierError):  # a thread is not idle
        together.wait(_WAIT_SECONDS)
    malloc, free = _of_glibc("malloc"), _of_glibc("free")
    malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    *blocks, last = [malloc(_BLOCK_BYTES) for _ in range(_BLOCKS)]
    for block in blocks:
        free(block)
    give_back()
    free(last)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
