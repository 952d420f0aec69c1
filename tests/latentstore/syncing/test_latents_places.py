"""`latentstore sync` of stores of latents: tars, arrays, recordings, object stores, other layouts."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changing_photos import SIZE, Photos, assert_as_converted, latents_of
from plain_s3 import PlainS3

import latentstore
from latentstore import ArgumentError, StoreError
from latentstore.loaders.remote import retry
from latentstore.loaders.remote.location import Location
from latentstore.stores.verify import verify
from latentstore.syncing.latents import sync_latents
from latentstore.writing import lock
from latentstore.writing.versions.writer import VersionWriter


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


def test_a_server_that_is_gone(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the error, nothing more is asked of it: it would take most of a minute, and the lock is dead anyway."""
    pytest.importorskip("s3fs")
    bucket, finish, asked = PlainS3(), VersionWriter.finish, list[int]()
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)

    def gone(self: VersionWriter, shards: int) -> Any:
        asked.append(len(bucket.log))
        bucket.answer = (503, b"<Error><Code>SlowDown</Code><Message>x</Message></Error>")
        return finish(self, shards)

    monkeypatch.setattr(VersionWriter, "finish", gone)
    options: dict[str, Any] = {"size": SIZE, "storage_options": bucket.options, "progress": False}
    with pytest.raises(StoreError, match="still failing after 5 attempts"):
        sync_latents(photos.root, "s3://bucket/x.store", **options)
    assert len(bucket.log) - asked[0] == retry.ATTEMPTS and not lock._held
    monkeypatch.setattr(VersionWriter, "finish", finish)
    bucket.answer = None
    plan, _ = sync_latents(photos.root, "s3://bucket/x.store", **options)
    assert len(plan.new) == 80 and not [name for name in bucket.objects if ".partial" in name]
    bucket.stop()


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
    with pytest.raises(StoreError, match="that a conversion made: bring it up to date with sync"):
        latentstore.Writer(tmp_path / "v", {"x": latentstore.Tensor("uint8")}, resume=True)
    with pytest.raises(ArgumentError, match="needs both fields and encode"):
        latentstore.sync(photos.root, tmp_path / "v", {"x": latentstore.Tensor("uint8")})
    assert str(latentstore.sync(photos.root, tmp_path / "v", progress=False)).startswith("80 unchanged")
