"""Tasks on threads of this process: in order, a few at a time, ended by the first error."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentstore.codecs.errors import ImageError
from latentstore.conversion.tasks import Counts, Monitor, StoppedError
from latentstore.conversion.threads import TASKS_A_THREAD, run_on_threads

# Nothing waits so long unless it hangs.
PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Task:
    index: int


def tasks(count: int) -> list[Task]:
    return [Task(i) for i in range(count)]


def squared(task: Task, monitor: Monitor) -> int:
    monitor.report(task.index, (1, 2, 3))
    return task.index**2


def nobody(index: int, counts: Counts) -> None:
    pass


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_every_result_and_all_counts_arrive(workers: int) -> None:
    results: list[int] = []
    seen: dict[int, Counts] = {}
    run_on_threads(squared, tasks(20), workers, results.append, seen.__setitem__)
    assert sorted(results) == [i**2 for i in range(20)]
    assert seen == dict.fromkeys(range(20), (1, 2, 3))


def test_nothing_to_do() -> None:
    run_on_threads(squared, [], 2, pytest.fail, nobody)


def test_tasks_begin_in_order() -> None:
    begun: list[int] = []
    run_on_threads(lambda task, _: begun.append(task.index), tasks(30), 1, lambda _: None, nobody)
    assert begun == list(range(30))


def test_few_tasks_are_drawn_ahead() -> None:
    drawn, most, finished = 0, 0, 0

    def source() -> Iterator[Task]:
        nonlocal drawn, most
        for task in tasks(40):
            drawn += 1
            most = max(most, drawn - finished)
            yield task

    def one_finished(_: object) -> None:
        nonlocal finished
        finished += 1

    run_on_threads(squared, source(), 2, one_finished, nobody)
    assert finished == 40
    assert most <= 2 * TASKS_A_THREAD


def test_results_are_handed_over_in_the_calling_thread() -> None:
    threads: set[str] = set()
    run_on_threads(squared, tasks(8), 3, lambda _: threads.add(threading.current_thread().name), nobody)
    assert threads == {threading.current_thread().name}


def test_the_first_error_ends_the_run_and_stops_the_others() -> None:
    started, stopped = threading.Event(), threading.Event()
    begun: list[int] = []

    def work(task: Task, monitor: Monitor) -> None:
        begun.append(task.index)
        if task.index == 0:
            assert started.wait(PATIENCE_SECONDS)
            raise ImageError("broken")
        started.set()
        try:
            for _ in range(PATIENCE_SECONDS * 1000):
                monitor.report(task.index, (0, 0, 0))
                threading.Event().wait(0.001)
        except StoppedError:
            stopped.set()
            raise

    with pytest.raises(ImageError, match="broken"):
        run_on_threads(work, tasks(100), 2, lambda _: None, nobody)
    assert stopped.is_set()
    assert len(begun) < 10  # what waited was dropped


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ImageError])
def test_an_error_between_tasks_ends_the_run(kind: type[BaseException]) -> None:
    def interrupted(_: object) -> None:
        raise kind

    begun: list[int] = []
    with pytest.raises(kind):
        run_on_threads(lambda task, _: begun.append(task.index), tasks(1000), 1, interrupted, nobody)
    assert len(begun) <= 2 * TASKS_A_THREAD


def test_a_conversion_on_threads_imports_no_dask(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "source" / "a.png")
    program = (
        "import sys, latentstore\n"
        "report = latentstore.convert(sys.argv[1], sys.argv[2], scheduler='auto', progress=False)\n"
        "assert report.stored == 1\n"
        "assert not {'dask', 'distributed', 'torch'} & set(sys.modules), sorted(sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "source"), str(tmp_path / "x.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
