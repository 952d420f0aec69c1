"""Chooses where the tasks of a conversion run: threads, processes of this machine, or a Dask cluster.

Threads are the default: decoding and the codec's kernel release Python's lock, and threads start at once. Processes
take about a second to start; they pay where many cores would wait for that lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from latentstore.codecs.errors import ArgumentError
from latentstore.conversion.cores import usable_cores
from latentstore.conversion.tasks import Finished, Watch, Work
from latentstore.conversion.threads import run_on_threads

__all__ = ["Dispatch"]

# About a seventh of an image's time is Python's, under its lock: more threads than that wait for each other.
MOST_THREADS = 8
# Fewer entries are done before processes have started.
MANY_ENTRIES = 10_000
_NOUNS = {"threads": "thread", "processes": "process"}


class Dispatch:
    """Where tasks run.

    scheduler: "threads" (as None), "processes", the address of a Dask scheduler (``tcp://host:8786``), or "auto":
    threads, or processes for many entries on many cores. workers: how many tasks run at once; None is one for each
    core. A cluster uses the workers it has, and refuses a number. With processes, a script must be guarded by ``if
    __name__ == "__main__"``. ArgumentError where these cannot be meant.
    """

    def __init__(self, scheduler: str | None = None, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ArgumentError(f"workers is {workers}; it is at least 1")
        self.where = scheduler or "threads"
        if self.where not in ("auto", *_NOUNS):
            if ":" not in self.where:
                raise ArgumentError(
                    f"scheduler is {self.where!r}; it is auto, threads, processes, or the address of a Dask scheduler "
                    "such as tcp://host:8786"
                )
            if workers is not None:
                raise ArgumentError("a cluster uses the workers it has: leave workers out when you give its address")
        if self.where not in ("auto", "threads") and find_spec("distributed") is None:
            raise ArgumentError(
                f"scheduler {self.where} needs the package distributed: pip install 'latentstore[cluster]'"
            )
        self.workers = workers or usable_cores()

    def settle(self, entries: int) -> None:
        """Decides "auto", now that the number of entries is known."""
        if self.where == "auto":
            many = self.workers > MOST_THREADS and entries >= MANY_ENTRIES and find_spec("distributed")
            self.where = "processes" if many else "threads"

    def describe(self) -> str:
        """Where tasks run, in words."""
        if self.where in _NOUNS:
            return f"1 {_NOUNS[self.where]}" if self.workers == 1 else f"{self.workers} {self.where}"
        return f"the cluster at {self.where}"

    def run(self, work: Work, tasks: Iterable[Any], finished: Finished, watch: Watch) -> None:
        """Runs `work` on every task, and calls `finished` and `watch`.

        The first task that fails ends the run with its error. Tasks at work are told to stop; threads are waited for.
        """
        if self.where == "threads":
            run_on_threads(work, tasks, self.workers, finished, watch)
            return
        from latentstore.conversion.cluster import cluster_client, local_client, run_on_cluster

        opened = local_client(self.workers) if self.where == "processes" else cluster_client(self.where)
        with opened as client:
            run_on_cluster(client, work, tasks, finished, watch)
