"""The Zarr codec `latentstore.latent`, through Zarr: what is stored comes back, what cannot be is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import latentstore
from latentstore.codecs import load as codec_home
from latentstore.codecs.arrays.zarr_codec import LatentCodec
from latentstore.codecs.errors import ArgumentError, ArtifactError, CorruptError, UnsupportedVersionError

CONFIG = {"version": 1, "artifact": {"name": "rgb-f8c48", "sha256": "ab" * 32}}


def _latents(count: int, h: int, w: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).laplace(size=(count, 48, h, w)) * 4
    return np.clip(np.rint(values), -127, 127).astype(np.int8)


def _create(codec: Any, shape: tuple[int, ...], shards: tuple[int, ...] | None = None, **options: Any) -> zarr.Array:
    store = options.pop("store", None) or MemoryStore()
    settings = {
        "chunks": (1, 12, *shape[2:]),
        "dtype": "int8",
        "compressors": None,
        "fill_value": 0,
        **options,
    }
    return zarr.create_array(store, shape=shape, shards=shards, serializer=LatentCodec.of(codec), **settings)


# ---- configuration


def test_configuration_round_trip() -> None:
    codec = LatentCodec.from_dict({"name": "latentstore.latent", "configuration": CONFIG})
    assert codec.to_dict() == {"name": "latentstore.latent", "configuration": CONFIG}
    assert json.loads(json.dumps(codec.to_dict())) == codec.to_dict()
    assert codec == pickle.loads(pickle.dumps(codec)) and hash(codec) == hash(LatentCodec("rgb-f8c48", "ab" * 32))
    assert len(pickle.dumps(codec)) < 500


@pytest.mark.parametrize(
    ("configuration", "error", "said"),
    [
        ({**CONFIG, "version": 2}, UnsupportedVersionError, "version 2; this latentstore reads version 1"),
        ({"artifact": CONFIG["artifact"]}, UnsupportedVersionError, "version None"),
        ({**CONFIG, "level": 3}, ArgumentError, "unknown configuration level"),
        ({"version": 1}, ArgumentError, "must have a name and a sha256"),
        ({"version": 1, "artifact": {"name": "x"}}, ArgumentError, "must have a name and a sha256"),
        ({"version": 1, "artifact": {"name": "x", "sha256": "zz"}}, ArgumentError, "64 hexadecimal digits"),
        ({"version": 1, "artifact": {"name": 3, "sha256": "ab" * 32}}, ArgumentError, "must be a string"),
        (None, ArgumentError, "needs a configuration"),
    ],
)
def test_bad_configurations(configuration: Any, error: type[Exception], said: str) -> None:
    data = {"name": "latentstore.latent"} | ({"configuration": configuration} if configuration else {})
    with pytest.raises(error, match=said):
        LatentCodec.from_dict(data)


# ---- what Zarr lets through unless the codec says no


@pytest.mark.parametrize("shards", [None, (4, 48, 4, 5)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int16", ">i2"])
def test_other_types_are_refused_at_creation(codec: Any, shards: Any, dtype: str) -> None:
    with pytest.raises(ArgumentError, match="stores int8 latents, not"):
        _create(codec, (8, 48, 4, 5), shards, dtype=dtype)


@pytest.mark.parametrize("shape", [(8,), (48, 4, 5), (8, 48, 4, 5, 1), (8, 48, 0, 5)])
def test_other_ranks_are_refused_at_creation(codec: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises((ArgumentError, ValueError)):
        _create(codec, shape, chunks=shape)


@pytest.mark.parametrize("chunks", [(2, 12, 2, 5), (1, 12, 2, 5), (1, 12, 4, 4)])
def test_chunks_of_other_shapes_are_refused_at_creation(codec: Any, chunks: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="stores whole planes"):
        _create(codec, (8, 48, 4, 5), chunks=chunks)


def test_not_a_compressor(codec: Any) -> None:
    with pytest.raises(TypeError):
        zarr.create_array(MemoryStore(), shape=(8, 48, 4, 5), dtype="int8", compressors=LatentCodec.of(codec))


# ---- round trips


@pytest.mark.parametrize("shards", [None, (4, 48, 4, 5), (2, 12, 4, 5)])
def test_round_trip(codec: Any, shards: Any) -> None:
    z, x = _create(codec, (9, 48, 4, 5), shards), _latents(9, 4, 5)
    z[:] = x
    assert np.array_equal(z[:], x)
    assert np.array_equal(z[3, :12], x[3, :12]) and np.array_equal(z[:, 13:20, 1, ::2], x[:, 13:20, 1, ::2])
    assert np.array_equal(z.oindex[[7, 2]], x[[7, 2]])
    z[4, 5, 1, 1] = 99  # lossless, so partial writes lose nothing
    x[4, 5, 1, 1] = 99
    z.append(x[:2])
    assert np.array_equal(z[:], np.concatenate([x, x[:2]]))
    z.resize((5, 48, 4, 5))
    assert np.array_equal(z[:], x[:5])


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.just(48), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**32),
    top=st.sampled_from([0, 1, 127]),
    sharded=st.booleans(),
)
def test_round_trip_of_any_shape(shape: tuple[int, ...], seed: int, top: int, sharded: bool) -> None:
    x = np.random.default_rng(seed).integers(-top, top + 1, shape).astype(np.int8)
    z = _create(latentstore.load_codec("rgb-f8c48"), shape, (2, *shape[1:]) if sharded else None)
    z[:] = x
    assert np.array_equal(z[:], x)


def test_memory_orders_and_views(codec: Any) -> None:
    x = _latents(4, 4, 5)
    wide = np.zeros((4, 48, 4, 10), np.int8)
    wide[..., ::2] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    for values in (np.asfortranarray(x), wide[..., ::2], x[::-1][::-1], read_only):
        z = _create(codec, x.shape)
        z[:] = values
        assert np.array_equal(z[:], x)


def test_stored_bytes_do_not_alias_the_input(codec: Any) -> None:
    z, x = _create(codec, (4, 48, 4, 5)), _latents(4, 4, 5)
    given = x.copy()
    z[:] = given
    given[:] = 9
    assert np.array_equal(z[:], x)


def test_empty_chunks(codec: Any) -> None:
    z = _create(codec, (4, 48, 4, 5), config={"write_empty_chunks": True})
    z[:] = 0
    assert z.nchunks_initialized == z.nchunks and not z[:].any()
    z = _create(codec, (4, 48, 4, 5))
    z[:2] = 0
    assert z.nchunks_initialized == 0 and not z[:].any()


def test_damage_is_an_error(codec: Any) -> None:
    store = MemoryStore()
    z, x = _create(codec, (2, 48, 4, 5), store=store), _latents(2, 4, 5)
    z[:] = x
    name = next(k for k in store._store_dict if k.endswith("c/0/0/0/0"))
    good = store._store_dict[name]
    data = good.to_bytes()
    bad = [data[:cut] for cut in (0, 1, len(data) // 2, len(data) - 1)] + [data + b"\0"]
    for at in range(0, len(data), 5):
        flipped = bytearray(data)
        flipped[at] ^= 2
        bad.append(bytes(flipped))
    for blob in bad:
        store._store_dict[name] = type(good).from_bytes(blob)
        with pytest.raises(latentstore.LatentstoreError):
            z[0, :12]
    other = _create(codec, (2, 48, 5, 4))  # the blob of another shape: never broadcast or cropped
    other[:] = 1
    store._store_dict[name] = other.store._store_dict[name]
    with pytest.raises((CorruptError, ArgumentError)):
        z[0, :12]


def test_dask_and_xarray(codec: Any, make_store: Any, tmp_path: Path) -> None:
    dask_array, xarray = pytest.importorskip("dask.array"), pytest.importorskip("xarray")
    store = make_store(tmp_path, "zarr-fixed")
    x = np.stack(store.latents)
    lazy = dask_array.from_zarr(store.url, component="latent")
    assert np.array_equal(lazy[:, :12].compute(scheduler="threads"), x[:, :12])
    data = xarray.open_dataset(store.url, engine="zarr", consolidated=False, chunks=None)
    assert data["latent"].dims == ("sample", "channel", "y", "x")
    assert np.array_equal(data["latent"][3, :12].values, x[3, :12])


# ---- artifacts


@pytest.fixture
def unknown(codec: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An array whose artifact neither this process nor the package has."""
    z = _create(codec, (2, 48, 4, 5))
    z[:] = _latents(2, 4, 5)
    monkeypatch.setattr(codec_home, "_registered", {})
    monkeypatch.setattr(codec_home, "_shipped_of", lambda sha256: None)
    monkeypatch.delenv(codec_home.FOLDER_VARIABLE, raising=False)
    return z


