"""`latentstore sync` of stores of latents: only what has changed is encoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from changing_photos import SIZE, Photos, assert_as_converted, classes_of, latents_of, shards_of

import latentstore
from latentstore import ArgumentError
from latentstore.sources.folder import FileItem
from latentstore.writing.tensors.gc import collect_garbage


def test_the_first_run_makes_the_store_and_the_next_does_nothing(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    dry, nothing = photos.sync(store, dry_run=True)
    assert (dry.encodes, dry.version, nothing) == (80, 0, None) and not store.exists()
    assert len(photos.read) == 2, "one of each folder, to see whether it is a class"
    assert dry.bytes_in == sum(path.stat().st_size for path in photos.root.rglob("*.png"))
    plan, report = photos.sync(store)
    assert plan.version == 1 and report is not None and report.stored == report.found == 80
    assert_as_converted(photos, store)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    plan, report = photos.sync(store)
    assert (str(plan), report) == ("80 unchanged; 0 changed, 0 new: 0 to encode; 0 gone: kept", None)
    assert not photos.read and before == {path: path.stat().st_mtime_ns for path in store.rglob("*")}


def test_only_what_changed_is_encoded_and_only_its_shards_are_written(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    photos.sync(store)
    first = shards_of(store)
    photos.put("dog/00.png", 1000)
    photos.put("cat/zz.png", 1001)
    photos.touch("cat/05.png")  # read, and not decoded
    (photos.root / "dog/02.png").unlink()
    dry, _ = photos.sync(store, dry_run=True, delete=True)
    plan, report = photos.sync(store, delete=True)
    assert (plan.changed, plan.new, plan.gone, plan.touched) == (["dog/00"], ["cat/zz"], ["dog/02"], 1)
    assert sorted(photos.read) == ["cat/zz.png", "dog/00.png"]
    assert report is not None and (report.stored, report.found) == (80, 80) and plan.version == 2
    assert dry.copied.rewritten == 1, "dog/00 and dog/02 lie together"
    assert len(first & shards_of(store)) == len(first) - 1
    assert len(shards_of(store)) == len(first) + 1
    assert_as_converted(photos, store)
    removed = collect_garbage(store)
    assert removed.versions == [1] and len([name for name in removed.objects if name.startswith("shards/")]) == 1
    assert_as_converted(photos, store)


def test_what_was_touched_is_read_once(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, plain, hashed = tmp_path / "x", FileItem.fingerprint, list[str]()

    def noted(self: FileItem) -> str:
        hashed.append(self.path)
        return plain(self)

    photos.sync(store)
    for path in sorted(photos.root.rglob("*.png")):
        photos.touch(str(path.relative_to(photos.root)))
    monkeypatch.setattr(FileItem, "fingerprint", noted)
    photos.sync(store, dry_run=True)
    assert photos.sync(store)[0].touched == 80 and len(hashed) == 160
    assert photos.sync(store)[0].touched == 0 and len(hashed) == 160 and not photos.read
    photos.put("cat/01.png", 600)
    photos.touch("cat/03.png")
    plan, _ = photos.sync(store)
    assert (plan.changed, plan.touched) == (["cat/01"], 1) and photos.read == ["cat/01.png"]
    assert photos.sync(store)[0].touched == 0
    assert_as_converted(photos, store)
    (store / "touched.json").write_bytes(b"damaged")
    assert photos.sync(store)[0].touched == 79, "it is a note, and no more"


def test_entries_that_are_gone_stay_unless_they_are_to_go(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    photos.sync(store)
    (photos.root / "cat/01.png").unlink()
    plan, report = photos.sync(store)
    assert plan.gone == ["cat/01"] and report is None and "cat/01" in latents_of(store)
    photos.sync(store, delete=True)
    assert not photos.read
    assert_as_converted(photos, store)


def test_classes_keep_their_numbers(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    photos.sync(store)
    assert latentstore.open(store).classes == ["cat", "dog"]
    photos.put("ant/1.png", 500)
    photos.put("bee/1.png", 501)
    for path in (photos.root / "cat").iterdir():
        path.unlink()
    plan, report = photos.sync(store, delete=True)
    assert photos.read.count("ant/1.png") == 2, "once to see whether the folder is a class"
    assert latentstore.open(store).classes == ["cat", "dog", "ant", "bee"] and plan.encodes == 2
    assert report is not None and report.labels == {1: 40, 2: 1, 3: 1}
    assert set(classes_of(latentstore.open(store)).values()) == {"dog", "ant", "bee"}


def test_a_store_inside_its_source_and_as_one(photos: Photos, tmp_path: Path) -> None:
    store = photos.root / "latents"
    photos.sync(store)
    assert len(latents_of(store)) == 80 and photos.sync(store)[1] is None
    report = latentstore.convert(photos.root, tmp_path / "x.zarr", size=SIZE, progress=False)
    assert report.stored == 80 and list(report.passed_over) == ["file of a latentstore store"]
    with pytest.raises(ArgumentError, match="a latentstore store already"):
        latentstore.convert(store, tmp_path / "y.zarr", progress=False)
    store.rename(tmp_path / "moved")
    (photos.root / "cat").rename(photos.root / "dog" / "deeper")
    made = latentstore.convert(
        photos.root, tmp_path / "z.zarr", size=SIZE, classes=str(tmp_path / "moved"), progress=False
    )
    assert made.classes == ("cat", "dog") and dict(made.labels) == {1: 80}, "numbers are those of the store"


def test_labels_of_a_table(photos: Photos, tmp_path: Path) -> None:
    store, table = tmp_path / "x", tmp_path / "labels.csv"

    def write(changed: str = "low", more: str = "") -> None:
        rows = [
            f"{path.relative_to(photos.root)},{changed if path.name == '07.png' else 'low'},{i / 7}"
            for i, path in enumerate(sorted(photos.root.rglob("*.png")))
        ]
        table.write_text("\n".join([f"file,label,score{more}", *(row + more for row in rows)]))

    write()
    photos.sync(store, labels=str(table))
    assert photos.sync(store)[1] is None, "the table is that of the store"
    write("high")
    plan, _ = photos.sync(store)
    assert plan.changed == ["cat/07"] and latentstore.open(store).classes == ["low", "high"]
    assert classes_of(latentstore.open(store))["cat/07"] == "high" and len(photos.read) == 1
    write("high", ",x")
    plan, _ = photos.sync(store, dry_run=True)
    assert plan.again == "the field 'x' was not there, and is str" and plan.encodes == 80


def test_other_options_encode_everything(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    photos.sync(store)
    old = latentstore.open(store)
    plan, _ = photos.sync(store, quality=30, size=None)
    assert plan.again == f"quality was {old.quality}, and is 30" and len(photos.read) == 80
    assert latentstore.open(store).quality == 30 and latentstore.open(store).size == (SIZE, SIZE)
    assert_as_converted(photos, store, quality=30)
    assert len(old.read_latents(None)) == 80 and old.quality != 30, "whoever has the old version reads on"
    plan, _ = photos.sync(store, quality=30, codec="gray-f8c16", dry_run=True)
    assert plan.again == "the store is of the codec rgb-f8c48, and gray-f8c16 is asked for"
    (photos.root / "cat/01.png").unlink()
    with pytest.raises(ArgumentError, match="the entries of 1 are gone"):
        photos.sync(store, quality=31)


def test_an_entry_that_cannot_be_read_any_more(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    (photos.root / "cat/new.png").write_bytes(b"no image")
    _, report = photos.sync(store)
    assert report is not None and (report.stored, report.found) == (80, 81)
    old = latents_of(store)
    assert photos.sync(store)[0].unreadable == 1 and not photos.read, "it is not tried again"
    (photos.root / "cat/01.png").write_bytes(b"no image any more")
    _, report = photos.sync(store)
    assert photos.read == ["cat/01.png"] and report is not None
    assert (report.stored, len(report.failures), report.found) == (79, 2, 81)
    assert latents_of(store) == old and latentstore.open(store).info["version"] == 1
    photos.put("cat/01.png", 9999)
    plan, report = photos.sync(store)
    assert plan.changed == ["cat/01"] and plan.version == 2 and latents_of(store) != old
    assert report is not None and (report.stored, len(report.failures)) == (80, 1)
