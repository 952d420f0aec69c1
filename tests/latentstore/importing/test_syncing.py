"""`latentstore sync` and `gc`: a store that was imported becomes what its folder is now."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import latentstore
from latentstore import ArgumentError, StoreError, Tensor
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


def test_small_shards_are_joined(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, store, joined = str(folder / "source"), str(folder / "x.store"), list[int]()
    for i in range(12, 30):
        put(folder / "source", f"new/{i}.npy", i)
        expected, _ = plan_tensors(source, store)
        before = len(latentstore.open(store).info["shards"])
        assert main(["sync", source, store]) == 0
        said, copied = capsys.readouterr().out, expected.copied
        assert len(latentstore.open(store).info["shards"]) == before + 1 - copied.joined + copied.into
        assert f"; {copied.joined} small shards were joined into {copied.into}\n" in said or not copied.joined
        joined.append(copied.joined)
    assert sum(joined) >= 14 and joined.count(0) >= 15
    assert held(folder) == {f"{i % 2}/{i}" if i < 12 else f"new/{i}": i for i in range(30)}
    assert main(["verify", store]) == 0


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


def test_fields_that_an_export_wrote_are_looked_at(tmp_path: Path) -> None:
    with latentstore.Writer(tmp_path / "first.store", {"t": Tensor("int32"), "label": int}) as writer:
        for i in range(4):
            writer.write(f"k{i}", {"t": np.full(3, i, np.int32), "label": i})
    source, store = tmp_path / "files", tmp_path / "x.store"
    assert main(["export", str(tmp_path / "first.store"), str(source)]) == 0
    import_tensors(source, store)
    fields = source / "fields.jsonl"
    fields.write_text(fields.read_text().replace('"label": 2', '"label": 77'))
    plan, _ = sync_tensors(source, store)
    assert (plan.changed, plan.unchanged) == (["k2"], 3)
    assert sorted(latentstore.open(store).fields()["label"]) == [0, 1, 3, 77]


def test_a_name_that_begins_with_that_of_another_file(tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "x.store"
    for at, name in enumerate(("img", "img_1", "img_8x8", "dog_x")):
        put(source, f"{name}.npy", at)
    import_tensors(source, store)
    (source / "img_1.npy").unlink()
    (source / "img_8x8.npy").unlink()
    put(source, "dog.npy", 9)
    plan, _ = sync_tensors(source, store, delete=True)
    assert (plan.new, plan.changed, sorted(plan.gone)) == (["dog"], [], ["img_1", "img_8x8"])
    assert held(tmp_path) == {"img": 0, "dog_x": 3, "dog": 9}


def test_a_size_that_a_file_of_several_sizes_has_no_more(tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "x.store"
    source.mkdir()

    def save(name: str, *sizes: str) -> None:
        arrays = {f"latents_{size}": np.full((2, 3), int(name), np.float32) for size in sizes}
        np.savez(source / f"{name}_0512x0768_sdxl.npz", **arrays)

    save("1", "8x8", "4x4")
    save("2", "8x8", "4x4")
    import_tensors(source, store)
    save("1", "8x8", "16x16", "2x2")
    assert sync_tensors(source, store)[0].gone == ["1_4x4"]
    assert len(latentstore.open(store)) == 6
    plan, _ = sync_tensors(source, store, delete=True)
    assert (plan.unchanged, plan.gone) == (2, ["1_4x4"])
    assert sorted(latentstore.open(store).keys()) == ["1_16x16", "1_2x2", "1_8x8", "2_4x4", "2_8x8"]
    save("2", "2x2", "3x3")
    assert sync_tensors(source, store, delete=True)[0].gone == ["2_4x4", "2_8x8"]
    assert sorted(latentstore.open(store).keys()) == ["1_16x16", "1_2x2", "1_8x8", "2_2x2", "2_3x3"]


def test_what_cannot_be_listed_is_not_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, store, away = tmp_path / "source", tmp_path / "x.store", tmp_path / "disk"
    put(source, "own.npy", 1)
    put(source, "gone.npy", 5)
    put(away, "a.npy", 2)
    put(away, "b/c.npy", 3)
    (source / "there").symlink_to(away)
    (source / "one.npy").symlink_to(away / "a.npy")
    import_tensors(source, store)
    away.rename(tmp_path / "moved")
    (source / "gone.npy").unlink()
    assert main(["sync", str(source), str(store), "--delete"]) == 3
    said = capsys.readouterr()
    assert "1 gone: left out" in said.out and "2 entries could not be read" in said.err
    assert "there: a link to nothing" in said.err
    assert held(tmp_path) == {"own": 1, "there/a": 2, "there/b/c": 3, "one": 2}
