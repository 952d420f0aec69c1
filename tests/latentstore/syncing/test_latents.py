"""`latentstore sync` of stores of latents: only what has changed is encoded; readers see whole versions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT
from PIL import Image

import latentstore
from latentstore import ArgumentError, StoreError
from latentstore.codecs.errors import LatentstoreError
from latentstore.conversion.report import Report
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors.read import read_manifest
from latentstore.sources.folder import FileItem
from latentstore.sources.signals.images import ImageSignals
from latentstore.stores.verify import verify
from latentstore.syncing.latents import sync_latents
from latentstore.syncing.plan import SyncPlan
from latentstore.writing.tensors.gc import collect_garbage
from latentstore.writing.versions.session import LatentSession

SIZE = 32
KILLED = ROOT / "tests/support/programs/sync_until_killed.py"


class Photos:
    """A folder of images. read: paths of the entries that were decoded since it was last cleared."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock, self.read = root, 1_700_000_000, list[str]()

    def put(self, name: str, seed: int) -> None:
        rough = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rough).resize((48, 40), Image.Resampling.BICUBIC).save(path)
        self.touch(name)

    def touch(self, name: str) -> None:
        self.clock += 1
        os.utime(self.root / name, (self.clock, self.clock))

    def sync(self, store: Path, **options: Any) -> tuple[SyncPlan, Report | None]:
        self.read.clear()
        options = {"size": SIZE, "workers": 1, "progress": False, **options}
        return sync_latents(self.root, store, **options)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Photos:
    """80 images in two classes, which are three shards."""
    made = Photos(tmp_path / "photos")
    for i in range(80):
        made.put(f"{'cat' if i % 2 else 'dog'}/{i:02d}.png", i)
    decode = ImageSignals.read

    def counted(self: Any, item: Any) -> Any:
        made.read.append(item.path)
        return decode(self, item)

    monkeypatch.setattr(ImageSignals, "read", counted)
    return made


def latents_of(store: Path | str) -> dict[str, bytes]:
    ds = latentstore.open(store)
    return dict(zip(ds.keys(), (latent.tobytes() for latent in ds.read_latents(None)), strict=True))


