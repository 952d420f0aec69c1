"""Runs shard tasks on Dask: threads of this process, processes of this machine, or a cluster by its address.

Threads are the default: decoding pictures and the codec's kernel release Python's lock, and threads start at
once. Processes cost about a second to start and pay where many cores would queue for that lock. A cluster is
handed tasks through a window, two for each of its threads, so its scheduler never holds a large job as a
whole.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from latentstore.codecs.errors import ArgumentError, LatentstoreError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Dispatch", "Monitor", "StoppedError", "default_workers"]

# How long a cluster may be without any worker, or its scheduler out of reach, before the job gives up.
PATIENCE_SECONDS = 120.0
CONNECT_SECONDS = 20.0
REPORT_SECONDS = 0.5
LAST_NAME = 10**9 - 1
LOST = "the connection to the Dask scheduler was lost, and its tasks with it"

Counts = tuple[int, int, int]
"""Pictures done, bytes read, bytes written: so far, of one task."""


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

    scheduler: None or "threads", "processes", or the address of a Dask scheduler (``tcp://host:8786``).
    workers: how many at once; None is one per core (a cluster uses what it has, and refuses a number).
    """

    def __init__(self, scheduler: str | None = None, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ArgumentError(f"workers is {workers}; at least one is needed")
        self.where = scheduler or "threads"
        if self.where not in ("threads", "processes"):
            if "://" not in self.where and ":" not in self.where:
                raise ArgumentError(
                    f"scheduler {self.where!r} is not known; say threads, processes, or an address such as "
                    "tcp://host:8786"
                )
            if workers is not None:
                raise ArgumentError(
                    "a cluster uses the workers it has; leave workers out when giving its address"
                )
        self.workers = workers or default_workers()

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
        opened = _local_client(self.workers) if self.where == "processes" else _cluster_client(self.where)
        # `wait` looks for the current client. What Dask logs of dying workers would bury our one sentence.
        with _quiet(), opened as client, client.as_current():
            _run_cluster(client, work, tasks, finished, watch)


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


class _RemoteMonitor:
    """Reports through the cluster's event log, and asks whether to stop, twice a second at most."""

    def __init__(self, topic: str) -> None:
        from distributed import Event, get_worker

        self.topic, self.worker = topic, get_worker()
        self.stop = Event(topic)
        self.last = time.monotonic()

    def report(self, task: int, counts: Counts) -> None:
        now = time.monotonic()
        if now - self.last >= REPORT_SECONDS:
            self.worker.log_event(self.topic, (task, counts))
            self.last = now
            # Dask forgets a cancelled task that is running, but does not stop it: it would go on writing.
            if self.stop.is_set():
                raise StoppedError


def _remote(work: Work, task: Any, topic: str) -> Any:
    return work(task, _RemoteMonitor(topic))


@contextmanager
def _quiet() -> Iterator[None]:
    import distributed  # noqa: F401  # sets levels of its own when it is first imported

    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _local_client(workers: int) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",  # None would still ask for port 8787, and warn where it is taken
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


@contextmanager
def _cluster_client(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise LatentstoreError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        yield client


def _run_cluster(
    client: Client,
    work: Work,
    tasks: Iterable[Any],
    finished: Callable[[Any], None],
    watch: Callable[[int, Counts], None],
) -> None:
    from distributed import Event

    run = uuid.uuid4().hex[:12]
    topic = f"latentstore-{run}"
    client.subscribe_topic(topic, lambda event: watch(*event[1]))
    waiting, patience = iter(tasks), _Patience(client)
    running: set[Any] = set()
    patience.wait_for_workers()
    try:
        while True:
            patience.check()
            for task in islice(waiting, max(0, 2 * patience.threads - len(running))):
                running.add(
                    client.submit(_remote, work, task, topic, key=f"{topic}-{task.index:09d}", pure=False)
                )
            if not running:
                return
            for future in _done(running):
                running.discard(future)
                finished(_result(future))
                future.release()
    finally:
        if client.status == "running":
            if running:
                Event(topic, client=client).set()
                client.cancel(list(running))
            client.unsubscribe_topic(topic)


def _done(running: set[Any]) -> set[Any]:
    """Those futures that are done after a second at most."""
    from distributed import wait

    try:
        return set(wait(running, timeout=1.0, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return set()
    except CancelledError as error:
        raise LatentstoreError(LOST) from error


def _result(future: Any) -> Any:
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise LatentstoreError(
            f"workers died again and again on one shard ({error.task}): out of memory, perhaps"
        ) from error
    except CancelledError as error:
        raise LatentstoreError(LOST) from error
    except ImportError as error:
        raise LatentstoreError(
            f"a worker of the cluster lacks a package ({error}): install the same latentstore there"
        ) from error


class _Patience:
    """Gives up on a cluster that has had no worker, or no scheduler, for too long."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.good = time.monotonic()
        self.asked = 0.0
        self.known = 0

    @property
    def threads(self) -> int:
        """Tasks that the cluster can run at once, as far as is known."""
        return max(1, self.known)

    def check(self) -> None:
        """Asks again, at most once a second. LatentstoreError if there has been nobody for too long."""
        now = time.monotonic()
        if now - self.asked < 1.0 and self.known:
            return
        self.asked, self.known = now, 0
        if self.client.status == "running":
            self.known = sum(self.client.nthreads().values())
        if self.known:
            self.good = now
        elif now - self.good > PATIENCE_SECONDS:
            raise LatentstoreError(f"the Dask cluster has had no worker for {PATIENCE_SECONDS:.0f} seconds")

    def wait_for_workers(self) -> None:
        """Returns when there is a worker."""
        self.check()
        while not self.known:
            time.sleep(0.2)
            self.check()
