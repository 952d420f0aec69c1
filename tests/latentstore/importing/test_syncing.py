"""`latentstore sync` and `gc`: a store that was imported becomes what its folder is now."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import latentstore
from latentstore import ArgumentError, StoreError
from latentstore.cli.main import main
from latentstore.importing.api import import_tensors
from latentstore.importing.syncing import plan_tensors, sync_tensors


def put(folder: Path, name: str, value: int, time: int = 0) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.full((3, 4), value, np.int32))
    os.utime(path, (1_700_000_000 + time, 1_700_000_000 + time))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(12):
        put(tmp_path / "source", f"{i % 2}/{i}.npy", i)
    import_tensors(tmp_path / "source", tmp_path / "x.store")
    return tmp_path


def held(folder: Path) -> dict[str, int]:
    ds = latentstore.open(folder / "x.store")
    return {ds[i]["key"]: int(ds[i]["tensor"][0, 0]) for i in range(len(ds))}


def test_it_becomes_what_the_folder_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, store = str(folder / "source"), str(folder / "x.store")
    assert main(["sync", source, store]) == 0
    assert "12 unchanged; 0 changed, 0 new" in capsys.readouterr().out and latentstore.open(store).version == 1
    put(folder / "source", "0/2.npy", 100, time=1)
    put(folder / "source", "1/new.npy", 7)
    (folder / "source" / "0" / "4.npy").unlink()
    assert main(["sync", source, store, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "version 1: 10 unchanged; 1 changed, 1 new: 2 to encode; 1 gone: kept" in said
    assert held(folder)["0/2"] == 2
    assert main(["sync", source, store]) == 0 and latentstore.open(store).version == 2
    expected = {f"{i % 2}/{i}": i for i in range(12)} | {"0/2": 100, "1/new": 7}
    assert held(folder) == expected
    assert main(["sync", source, store, "--delete"]) == 0 and latentstore.open(store).version == 3
    del expected["0/4"]
    assert held(folder) == expected and main(["verify", store]) == 0

    capsys.readouterr()
    assert main(["gc", store, "--keep", "2", "--dry-run"]) == 0
    assert "would go: 1 version" in capsys.readouterr().out
    assert main(["gc", store]) == 0
    assert "removed: 2 versions" in capsys.readouterr().out and held(folder) == expected
    assert main(["gc", source]) == 1 and "no store with versions there" in capsys.readouterr().err


def test_a_file_that_cannot_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, store = folder / "source", folder / "x.store"
    (source / "0" / "bad.npy").write_bytes(b"x")
    assert main(["sync", str(source), str(store)]) == 3
    assert "left out 0/bad.npy" in capsys.readouterr().err and latentstore.open(store).version == 1
    put(source, "0/2.npy", 100, time=1)
    assert main(["sync", str(source), str(store)]) == 3 and held(folder)["0/2"] == 100


def test_what_cannot_be_synced(folder: Path) -> None:
    with pytest.raises(StoreError, match="make it first with `latentstore import`"):
        plan_tensors(folder / "source", folder / "nothing")
    np.save(folder / "rows.npy", np.zeros((3, 4), np.int32))
    with pytest.raises(ArgumentError, match="does not tell which of its samples have changed"):
        plan_tensors(folder / "rows.npy", folder / "x.store")
    with latentstore.Writer(folder / "y.store", {"image": latentstore.load_codec("gray-f8c16")}) as writer:
        writer.write("a", {"image": np.zeros((8, 8), np.uint8)})
    with pytest.raises(StoreError, match="holds latents of a codec of this package, and a store of tensors alone"):
        plan_tensors(folder / "source", folder / "y.store")


def test_a_field_that_the_store_does_not_have_is_left_out(folder: Path) -> None:
    for i in range(12):
        (folder / "source" / f"{i % 2}" / f"{i}.txt").write_text("a caption")
        put(folder / "source", f"{i % 2}/{i}.npy", i + 1, time=1)
    plan, report = sync_tensors(folder / "source", folder / "x.store")
    assert len(plan.changed) == 12 and report is not None and not report.failures
    assert held(folder) == {f"{i % 2}/{i}": i + 1 for i in range(12)}
