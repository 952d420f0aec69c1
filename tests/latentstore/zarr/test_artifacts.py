"""The artifact of an array: beside it in its group, found when it is read, named when it is nowhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from strict_store import StrictStore
from zarr.storage import MemoryStore
from zarr_arrays import images

import latentstore
import latentstore.zarr
from latentstore.codecs import Codec, codec_from_bytes
from latentstore.codecs import load as codec_home
from latentstore.codecs.errors import ArtifactError


@pytest.fixture
def strange(codec: Any, other_artifact: bytes, monkeypatch: pytest.MonkeyPatch) -> Codec:
    """A codec that the package does not ship; what this process knows is forgotten afterwards."""
    monkeypatch.setattr(codec_home, "_registered", {})
    monkeypatch.delenv(codec_home.FOLDER_VARIABLE, raising=False)
    return codec_from_bytes(other_artifact)


@pytest.mark.parametrize("kind", ["v3", "sharded", "v2"])
def test_the_artifact_beside_an_array_is_found(strange: Codec, kind: str, tmp_path: Path) -> None:
    x = images(4, 16, 16)
    options: dict[str, Any] = (
        {"zarr_format": 2} if kind == "v2" else {"shards": (2, 16, 16, 3)} if kind == "sharded" else {}
    )
    path = str(tmp_path / "a.zarr")
    made = latentstore.zarr.create(path, "deep/image", x.shape, codec=strange, data=x, **options)
    expected = made[...]
    codec_home._registered.clear()
    if kind == "v3":
        assert np.array_equal(zarr.open_array(path, path="deep/image")[...], expected)
    else:  # Zarr tells these nothing of where they are
        with pytest.raises(ArtifactError) as caught:
            zarr.open_array(path, path="deep/image")[...]
        for word in ("other", strange.sha256, "latentstore.zarr.open"):
            assert word in str(caught.value)
    for way in (
        (path, "deep/image"),
        (zarr.open_group(path), "deep/image"),
        (path + "/deep", "image"),
        (path + "/deep/image", None),
        (Path(path) / "deep/image", None),
    ):
        codec_home._registered.clear()
        assert np.array_equal(latentstore.zarr.open(*way)[...], expected)
    codec_home._registered.clear()
    assert np.array_equal(latentstore.zarr.open(path, "deep")["image"][...], expected)
    copied = latentstore.zarr.copy(latentstore.zarr.open(path, "deep/image"), tmp_path / "b.zarr")
    codec_home._registered.clear()
    assert np.array_equal(latentstore.zarr.open(copied.store, copied.path)[...], expected)


@pytest.mark.parametrize("name", ["image", "deep/er/image"])
def test_a_store_that_raises_for_keys_that_cannot_be(strange: Codec, codec: Any, name: str, tmp_path: Path) -> None:
    x = images(3, 16, 16)
    for used in (strange, codec):
        store = StrictStore()
        expected = latentstore.zarr.create(store, name, x.shape, codec=used, data=x)[...]
        for read in (
            lambda store=store: zarr.open_array(store, path=name, mode="r"),
            lambda store=store: latentstore.zarr.open(store, name),
            lambda store=store: latentstore.zarr.open(zarr.open_group(store), name),
            lambda store=store: latentstore.zarr.open(store)[name],
        ):
            codec_home._registered.clear()
            assert np.array_equal(read()[...], expected)
        disk = tmp_path / used.name
        latentstore.zarr.copy(store, disk)
        latentstore.zarr.copy(str(disk / name), copied := StrictStore(), "copy")
        codec_home._registered.clear()
        assert np.array_equal(zarr.open_array(copied, path="copy")[...], expected)


def test_a_strict_store_without_the_artifact(strange: Codec) -> None:
    store = StrictStore()
    x = images(1, 16, 16)
    latentstore.zarr.create(store, "a/image", x.shape, codec=strange, data=x, embed_artifact=False)
    for read in (
        lambda: zarr.open_array(store, path="a/image")[...],
        lambda: latentstore.zarr.open(store, "a/image"),
    ):
        codec_home._registered.clear()
        with pytest.raises(ArtifactError, match="LATENTSTORE_ARTIFACTS"):
            read()


def test_an_array_by_its_own_path_finds_its_group(
    strange: Codec, make_store: Any, s3_options: Any, tmp_path: Path
) -> None:
    x = images(2, 16, 16)
    path = tmp_path / "a.zarr"
    expected = latentstore.zarr.create(path, "deep/image", x.shape, codec=strange, data=x)[...]
    codec_home._registered.clear()
    assert np.array_equal(zarr.open_array(path / "deep" / "image", mode="r")[...], expected)
    url = "s3://bucket/own path.zarr"
    latentstore.zarr.copy(path, url, target_options=s3_options)
    for open_ in (zarr.open_array, latentstore.zarr.open):
        codec_home._registered.clear()
        found = open_(f"{url}/deep/image", mode="r", storage_options=s3_options)
        assert np.array_equal(found[...], expected)


def test_the_latents_of_a_store_by_their_own_path(strange: Codec, make_samples: Any, tmp_path: Path) -> None:
    from latentstore.writing import StoreSpec, open_writer

    samples, latents = make_samples(4, (40, 56))
    pairs = zip(samples, latents, strict=True)
    samples = [replace(sample, groups=strange.encode_latent_groups(latent)) for sample, latent in pairs]
    writer = open_writer(f"{tmp_path}/x.zarr", StoreSpec.of(strange, size=(40, 56), shard_samples=8, source="made"))
    writer.write_shard(0, samples)
    writer.finish(1)
    codec_home._registered.clear()
    assert np.array_equal(latentstore.zarr.open(f"{tmp_path}/x.zarr/latent")[2], latents[2])


def test_a_missing_artifact_is_named(strange: Codec, tmp_path: Path) -> None:
    path = str(tmp_path / "a.zarr")
    z = latentstore.zarr.create(
        path, "image", (1, 16, 16, 3), codec=strange, embed_artifact=False, data=images(1, 16, 16)
    )
    assert z.shape == (1, 16, 16, 3)
    codec_home._registered.clear()
    for read in (
        lambda: zarr.open_array(path, path="image")[...],
        lambda: latentstore.zarr.open(path, "image"),
    ):
        with pytest.raises(ArtifactError) as caught:
            read()
        for word in ("'other'", strange.sha256, "image", "LATENTSTORE_ARTIFACTS"):
            assert word in str(caught.value)


def test_a_damaged_artifact_is_not_taken(strange: Codec, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    latentstore.zarr.create(path, "image", (1, 16, 16, 3), codec=strange, data=images(1, 16, 16))
    (file,) = path.glob("latentstore_artifact_*/c/0")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    codec_home._registered.clear()
    with pytest.raises(ArtifactError, match=strange.sha256):
        zarr.open_array(path, path="image")[...]


def test_metadata_stays_small_and_the_group_says_what_to_install(codec: Any) -> None:
    """An artifact in the metadata would be copied into every task and rewritten by every append."""
    store = MemoryStore()
    latentstore.zarr.create(store, "image", (1, 16, 16, 3), codec=codec)
    latentstore.zarr.create(store, "more", (1, 16, 16, 3), codec=codec)
    group = zarr.open_group(store)
    assert len(store._store_dict["image/zarr.json"]) < 2000
    assert "pip install latentstore" in json.dumps(dict(group.attrs))
    assert sorted(group) == ["image", f"latentstore_artifact_{codec.sha256[:12]}", "more"]
