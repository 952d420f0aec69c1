"""Tasks that processes of a cluster run: they import what they run, and a module of tests cannot be imported there."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from latentstore.codecs.errors import ImageError
from latentstore.conversion.tasks import Monitor, StoppedError


@dataclass(frozen=True)
class Task:
    index: int


def squared(task: Task, monitor: Monitor) -> int:
    monitor.report(task.index, (1, 2, 3))
    return task.index**2


def third_fails(task: Task, monitor: Monitor) -> int:
    if task.index == 2:
        raise ImageError("x.png: broken")
    return task.index


def third_kills(task: Task, monitor: Monitor) -> int:
    if task.index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task.index


def first_fails(folder: str, task: Task, monitor: Monitor) -> None:
    """The first task fails once the second runs; the second runs until it is told to stop."""
    started, deadline = Path(folder, "started"), time.monotonic() + 300
    if task.index == 0:
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        raise ImageError("broken")
    started.touch()
    try:
        while time.monotonic() < deadline:
            monitor.report(task.index, (0, 0, 0))
            time.sleep(0.01)
    except StoppedError:
        Path(folder, "stopped").touch()
        raise