def test_missing_artifact_is_named(unknown: Any, codec: Any) -> None:
    with pytest.raises(ArtifactError) as caught:
        unknown[0]
    for word in ("rgb-f8c48", codec.sha256, "latentstore.open", "LATENTSTORE_ARTIFACTS is not set"):
        assert word in str(caught.value)


def test_artifact_from_a_folder(
    unknown: Any, codec: Any, other_artifact: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(codec_home.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "junk.safetensors").write_bytes(b"not an artifact")
    (tmp_path / "gray.safetensors").write_bytes(other_artifact)
    with pytest.raises(ArtifactError, match="has none of that hash"):
        unknown[0]
    (tmp_path / "renamed.safetensors").write_bytes(codec.artifact_bytes)
    assert np.array_equal(unknown[:], _latents(2, 4, 5))


def test_open_registers_the_artifact_of_a_store(make_store: Any, unknown: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path, "wds-fixed")
    with pytest.raises(ArtifactError):
        codec_home._registered.clear()
        unknown[0]
    latentstore.open(store.url)
    assert np.array_equal(unknown[:], _latents(2, 4, 5))


def test_artifact_is_made_once_for_many_threads(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def read() -> bytes:
        made.append(1)
        return codec.artifact_bytes

    monkeypatch.setattr(codec_home, "_registered", {})
    monkeypatch.setattr(codec_home, "_shipped_of", lambda sha256: None)
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(codec_home.codec_of(codec.sha256, read))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len({id(c) for c in got}) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_a_thread_holds_the_lock(codec: Any) -> None:
    # In a process of its own: forking the test runner, which has threads, is what we want nobody to do.
    program = f"""
import os, threading
from latentstore.codecs import load_codec
from latentstore.codecs import load as codec_home
codec = load_codec("rgb-f8c48")
codec_home.register(codec)
held, done = threading.Event(), threading.Event()
def hold():
    with codec_home._lock:
        held.set(); done.wait()
thread = threading.Thread(target=hold); thread.start(); held.wait()
child = os.fork()
if child == 0:
    codec_home.resolve(codec.name, {codec.sha256!r})
    os._exit(7)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
done.set(); thread.join()
assert status == 7, status
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=300)


def test_importing_the_codec_loads_no_torch() -> None:
    program = "import sys, latentstore.codecs.arrays.zarr_codec; assert not {'torch', 'dask'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
