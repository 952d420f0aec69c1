"""Runs shard tasks on Dask: threads of this process, processes of this machine, or a cluster by its address.

Threads are the default: decoding images and the codec's kernel release Python's lock, and threads start at
once. Processes cost about a second to start and pay where many cores would queue for that lock. A cluster is
handed tasks through a window, two for each of its threads, so its scheduler never holds a large job as a
whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol

from latentstore.codecs.errors import ArgumentError

__all__ = ["Dispatch", "Monitor", "StoppedError", "default_workers"]

# About a seventh of an image's time is Python's, under its lock: more threads than that wait for each other.
MOST_THREADS = 8
# Below that many images, processes are hardly started before the work is done.
MANY_IMAGES = 10_000
LAST_NAME = 10**9 - 1

Counts = tuple[int, int, int]
"""Images done, bytes read, bytes written: so far, of one task."""


class StoppedError(Exception):
    """Raised inside a task that was told to stop; it has published nothing."""


class Monitor(Protocol):
    """A task's line to whoever watches."""

    def report(self, task: int, counts: Counts) -> None:
        """Counts so far of one task. Raises StoppedError where the job is to end."""
        ...


Work = Callable[[Any, Monitor], Any]
"""work(task, monitor) -> result; `task.index` numbers it. On a cluster both travel with every task."""


def default_workers() -> int:
    """Cores this process may use, minding affinity and container limits."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


class Dispatch:
    """Where tasks run.

    scheduler: None or "threads", "processes", the address of a Dask scheduler (``tcp://host:8786``), or
    "auto": threads, or processes for many images on many cores. workers: how many at once; None is one per
    core (a cluster uses what it has, and refuses a number). Processes need scripts to be guarded by ``if
    __name__ == "__main__"``.
    """

    def __init__(self, scheduler: str | None = None, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ArgumentError(f"workers is {workers}; at least one is needed")
        self.where = scheduler or "threads"
        if self.where not in ("auto", "threads", "processes"):
            if ":" not in self.where:
                raise ArgumentError(
                    f"scheduler {self.where!r} is not known; say threads, processes, or an address such as "
                    "tcp://host:8786"
                )
            if workers is not None:
                raise ArgumentError("a cluster uses the workers it has; leave workers out when giving its address")
        if self.where not in ("auto", "threads") and find_spec("distributed") is None:
            raise ArgumentError(f"scheduler {self.where} needs the package distributed: pip install distributed")
        self.workers = workers or default_workers()

    def settle(self, images: int) -> None:
        """Decides "auto", now that the number of images is known."""
        if self.where == "auto":
            many = self.workers > MOST_THREADS and images >= MANY_IMAGES and find_spec("distributed")
            self.where = "processes" if many else "threads"

    def describe(self) -> str:
        """Where tasks run, in words."""
        if self.where in ("threads", "processes"):
            one = {"threads": "thread", "processes": "process"}[self.where]
            return f"1 {one}" if self.workers == 1 else f"{self.workers} {self.where}"
        return f"the cluster at {self.where}"

    def run(
        self,
        work: Work,
        tasks: Iterable[Any],
        finished: Callable[[Any], None],
        watch: Callable[[int, Counts], None],
    ) -> None:
        """Runs `work` on every task; calls `finished` with each result, in this thread, as results come.

        `watch` hears of tasks at work, from any thread. The first task that fails ends the run with its
        error; tasks at work are told to stop and waited for (on a cluster: cancelled).
        """
        if self.where == "threads":
            _run_threads(work, tasks, self.workers, finished, watch)
            return
        from latentstore.conversion.cluster import cluster_client, local_client, run_on

        opened = local_client(self.workers) if self.where == "processes" else cluster_client(self.where)
        with opened as client:
            run_on(client, work, tasks, finished, watch)


class _LocalMonitor:
    def __init__(self, watch: Callable[[int, Counts], None]) -> None:
        self.watch = watch
        self.stop = threading.Event()

    def report(self, task: int, counts: Counts) -> None:
        if self.stop.is_set():
            raise StoppedError
        self.watch(task, counts)


def _run_threads(
    work: Work,
    tasks: Iterable[Any],
    workers: int,
    finished: Callable[[Any], None],
    watch: Callable[[int, Counts], None],
) -> None:
    import dask
    from dask.callbacks import Callback
    from dask.delayed import delayed

    monitor = _LocalMonitor(watch)
    # The task travels inside the function: as an argument, Dask would look into it for tasks of its own.
    # Of tasks that wait for nothing Dask begins with the last name: names count down, shards begin in order.
    lazy = [
        delayed(partial(work, task, monitor), name=f"shard-{LAST_NAME - task.index}", pure=False)(
            dask_key_name=f"done-{LAST_NAME - task.index}"
        )
        for task in tasks
    ]
    names = {one.key for one in lazy}

    def one_done(key: str, result: Any, *_: Any) -> None:
        if key in names:
            finished(result)

    with ThreadPoolExecutor(workers, thread_name_prefix="latentstore") as pool:
        try:
            with Callback(posttask=one_done):
                dask.compute(*lazy, scheduler="threads", pool=pool, optimize_graph=False)
        except BaseException:
            monitor.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
