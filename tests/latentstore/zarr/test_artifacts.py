"""The artifact of an array: beside it in its group, found when it is read, named when it is nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
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
