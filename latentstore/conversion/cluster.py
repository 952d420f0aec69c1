"""Runs the tasks of a conversion on a Dask cluster: processes of this machine, or any cluster by its address.

At most two tasks for each thread of the cluster are handed over at a time, so the scheduler never holds a large
conversion as a whole, and workers may come and go. A task whose worker died runs again elsewhere; writing a shard twice
does no harm.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from latentstore.codecs.errors import LatentstoreError
from latentstore.conversion.tasks import Counts, Finished, StoppedError, Watch, Work

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["cluster_client", "local_client", "run_on_cluster"]

# How long a cluster may have no worker, or its scheduler may be out of reach, before the conversion ends.
PATIENCE_SECONDS = 120.0
CONNECT_SECONDS = 20.0
REPORT_SECONDS = 0.5
LOST = "the connection to the Dask scheduler was lost, so the tasks there are lost too"


class _RemoteMonitor:
    """Reports through the cluster's event log, and asks whether to stop; at most twice a second."""

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
            # Dask forgets a running task that is cancelled, but does not stop it: it would go on writing.
            if self.stop.is_set():
                raise StoppedError


def _remote(work: Work, task: Any, topic: str) -> Any:
    return work(task, _RemoteMonitor(topic))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what Dask logs of dying workers and lost connections: it would hide our one sentence."""
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
def local_client(workers: int) -> Iterator[Client]:
    """A cluster of `workers` processes of this machine, while the context lasts."""
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",  # None would still ask for port 8787, and warn where it is taken
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )
    with _quiet(), cluster, Client(cluster, set_as_default=False) as client:
        yield client


@contextmanager
def cluster_client(address: str) -> Iterator[Client]:
    """The cluster whose scheduler is at `address`; LatentstoreError if none answers."""
    from distributed import Client

    with _quiet():
        try:
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise LatentstoreError(f"no Dask scheduler answers at {address}: {error}") from error
        with client:
            yield client


def run_on_cluster(client: Client, work: Work, tasks: Iterable[Any], finished: Finished, watch: Watch) -> None:
    """Runs `work` on every task, on the cluster of `client`.

    The first error ends the run; tasks at work are told to stop. LatentstoreError where the cluster is lost.
    """
    from distributed import Event

    topic = f"latentstore-{os.urandom(6).hex()}"
    client.subscribe_topic(topic, lambda event: watch(*event[1]))
    waiting, patience = iter(tasks), _Patience(client)
    running: set[Any] = set()
    patience.wait_for_workers()
    try:
        while True:
            patience.check()
            for task in islice(waiting, max(0, 2 * patience.threads - len(running))):
                running.add(client.submit(_remote, work, task, topic, key=f"{topic}-{task.index:09d}", pure=False))
            if not running:
                return
            for future in _done(client, running):
                running.discard(future)
                finished(_result(future))
                future.release()
    finally:
        if client.status == "running":
            if running:
                Event(topic, client=client).set()
                client.cancel(list(running))
            client.unsubscribe_topic(topic)


def _done(client: Client, running: set[Any]) -> set[Any]:
    """The futures that are done, after at most a second."""
    from distributed import wait

    try:
        with client.as_current():
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
            f"several workers died on one shard ({error.task}): perhaps they need more memory"
        ) from error
    except CancelledError as error:
        raise LatentstoreError(LOST) from error
    except ImportError as error:
        raise LatentstoreError(
            f"a worker of the cluster lacks a package ({error}): install the same latentstore there"
        ) from error


class _Patience:
    """Ends the wait for a cluster that has had no worker, or no scheduler, for too long."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.good = time.monotonic()
        self.asked = 0.0
        self.known = 0

    @property
    def threads(self) -> int:
        """Tasks that the cluster can run at once, as far as known; at least 1."""
        return max(1, self.known)

    def check(self) -> None:
        """Counts the workers, at most once a second. LatentstoreError if there has been none for too long."""
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
