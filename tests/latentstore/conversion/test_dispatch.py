"""Where tasks run: what is chosen, and what is refused."""

from pathlib import Path

import pytest

from latentstore.codecs.errors import ArgumentError
from latentstore.conversion.cores import container_limit, usable_cores
from latentstore.conversion.dispatch import Dispatch


def test_auto_takes_processes_for_many_images_on_many_cores() -> None:
    chosen = []
    for workers, images in ((64, 10**6), (64, 100), (4, 10**6)):
        dispatch = Dispatch("auto", workers)
        dispatch.settle(images)
        chosen.append(dispatch.describe())
    assert chosen == ["64 processes", "64 threads", "4 threads"]


def test_unknown_places_are_refused() -> None:
    with pytest.raises(ArgumentError, match="it is auto, threads, processes"):
        Dispatch("gpu")


def test_a_cluster_or_processes_need_distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentstore.conversion.dispatch.find_spec", lambda name: None)
    for scheduler in ("processes", "tcp://head:8786"):
        with pytest.raises(ArgumentError, match=r"pip install 'latentstore\[cluster\]'"):
            Dispatch(scheduler)
    dispatch = Dispatch("auto", 64)
    dispatch.settle(10**6)
    assert dispatch.describe() == "64 threads"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "400000 100000\n", "cpu/cpu.cfs_quota_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "1 2 3"}, None),
        ({}, None),
    ],
)
def test_the_limit_of_a_container(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert container_limit(tmp_path) == limit


def test_cores_are_never_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentstore.conversion.cores.CGROUPS", tmp_path)
    all_of_them = usable_cores()
    assert all_of_them >= 1
    (tmp_path / "cpu.max").write_text("20000 100000")
    assert usable_cores() == 1
    assert Dispatch().describe() == "1 thread"
