"""The array codecs where their users are: dask, xarray, distributed, object stores, loaders' worker
processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr_arrays import coded, images, latents

import latentstore.zarr
from latentstore.codecs.arrays.zarr_codec import LatentCodec, SignalCodec


@pytest.fixture
def image(codec: Any, tmp_path: Path) -> Any:
    """An array of 8 images in a store on disk."""
    return latentstore.zarr.create(tmp_path / "a.zarr", "image", (8, 16, 24, 3), codec=codec, data=images(8, 16, 24))


# ---- dask


def test_dask_reads_and_writes_by_chunks(codec: Any, image: Any, tmp_path: Path) -> None:
    da = pytest.importorskip("dask.array")
    lazy = da.from_zarr(str(tmp_path / "a.zarr"), component="image")
    assert np.array_equal(lazy[2:5].compute(scheduler="threads"), image[2:5])
    z = latentstore.zarr.create(tmp_path / "b.zarr", "image", image.shape, codec=codec)
    values = da.from_array(images(8, 16, 24), chunks=z.chunks)
    da.to_zarr(values, z, compute=True)
    assert np.array_equal(z[...], image[...])
    da.to_zarr(
        da.from_array(images(8, 16, 24), chunks=(1, 16, 24, 3)),
        str(tmp_path / "c.zarr"),
        component="image",
        serializer=SignalCodec.of(codec, "nhwc"),
        compressors=None,
    )
    assert np.array_equal(zarr.open_array(tmp_path / "c.zarr", path="image")[...], image[...])


def test_dask_chunks_that_cut_images_are_refused_not_lost(codec: Any) -> None:
    """Without locks, tasks that share a chunk would undo each other's images."""
    da = pytest.importorskip("dask.array")
    z = latentstore.zarr.create(zarr.storage.MemoryStore(), "image", (32, 32, 3), codec=codec, chunks=(32, 32, 3))
    z[...] = images(1, 32, 32)[0]
    with pytest.raises(latentstore.ArgumentError, match="covers only a part"):
        da.store(da.from_array(images(1, 32, 32)[0], chunks=(16, 32, 3)), z, lock=True, scheduler="sync")


def test_a_large_image_tile_by_tile(codec: Any, tmp_path: Path) -> None:
    da = pytest.importorskip("dask.array")
    x = images(1, 100, 140)[0]
    z = latentstore.zarr.create(tmp_path / "a.zarr", "map", x.shape, codec=codec, chunks=(64, 64, 3))
    da.from_array(x, chunks=(64, 64, 3)).store(z, lock=False, scheduler="threads")
    expected = coded(codec, x, "hwc", (64, 64, 3))
    assert np.array_equal(z[...], expected)
    assert np.array_equal(z[60:70, 90:140:7, 1], expected[60:70, 90:140:7, 1])


def test_distributed_workers(image: Any, tmp_path: Path) -> None:
    da, distributed = pytest.importorskip("dask.array"), pytest.importorskip("distributed")
    lazy = da.from_zarr(str(tmp_path / "a.zarr"), component="image")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        got = client.compute(lazy.sum(axis=(1, 2, 3))).result(timeout=300)
    assert np.array_equal(got, image[...].sum(axis=(1, 2, 3)))


# ---- xarray