def assert_as_converted(photos: Photos, store: Path, **options: Any) -> None:
    """The store holds what a conversion of its source holds, and everything in it agrees."""
    fresh = photos.root.parent / f"fresh-{photos.clock}.zarr"
    latentstore.convert(photos.root, fresh, size=SIZE, progress=False, overwrite=True, **options)
    assert latents_of(store) == latents_of(fresh)
    ours, theirs = latentstore.open(store), latentstore.open(fresh)
    for a, b in zip(ours.stats, theirs.stats, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
    for name in ("extent", "blob_bytes", "quality", "count"):
        assert ours.info[name] == theirs.info[name]
    assert _classes(ours) == _classes(theirs)
    report = verify(str(store))
    assert not report.problems and report.samples == len(theirs)


def _classes(ds: Any) -> dict[str, str]:
    return {key: ds.classes[label] for key, label in zip(ds.keys(), ds.fields()["label"].tolist(), strict=True)}


def shards_of(store: Path) -> set[str]:
    return {shard.name for shard in read_manifest(latentstore.open(store).reader.location).shards}


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
    assert dry.rewritten == 1 and len(first & shards_of(store)) == len(first) - 1  # dog/00 and dog/02 lie together
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
    assert set(_classes(latentstore.open(store)).values()) == {"dog", "ant", "bee"}


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
    assert _classes(latentstore.open(store))["cat/07"] == "high" and len(photos.read) == 1
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


def test_what_was_killed_goes_on(photos: Photos, tmp_path: Path) -> None:
    """Killed before every third renaming of a run that replaces, adds and removes; then run again."""
    whole = tmp_path / "whole"
    photos.sync(whole)
    first = latents_of(whole)

    def changed() -> None:
        for i in range(0, 80, 2):
            photos.put(f"dog/{i:02d}.png", 2000 + i)
        (photos.root / "cat/03.png").unlink()

    changed()
    states = set()
    for nth in range(2, 40, 3):
        store = tmp_path / f"killed-{nth}"
        subprocess.run(["cp", "-r", str(whole), str(store)], check=True)
        command = [sys.executable, str(KILLED), str(photos.root), str(store), str(nth)]
        code = subprocess.run(command, check=False).returncode
        assert code in (0, -signal.SIGKILL)
        there = latents_of(store)
        assert len(there) == 79 or there == first, "a whole version"
        photos.sync(store, delete=True)
        states.add(len(photos.read))
        assert not photos.sync(store, delete=True)[0].is_needed and not verify(str(store)).problems
        assert latents_of(store) != first and len(latents_of(store)) == 79
        if code == 0:
            break
    else:
        pytest.fail("it was never whole")
    assert {0, 40} < states, "from nothing to go on with, to nothing left to do; and something between"
    assert_as_converted(photos, store)


def test_what_changed_after_a_kill_is_encoded_again(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    command = [sys.executable, str(KILLED), str(photos.root), str(store), "7"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(StoreError, match="not finished"):
        latentstore.open(store)
    photos.put("cat/01.png", 777)  # it lies in a shard that was written
    photos.sync(store)
    assert "cat/01.png" in photos.read and 0 < len(photos.read) < 80
    assert_as_converted(photos, store)


def test_readers_see_whole_versions(photos: Photos, tmp_path: Path) -> None:
    """A reader opens and reads during 20 syncs that replace all images; every image of a version is the same one."""
    store, wrong, versions, stop = tmp_path / "x", list[str](), set[int](), threading.Event()
    for path in photos.root.rglob("*.png"):
        path.unlink()

    def put(version: int) -> None:
        for i in range(12):
            photos.put(f"{i}.png", version)

    def read() -> None:
        while not stop.is_set():
            try:
                ds = latentstore.open(store)
                same = {latent.tobytes() for latent in ds.read_latents(None)}
            except LatentstoreError as error:
                wrong.append(str(error))
                return
            versions.add(ds.info["version"])
            if len(same) != 1 or len(ds) != 12:
                wrong.append(f"version {ds.info['version']} has {len(same)} different images")

    put(0)
    photos.sync(store)
    reader = threading.Thread(target=read)
    reader.start()
    for version in range(1, 21):
        put(version)
        photos.sync(store)
    stop.set()
    reader.join()
    assert not wrong and latentstore.open(store).info["version"] == 21 and len(versions) > 1


def test_the_cache_keeps_what_did_not_change(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, asked = "memory://cached.store", list[str]()
    sync_latents(photos.root, url, size=SIZE, progress=False)
    plain = Location.read_ranges

    def noted(self: Location, ranges: Any) -> list[bytes]:
        asked.extend(name for name, _, _ in ranges if name.startswith("shards/"))
        return plain(self, ranges)

    def read() -> int:
        asked.clear()
        ds = latentstore.open(url, cache=tmp_path / "c")
        shards = list(range(len(ds.shard_starts) - 1))
        ds.load_shards(shards)
        ds.read_latents(None)
        return len(set(asked))

    monkeypatch.setattr(Location, "read_ranges", noted)
    assert read() == 3 and read() == 0
    photos.put("dog/00.png", 1000)
    sync_latents(photos.root, url, progress=False)
    assert read() == 2, "the shard that was copied in part, and the new one"


# ---- other sources, places and formats


def test_tars(tmp_path: Path) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()

    def write(name: str, seeds: dict[str, int], time: int) -> None:
        photos = Photos(tmp_path / "images")
        with tarfile.open(folder / name, "w") as tar:
            for key, seed in seeds.items():
                photos.put(f"{key}.png", seed)
                (photos.root / f"{key}.cls").write_text(str(seed % 3))
                for ending in ("png", "cls"):
                    info = tar.gettarinfo(photos.root / f"{key}.{ending}", f"{key}.{ending}")
                    info.mtime = time
                    with (photos.root / f"{key}.{ending}").open("rb") as file:
                        tar.addfile(info, file)

    write("a.tar", {"1": 1, "2": 2}, 10**9)
    store = tmp_path / "x"
    plan, _ = sync_latents(folder, store, size=SIZE, progress=False)
    assert plan.new == ["1", "2"]
    write("b.tar", {"3": 3}, 0)
    plan, _ = sync_latents(folder, store, progress=False)
    assert (plan.unchanged, plan.new) == (2, ["3"])
    write("a.tar", {"1": 1, "2": 5}, 10**9 + 1)
    plan, _ = sync_latents(folder, store, progress=False)
    assert (plan.changed, plan.unchanged, plan.touched) == (["2"], 2, 1), "of a tar that was written anew, all are read"
    ds = latentstore.open(store)
    assert dict(zip(ds.keys(), ds.fields()["label"].tolist(), strict=True)) == {"1": 1, "2": 2, "3": 0}
    plan, report = sync_latents(folder, store, progress=False)
    assert report is None and (plan.unchanged, plan.touched) == (3, 1), "times before 1980 tell nothing"


def test_a_zarr_array(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    array = zarr.open_array(
        tmp_path / "images.zarr", mode="w", shape=images.shape, dtype="uint8", chunks=(1, 16, 16, 3)
    )
    array[:] = images
    store = tmp_path / "x"
    sync_latents(tmp_path / "images.zarr", store, size=16, progress=False)
    array[4] = images[0]
    plan, _ = sync_latents(tmp_path / "images.zarr", store, progress=False)
    assert len(plan.changed) == 1 and plan.unchanged == plan.touched == 5
    found = latents_of(store)
    assert found[plan.changed[0]] == found[latentstore.open(tmp_path / "x").keys()[0]] and len(found) == 6


def test_windows_of_recordings(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    folder, store = tmp_path / "songs", tmp_path / "x"
    folder.mkdir()
    rng = np.random.default_rng(0)

    def write(name: str, seconds: float) -> None:
        soundfile.write(folder / name, rng.normal(0, 0.1, int(8000 * seconds)), 8000)

    for name in "abc":
        write(f"{name}.wav", 3)
    options: dict[str, Any] = {"codec": "mono-f32c32", "seconds": 1.0, "rate": 8000, "progress": False}
    plan, _ = sync_latents(folder, store, **options)
    assert plan.encodes == 9
    write("b.wav", 2)
    os.utime(folder / "a.wav", (1, 1))
    plan, _ = sync_latents(folder, store, delete=True, progress=False)
    assert (plan.unchanged, plan.touched, plan.changed, plan.gone) == (6, 3, ["b_00000", "b_00001"], ["b_00002"])
    whole = tmp_path / "whole.zarr"
    latentstore.convert(folder, whole, **options)
    assert latents_of(store) == latents_of(whole) and not verify(str(store)).problems


def test_an_object_store(photos: Photos, tmp_path: Path, s3_options: dict[str, Any]) -> None:
    url = "s3://bucket/photos.store"
    sync_latents(photos.root, url, size=SIZE, storage_options=s3_options, progress=False)
    photos.put("cat/01.png", 600)
    plan, _ = sync_latents(photos.root, url, storage_options=s3_options, progress=False)
    assert plan.changed == ["cat/01"] and plan.version == 2
    assert not verify(url, storage_options=s3_options).problems


def test_convert_makes_such_a_store(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    made = latentstore.convert(photos.root, store, format="versions", size=SIZE, progress=False)
    assert made.stored == 80 and latentstore.convert(
        photos.root, store, format="versions", size=SIZE, progress=False, resume=True
    ).page().startswith(f"{store}: 80 images in 3 shards")
    assert photos.sync(store)[1] is None
    with pytest.raises(StoreError, match=r"already exists: .* bring it up to date with sync"):
        latentstore.convert(photos.root, store, format="versions", size=SIZE, progress=False)
    photos.put("cat/01.png", 600)
    with pytest.raises(StoreError, match=r"published with other settings \(listing_sha256\)"):
        latentstore.convert(photos.root, store, format="versions", size=SIZE, progress=False, resume=True)
    latentstore.convert(photos.root, store, format="versions", size=SIZE, progress=False, overwrite=True)
    assert latentstore.open(store).info["version"] == 2
    assert_as_converted(photos, store)


def test_a_conversion_that_stopped_is_resumed(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, plain = tmp_path / "x", Location.write
    options: dict[str, Any] = {"format": "versions", "size": SIZE, "workers": 1, "progress": False}

    def full(self: Location, name: str, parts: Any) -> None:
        if name.startswith("shards/") and name.endswith("1"):
            raise StoreError(f"{self.at(name)}: could not be written: No space left on device")
        plain(self, name, parts)

    monkeypatch.setattr(Location, "write", full)
    with pytest.raises(StoreError, match="No space left"):
        latentstore.convert(photos.root, store, **options)
    monkeypatch.setattr(Location, "write", plain)
    with pytest.raises(StoreError, match="holds an interrupted conversion"):
        latentstore.convert(photos.root, store, **options)
    with pytest.raises(StoreError, match=r"with other settings \(quality\)"):
        latentstore.convert(photos.root, store, quality=20, resume=True, **options)
    photos.read.clear()
    report = latentstore.convert(photos.root, store, resume=True, **options)
    assert report.stored == 80 and report.resumed == 1 and len(photos.read) == 50
    assert_as_converted(photos, store)
    assert not list((tmp_path / "x.partial").rglob("*"))


def test_stores_that_cannot_be_kept_so(photos: Photos, tmp_path: Path) -> None:
    latentstore.convert(photos.root, tmp_path / "x.zarr", size=SIZE, progress=False)
    with pytest.raises(ArgumentError, match=r"choose a name without \.zarr or \.tar at its end"):
        photos.sync(tmp_path / "new.zarr")
    latentstore.convert(photos.root, tmp_path / "w", size=SIZE, format="wds", progress=False)
    for name in ("x.zarr", "w"):
        with pytest.raises(StoreError, match=f"{name} is a store without versions.*give sync the name of a new store"):
            photos.sync(tmp_path / name)
    with latentstore.Writer(tmp_path / "t", {"x": latentstore.Tensor("uint8")}) as writer:
        writer.write("a", {"x": np.zeros(3, np.uint8)})
    with pytest.raises(StoreError, match="is a store of tensors"):
        photos.sync(tmp_path / "t")
    photos.sync(tmp_path / "v")
    with pytest.raises(StoreError, match="begun with other fields"):
        latentstore.Writer(tmp_path / "v", {"x": latentstore.Tensor("uint8")}, resume=True)
    with pytest.raises(ArgumentError, match="needs both fields and encode"):
        latentstore.sync(photos.root, tmp_path / "v", {"x": latentstore.Tensor("uint8")})
    assert str(latentstore.sync(photos.root, tmp_path / "v", progress=False)).startswith("80 unchanged")


def test_one_run_at_a_time(photos: Photos, tmp_path: Path) -> None:
    store = tmp_path / "x"
    photos.sync(store)
    photos.put("cat/01.png", 600)
    command = [sys.executable, str(KILLED), str(photos.root), str(store), "6"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(StoreError, match="begun and not finished"):
        collect_garbage(store)
    holder = LatentSession(str(store), None)
    holder.lock.acquire()
    try:
        with pytest.raises(StoreError, match="writ"):
            photos.sync(store)
    finally:
        holder.end()
    photos.sync(store)
    assert_as_converted(photos, store)


def test_a_full_disk_leaves_the_published_version(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, plain = tmp_path / "x", Location.write
    photos.sync(store)
    old = latents_of(store)
    photos.put("cat/01.png", 600)

    def full(self: Location, name: str, parts: Any) -> None:
        if name.startswith("versions/"):
            raise StoreError(f"{self.at(name)}: could not be written: No space left on device")
        plain(self, name, parts)

    monkeypatch.setattr(Location, "write", full)
    with pytest.raises(StoreError, match="No space left"):
        photos.sync(store)
    monkeypatch.undo()
    assert latents_of(store) == old
    photos.read.clear()
    sync_latents(photos.root, store, progress=False)
    assert not photos.read, "what was encoded is kept"
    assert_as_converted(photos, store)
