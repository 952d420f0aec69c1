"""Stores that are read through the cache: the second reader asks the server for the manifest alone."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensor_stores

import latentstore
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.loaders.cache import settings
from latentstore.loaders.cache.folder import CacheFolder
from latentstore.loaders.cache.settings import chosen_cache
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.ranges import Range
from latentstore.loaders.tensors import layout
from latentstore.stores.verify import verify

EVERY = np.arange(20)


@pytest.fixture
def remote(make_store: Any, layout: str, tmp_path: Path) -> Any:
    """A store that this test alone has."""
    folder = f"memory://cache-{tmp_path.name}"
    yield make_store(folder, layout)
    Location(folder).remove()


def read_all(ds: Any, store: Any) -> None:
    """Reads everything as an epoch does, and compares it with what was stored."""
    ds.load_shards([0, 1, 2])
    for got, latent in zip(ds.read_latents(EVERY), store.latents, strict=True):
        np.testing.assert_array_equal(got, latent[: ds.channels])
    assert ds.keys(EVERY) == store.keys
    assert ds.fields(EVERY)["txt"] == [fields["txt"] for fields in store.fields]
    ds.drop_shards([0, 1, 2])


def test_the_second_epoch_asks_for_nothing(remote: Any, tmp_path: Path, asked: list[Range]) -> None:
    ds = latentstore.open(remote.url, 12, cache=tmp_path / "c")
    read_all(ds, remote)
    first = len(asked)
    asked.clear()
    read_all(ds, remote)
    read_all(pickle.loads(pickle.dumps(ds)), remote)
    # `bytes` fields of tars are ranges of their own, which are never the same again
    assert all(name.endswith(".tar") for name, _, _ in asked) and (not asked or remote.layout.startswith("wds"))
    asked.clear()
    read_all(latentstore.open(remote.url, 12, cache=tmp_path / "c"), remote)
    looked = [name for name, _, _ in asked if not name.endswith(".tar")]
    found = (["zarr.json"], ["zarr.json", "latentstore.json"], ["zarr.json", "tensors.json"])
    assert looked in found and first > 2  # which manifest there is
    assert latentstore.open(remote.url, 48, cache=tmp_path / "c").channels == 48
    read_all(latentstore.open(remote.url, 48, cache=tmp_path / "c"), remote)  # other ranges of the same shards


def test_another_store_in_the_same_place(
    remote: Any, make_store: Any, make_samples: Any, layout: str, tmp_path: Path
) -> None:
    ds = latentstore.open(remote.url, cache=tmp_path / "c")
    read_all(ds, remote)
    Location(remote.url).remove()
    other = make_store(f"memory://cache-{tmp_path.name}", layout, counts=(8, 8))
    ds = latentstore.open(other.url, cache=tmp_path / "c")
    assert len(ds) == 16
    ds.load_shards([0, 1])
    for got, latent in zip(ds.read_latents(np.arange(16)), other.latents, strict=True):
        np.testing.assert_array_equal(got, latent)
    # shards of stores with versions have names that no other store's have
    assert CacheFolder(tmp_path / "c", 1).usage().stores == (1 if layout.startswith("versions") else 2)


def test_damaged_entries_are_fetched_again(remote: Any, tmp_path: Path, asked: list[Range]) -> None:
    read_all(latentstore.open(remote.url, cache=tmp_path / "c"), remote)
    ds = latentstore.open(remote.url, cache=tmp_path / "c")
    for path in (tmp_path / "c").glob("*/*@*"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    asked.clear()
    read_all(ds, remote)
    assert asked
    asked.clear()
    read_all(ds, remote)
    assert all(name.endswith(".tar") for name, _, _ in asked)


@pytest.mark.parametrize("layout", ["zarr-fixed", "wds-fixed"])
def test_a_shard_that_came_damaged_is_not_kept(remote: Any, tmp_path: Path) -> None:
    """Somebody repairs it in the store: the cache must not give back what was wrong."""
    place = Location(remote.url)
    name = "latent/c/1/0/0/0" if remote.layout == "zarr-fixed" else "data-000001.tar"
    whole = place.read(name)
    ds = latentstore.open(remote.url, cache=tmp_path / "c")
    (source, *_), (start, *_), _ = (a[0] for a in ds.reader.objects(np.array([9]), *ds.reader.locate(np.array([9]), 1)))
    assert ds.reader.object_name(int(source)) == name
    place.write(name, whole[: start + 9] + bytes([whole[start + 9] ^ 1]) + whole[start + 10 :])
    ds.load_shards([1])
    with pytest.raises(CorruptError, match=name):
        ds.read_latents(np.arange(8, 16))
    place.write(name, whole)
    ds.drop_shards([1])
    read_all(ds, remote)


def test_verify_reads_the_store_itself(remote: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTSTORE_CACHE", str(tmp_path / "c"))
    read_all(latentstore.open(remote.url), remote)
    assert CacheFolder(tmp_path / "c", 1).usage().entries >= 3
    name = next(
        n
        for n in Location(remote.url).list()
        if "latent/c/1" in n or "blob_g0/c" in n or n.startswith("shards/") or n.endswith(".tar")
    )
    Location(remote.url).remove(name)
    assert verify(remote.url).problems


def _read_all(url: str, cache: str, store: Any) -> None:
    for _ in range(3):
        read_all(latentstore.open(url, 12, cache=cache, cache_size=60_000), store)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("layout", ["zarr-fixed"])
def test_several_processes_read_through_a_cache_that_is_too_small(remote: Any, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # so that they have the store, which is in memory
    arguments = (remote.url, str(tmp_path / "c"), remote)
    processes = [context.Process(target=_read_all, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    assert 0 < CacheFolder(tmp_path / "c", 1).usage().bytes <= 60_000


def test_a_new_version_of_a_store_of_tensors(tmp_path: Path, asked: list[Range]) -> None:
    """Shards that did not change are not fetched again."""
    url = f"memory://versions-{tmp_path.name}/x.store"
    tensor_stores.write(url, range(40), shard_bytes=4000)
    ds = latentstore.open(url, fields=["latent"], cache=tmp_path / "c")
    old = {shard.name for shard in ds.reader.meta.shards}
    ds.load_shards(list(range(len(old))))
    tensor_stores.write(url, range(50), shard_bytes=4000, resume=True)
    asked.clear()
    ds = latentstore.open(url, fields=["latent"], cache=tmp_path / "c")
    names = [layout.shard_name(shard.name) for shard in ds.reader.meta.shards]
    ds.load_shards(list(range(len(names))))
    assert {name for name, _, _ in asked if name in names} == set(names) - set(map(layout.shard_name, old))
    for i in (0, 45):
        tensor_stores.assert_is(ds[i], i)


# ---- which folder


def test_the_choice_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (settings.FOLDER, settings.SIZE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert chosen_cache(None) is None and chosen_cache(False) is None
    usual, given = chosen_cache(True), chosen_cache(tmp_path / "a", "1MB")
    assert usual is not None and (usual.path, usual.most_bytes) == (tmp_path / "xdg" / "latentstore", 10**11)
    assert given is not None and (given.path, given.most_bytes) == (tmp_path / "a", 10**6)
    monkeypatch.setenv(settings.FOLDER, str(tmp_path / "env"))
    monkeypatch.setenv(settings.SIZE, "5GB")
    for cache in (chosen_cache(None), chosen_cache(True)):
        assert cache is not None and (cache.path, cache.most_bytes) == (tmp_path / "env", 5 * 10**9)
    assert chosen_cache(False) is None


@pytest.mark.parametrize("cache", [1, "", "s3://bucket/cache", b"x"])
def test_what_is_no_folder(cache: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^cache is .*; it is True, False, or the path of a local folder"):
        chosen_cache(cache)


def test_a_size_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cache_size is 'big'"):
        latentstore.open("memory://nothing", cache=tmp_path, cache_size="big")
    monkeypatch.setenv(settings.SIZE, "huge")
    with pytest.raises(ArgumentError, match="LATENTSTORE_CACHE_SIZE is 'huge'"):
        chosen_cache(tmp_path)


def test_a_local_store_has_no_cache(make_store: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path, "zarr-fixed")
    read_all(latentstore.open(store.url, cache=tmp_path / "c"), store)
    assert not (tmp_path / "c").exists()