@pytest.mark.filterwarnings("ignore:.*:zarr.errors.ZarrUserWarning")
def test_xarray(codec: Any, tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    x, path = images(4, 16, 24), tmp_path / "a.zarr"
    data = xr.Dataset({"image": (("t", "y", "x", "band"), x), "time": (("t",), np.arange(4.0))})
    encoding = {"image": {"serializer": SignalCodec.of(codec, "nhwc"), "compressors": None, "chunks": (1, 16, 24, 3)}}
    data.to_zarr(path, encoding=encoding, consolidated=False)
    expected = coded(codec, x, "nhwc", (1, 16, 24, 3))
    back = xr.open_zarr(path, consolidated=False, chunks=None)
    assert back["image"].dtype == np.uint8 and np.array_equal(back["image"].values, expected)
    assert np.array_equal(back["image"].isel(t=2, y=slice(3, 9)).values, expected[2, 3:9])
    data.to_zarr(path, append_dim="t", consolidated=False)
    assert np.array_equal(xr.open_zarr(path, consolidated=False, chunks=None)["image"].values[4:], expected)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_xarray_opens_what_create_makes(codec: Any, zarr_format: Any, tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    names: dict[str, Any] = (
        {"dimension_names": ("t", "y", "x", "c")}
        if zarr_format == 3
        else {"attributes": {"_ARRAY_DIMENSIONS": list("tyxc")}}
    )
    z = latentstore.zarr.create(
        tmp_path / "a.zarr", "image", (2, 16, 16, 3), codec=codec, zarr_format=zarr_format,
        data=images(2, 16, 16) // 128 * 128, **names,
    )  # fmt: skip
    data = xr.open_zarr(tmp_path / "a.zarr", consolidated=False, chunks=None)
    assert data["image"].dtype == np.uint8 and np.array_equal(data["image"].values, z[...])


# ---- stores


@pytest.mark.usefixtures("batched_pipeline")
def test_object_store(codec: Any, s3_options: dict[str, Any]) -> None:
    x, y = images(4, 16, 24), latents(4, 4, 5)
    url = "s3://bucket/arrays.zarr"
    z = latentstore.zarr.create(
        url, "image", x.shape, codec=codec, chunks=(2, 16, 24, 3), storage_options=s3_options, data=x
    )
    expected = coded(codec, x, "nhwc", (2, 16, 24, 3))
    again = latentstore.zarr.open(url, "image", storage_options=s3_options)
    assert np.array_equal(again[...], expected) and np.array_equal(again[3], expected[3])
    z[1] = x[0]
    assert np.array_equal(again[1], coded(codec, x[:1], "nhwc", (1, 16, 24, 3))[0])
    group = zarr.open_group(url, storage_options=s3_options)
    made = latentstore.zarr.create(
        group,
        "latent",
        y.shape,
        dtype="int8",
        codec=codec,
        chunks=(1, 12, 4, 5),
        shards=(4, 48, 4, 5),
        data=y,
    )
    assert np.array_equal(made[2, :12], y[2, :12])
    memory = latentstore.zarr.copy(url, zarr.storage.MemoryStore(), source_options=s3_options)
    assert np.array_equal(memory["image"][...], again[...]) and np.array_equal(memory["latent"][...], y)
    latentstore.zarr.copy(memory["image"], url, "copied", target_options=s3_options)
    assert np.array_equal(latentstore.zarr.open(url, "copied", storage_options=s3_options)[...], again[...])


def test_zip_store(codec: Any, tmp_path: Path) -> None:
    x = images(4, 16, 24)
    with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as store:
        z = zarr.create_array(
            store,
            shape=x.shape,
            chunks=(4, 16, 24, 3),
            dtype="uint8",
            compressors=None,
            serializer=SignalCodec.of(codec, "nhwc"),
        )
        z[...] = x
    with zarr.storage.ZipStore(tmp_path / "a.zip", mode="r") as store:
        assert np.array_equal(zarr.open_array(store, mode="r")[2], coded(codec, x, "nhwc", x.shape)[2])


# ---- worker processes

PROGRAM = """
import sys
import numpy as np, torch, zarr

class Images(torch.utils.data.Dataset):
    def __init__(self, path):
        self.path, self.z = path, None

    def __len__(self):
        return 8

    def __getitem__(self, i):
        if self.z is None:  # in the worker, when it is first needed
            self.z = zarr.open_array(self.path, path="image", mode="r")
        return torch.from_numpy(np.asarray(self.z[i]))

if __name__ == "__main__":
    z = zarr.open_array(sys.argv[1], path="image", mode="r")
    expected = torch.from_numpy(z[...])  # the parent has used the codec, and has threads
    for method in sys.argv[2:]:
        loader = torch.utils.data.DataLoader(
            Images(sys.argv[1]), 2, num_workers=1, multiprocessing_context=method, timeout=300
        )
        assert torch.equal(torch.cat(list(loader)), expected), method
"""


def test_workers_open_lazily(image: Any, tmp_path: Path) -> None:
    import torch_or_skip  # noqa: F401

    methods = ["fork", "spawn", "forkserver"] if hasattr(os, "fork") else ["spawn"]
    (tmp_path / "workers.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "workers.py"), str(tmp_path / "a.zarr"), *methods]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_an_open_array_pickles(codec: Any, image: Any) -> None:
    import pickle

    again = pickle.loads(pickle.dumps(image))
    assert np.array_equal(again[...], image[...]) and len(pickle.dumps(image)) < 5000
    assert pickle.loads(pickle.dumps(LatentCodec.of(codec))) == LatentCodec.of(codec)


# ---- references: bytes elsewhere that a reader takes for chunks


def test_references_to_chunks_in_other_files(codec: Any, tmp_path: Path) -> None:
    """What kerchunk writes: keys to bytes or to ranges of files, read through fsspec."""
    fsspec = pytest.importorskip("fsspec")
    x = images(2, 16, 16)
    z = latentstore.zarr.create(tmp_path / "a.zarr", "image", x.shape, codec=codec, zarr_format=2, data=x)
    large, refs = bytearray(b"something before"), {}
    for file in sorted((tmp_path / "a.zarr" / "image").iterdir()):
        if file.name.startswith("."):
            refs[file.name] = file.read_text()
        else:
            refs[file.name] = [str(tmp_path / "large.bin"), len(large), file.stat().st_size]
            large += file.read_bytes()
    (tmp_path / "large.bin").write_bytes(large)
    fs = fsspec.filesystem("reference", fo={"version": 1, "refs": refs}, asynchronous=True, remote_protocol="file")
    store = zarr.storage.FsspecStore(fs, read_only=True, path="")
    assert np.array_equal(zarr.open_array(store, mode="r", zarr_format=2)[...], z[...])
