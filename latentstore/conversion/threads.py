"""Runs the tasks of a conversion on threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

from latentstore.conversion.tasks import Counts, Finished, StoppedError, Watch, Work

__all__ = ["run_on_threads"]

# Tasks handed over for each thread: one at work, and one that waits, so that no thread waits for this loop.
TASKS_A_THREAD = 2


class _ThreadMonitor:
    """See `Monitor`."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.stop = threading.Event()

    def report(self, task: int, counts: Counts) -> None:
        if self.stop.is_set():
            raise StoppedError
        self.watch(task, counts)


def run_on_threads(work: Work, tasks: Iterable[Any], workers: int, finished: Finished, watch: Watch) -> None:
    """Runs `work` on every task, in `workers` threads; tasks begin in order.

    Few tasks are drawn from `tasks` ahead of time. The first error, of a task or of `finished`, ends the run, as Ctrl-C
    does: tasks that wait are dropped, and tasks at work are told to stop and waited for.
    """
    monitor, waiting = _ThreadMonitor(watch), iter(tasks)
    running: list[Future[Any]] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="latentstore") as pool:
        try:
            while True:
                some = islice(waiting, TASKS_A_THREAD * workers - len(running))
                running += [pool.submit(work, task, monitor) for task in some]
                if not running:
                    return
                wait(running, return_when=FIRST_COMPLETED)
                done = [future for future in running if future.done()]
                running = [future for future in running if future not in done]
                for future in done:
                    finished(future.result())
        except BaseException:
            monitor.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)  # leaving the pool waits for the tasks at work
            raise
