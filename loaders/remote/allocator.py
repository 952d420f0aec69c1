"""Free memory that the system's allocator keeps for itself.

Once a few blocks of some MB have come and gone, such as shards, glibc takes them from memory that it already has. That
goes back to the system only where the end of a heap is free. So a process that reads from an object store would seem to
need two or three times as much as it does.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["give_back"]


def give_back() -> None:
    """Return what is free to the system, in some tens of milliseconds. Where there is no glibc, nothing is done."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
