"""What a task of a conversion and the place that runs it know of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Counts", "Finished", "Monitor", "StoppedError", "Watch", "Work"]

Counts = tuple[int, int, int]
"""Entries done, bytes read and bytes written so far, of one task."""


class StoppedError(Exception):
    """Raised inside a task that was told to stop; the task has published nothing."""


class Monitor(Protocol):
    """What a task reports to."""

    def report(self, task: int, counts: Counts) -> None:
        """Tells the counts of one task so far. StoppedError where the conversion is to end."""
        ...


Work = Callable[[Any, Monitor], Any]
"""work(task, monitor) -> result. `task.index` is the task's number. For processes and clusters, both pickle."""
Finished = Callable[[Any], None]
"""Called with the result of each task, in the thread that runs the conversion."""
Watch = Callable[[int, Counts], None]
"""Called with a task's number and its counts so far, from any thread."""
