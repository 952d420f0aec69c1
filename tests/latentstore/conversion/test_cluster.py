"""Tasks on processes and on a cluster by its address: the store is the same everywhere; errors, not hangs."""

import logging
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cluster_tasks import Task, first_fails, squared, third_fails, third_kills
from PIL import Image
from until import until

import latentstore
from latentstore.codecs.errors import ImageError, LatentstoreError
from latentstore.conversion.dispatch import Dispatch
from latentstore.conversion.tasks import Counts

# Dask's processes and connections end on their own time, and what they warn of meanwhile is not ours.
pytestmark = pytest.mark.filterwarnings("default")


def nobody(index: int, counts: Counts) -> None:
    pass


@pytest.fixture(scope="module")
def address() -> object:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster.scheduler_address


def test_a_cluster_gives_every_result(address: str) -> None:
    results: list[int] = []
    Dispatch(address).run(squared, [Task(i) for i in range(20)], results.append, nobody)
    assert sorted(results) == [i**2 for i in range(20)]


def test_a_cluster_passes_errors_on(address: str) -> None:
    with pytest.raises(ImageError, match=r"x\.png: broken"):
        Dispatch(address).run(third_fails, [Task(i) for i in range(4)], lambda _: None, nobody)


def test_an_error_stops_the_other_tasks_of_a_cluster(address: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="broken"):
        Dispatch(address).run(partial(first_fails, str(tmp_path)), [Task(0), Task(1)], lambda _: None, nobody)
    until((tmp_path / "stopped").exists, "the other task was not stopped")


def test_workers_that_die_on_a_task_are_an_error() -> None:
    import dask
    import distributed  # noqa: F401  # its settings

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),  # after a third worker it would stop, too
        pytest.raises(LatentstoreError, match="workers died"),
    ):
        Dispatch("processes", 1).run(third_kills, [Task(i) for i in range(3)], lambda _: None, nobody)


def test_no_scheduler_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentstore.conversion.cluster.CONNECT_SECONDS", 0.2)
    with pytest.raises(LatentstoreError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        Dispatch("tcp://127.0.0.1:1").run(squared, [Task(0)], lambda _: None, nobody)


def test_a_cluster_without_workers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr("latentstore.conversion.cluster.PATIENCE_SECONDS", 0.3)
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", processes=False) as cluster,
        pytest.raises(LatentstoreError, match="no worker"),
    ):
        Dispatch(cluster.scheduler_address).run(squared, [Task(0)], lambda _: None, nobody)


def test_the_store_is_the_same_wherever_it_was_made(address: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for i in range(70):
        path = tmp_path / "source" / f"class{i % 2}" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    (tmp_path / "source" / "class0" / "030.png").write_bytes(b"broken")
    stores = []
    for scheduler in ("threads", "processes", address):
        target = tmp_path / f"store{len(stores)}" / "x.zarr"
        report = latentstore.convert(tmp_path / "source", target, size=32, scheduler=scheduler, progress=False)
        assert (report.stored, len(report.failures)) == (69, 1)
        stores.append({p.relative_to(target): p.read_bytes() for p in target.rglob("*") if p.is_file()})
    assert stores[0] == stores[1] == stores[2]
