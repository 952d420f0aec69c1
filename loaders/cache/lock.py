"""A lock between the processes of a machine that is waited for only so long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

LOOK_SECONDS = 0.005


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[bool]:
    """Within this block the process, and this thread of it, has the lock of the file `path`, or it was not to be had.

    Yields whether it has it. The system frees the lock of a process that ends. OSError if the file cannot be made.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    with path.open("ab") as file:  # each time anew: a lock belongs to the open file, so threads exclude each other too
        until = monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() >= until:
                    yield False
                    return
                sleep(LOOK_SECONDS)
        yield True
