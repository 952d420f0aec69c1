"""Where Zarr 3 and numcodecs let data be lost, scrambled or stuck without a word, and what our codecs do
about it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore
from zarr_arrays import coded, counted, images, latents

import latentstore
import latentstore.zarr
from latentstore.codecs.arrays.zarr_codec import LatentCodec, SignalCodec
from latentstore.codecs.errors import ArgumentError


def make(codec: Any, shape: tuple[int, ...], chunks: Any, axes: str = "nhwc", **options: Any) -> zarr.Array:
    settings = {"dtype": "uint8", "compressors": None, "fill_value": 0, **options}
    serializer = settings.pop("serializer", None) or SignalCodec.of(codec, axes)
    store = settings.pop("store", None)
    store = MemoryStore() if store is None else store
    return zarr.create_array(store, shape=shape, chunks=chunks, serializer=serializer, **settings)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- silent loss


@pytest.mark.parametrize("shards", [None, (2, 16, 16, 3)])
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint16", ">u2", "bool"])
def test_codecs_in_shards_are_never_validated(codec: Any, shards: Any, dtype: str) -> None:
    """So other types (big-endian ones, whose byte order v3 forgets, too) are refused in
    evolve_from_array_spec."""
    with pytest.raises(ArgumentError, match="stores uint8 images, not"):
        make(codec, (4, 16, 16, 3), (1, 16, 16, 3), shards=shards, dtype=dtype)


def test_evolve_sees_the_array_or_the_inner_chunk(codec: Any) -> None:
    """An array larger than a chunk may be is no reason to refuse; a filter before the codec is not seen by
    it."""
    z = make(codec, (10**6, 10**6, 3), (64, 64, 3), "hwc")
    assert z.shape == (10**6, 10**6, 3)
    with pytest.raises(ArgumentError, match="axes 'nhwc' name 4 axes, the array has 3"):
        make(codec, (64, 64, 3), (64, 64, 3), "nhwc")


def test_chunks_that_zarr_chooses_split_the_channels(codec: Any) -> None:
    with pytest.raises(ArgumentError, match="keep the channel axis whole"):
        make(codec, (100, 512, 512, 3), "auto")
    with pytest.raises(ArgumentError, match="keep the channel axis whole"):
        make(codec, (4, 16, 16, 3), (1, 16, 16, 1), shards=(2, 16, 16, 3))
    with pytest.raises(ArgumentError, match="stores whole planes"):
        make(codec, (5000, 32, 16, 16), "auto", dtype="int8", serializer=LatentCodec.of(codec))
    z = latentstore.zarr.create(MemoryStore(), "x", (100, 512, 512, 3), codec=codec)
    assert z.chunks == (1, 512, 512, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtype": "float32"},
        {"dtype": "uint16"},
        {"shape": (4, 16, 16, 4)},
        {"axes": "nhw"},
        {"axes": "xyzc"},
        {"quality": 0},
        {"chunks": (1, 16, 16, 1)},
        {"chunks": (1, 16, 16)},
        {"shards": (1, 15, 16, 3)},
        {"codec": "nothing"},
        {"data": np.zeros((4, 16, 16, 3))},
        {"fill_value": 300},
        {"partial_writes": "perhaps"},
        {"dtype": "int8", "shape": (4, 60, 2, 2)},
        {"dtype": "int8", "shape": (60, 2, 2)},
        {"zarr_format": 2, "shards": (2, 16, 16, 3)},
    ],
)
def test_overwriting_deletes_before_it_validates(codec: Any, wrong: dict[str, Any], tmp_path: Path) -> None:
    """Zarr does; our `create` does not: what was there is untouched."""
    path = tmp_path / "a.zarr"
    latentstore.zarr.create(path, "image", (4, 16, 16, 3), codec=codec, data=images(4, 16, 16))
    before = tree(path)
    options = {"shape": (4, 16, 16, 3), "codec": codec, "overwrite": True, **wrong}
    with pytest.raises((latentstore.LatentstoreError, ValueError, TypeError, OverflowError)):
        latentstore.zarr.create(path, "image", **options)
    assert tree(path) == before
    with pytest.raises((latentstore.LatentstoreError, ValueError, TypeError, OverflowError)):
        latentstore.zarr.create(tmp_path / "new.zarr", "image", **options)
    assert not (tmp_path / "new.zarr").exists()
    with pytest.raises(zarr.errors.ContainsArrayError):
        latentstore.zarr.create(path, "image", (4, 16, 16, 3), codec=codec)
    assert tree(path) == before


def test_a_compressor_hides_partial_writes_from_the_codec(codec: Any) -> None:
    """Zarr adds zstd unless told not to, and then merges partial writes itself: `create` sets compressors to
    none."""
    z = zarr.create_array(
        MemoryStore(),
        shape=(2, 16, 16, 3),
        dtype="uint8",
        chunks=(1, 16, 16, 3),
        serializer=SignalCodec.of(codec, "nhwc"),
    )
    assert len(z.compressors) == 1  # the default that is added
    z[...] = images(2, 16, 16)
    assert np.array_equal(z[1], coded(codec, images(2, 16, 16), "nhwc", (1, 16, 16, 3))[1])
    made = latentstore.zarr.create(MemoryStore(), "x", (2, 16, 16, 3), codec=codec)
    assert made.compressors == () and made.filters == ()


def test_copying_through_zarr_loses_and_our_copy_does_not(codec: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (4, 24, 24, 3))  # what is clipped is lost again
    z = latentstore.zarr.create(tmp_path / "a.zarr", "image", x.shape, codec=codec, data=x, chunks=(2, 24, 24, 3))
    again = zarr.from_array(MemoryStore(), data=z)  # keeps the codec: decodes and encodes
    assert not np.array_equal(again[...], z[...])
    before = tree(tmp_path / "a.zarr")
    copied = latentstore.zarr.copy(z, tmp_path / "b.zarr")
    assert np.array_equal(copied[...], z[...])
    assert tree(tmp_path / "b.zarr" / "image") == tree(tmp_path / "a.zarr" / "image")
    whole = latentstore.zarr.copy(tmp_path / "a.zarr", tmp_path / "c.zarr")
    assert tree(tmp_path / "c.zarr") == before and np.array_equal(whole["image"][...], z[...])
    memory = latentstore.zarr.copy(str(tmp_path / "a.zarr"), MemoryStore())
    assert np.array_equal(memory["image"][...], z[...])
    renamed = latentstore.zarr.copy(z, tmp_path / "b.zarr", "deep/other")
    assert np.array_equal(renamed[...], z[...]) and renamed.path == "deep/other"
    with pytest.raises(latentstore.StoreError, match="already"):
        latentstore.zarr.copy(z, tmp_path / "b.zarr")
    latentstore.zarr.copy(z, tmp_path / "b.zarr", overwrite=True)
    with pytest.raises(ArgumentError, match="onto itself"):
        latentstore.zarr.copy(z, z.store_path.store, "image")


def test_a_copy_decodes_nothing(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    z = latentstore.zarr.create(MemoryStore(), "image", (2, 16, 16, 3), codec=codec, data=images(2, 16, 16))
    with (
        counted(monkeypatch, type(codec), "decompress_into") as read,
        counted(monkeypatch, type(codec), "compress") as written,
    ):
        latentstore.zarr.copy(z, MemoryStore())
    assert not read and not written


def test_a_copy_that_stops_does_not_open(codec: Any) -> None:
    class Full(MemoryStore):
        async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
            if key.endswith("c/1/0/0/0"):
                raise OSError("no space left")
            await super().set(key, value)

    z = latentstore.zarr.create(MemoryStore(), "image", (2, 16, 16, 3), codec=codec, data=images(2, 16, 16))
    target = Full()
    with pytest.raises(OSError, match="no space"):
        latentstore.zarr.copy(z, target)
    assert "image" not in zarr.open_group(target, mode="r")


def test_zarr_checks_no_shape_that_a_decoder_gives(codec: Any) -> None:
    """It would broadcast (1, ...) and crop what is larger: a stored chunk of another shape is an error."""
    store = MemoryStore()
    z, one = (
        make(codec, (2, 16, 16, 3), (2, 16, 16, 3), store=store),
        make(codec, (1, 16, 16, 3), (1, 16, 16, 3)),
    )
    z[...], one[...] = 50, 60
    store._store_dict["c/0/0/0/0"] = one.store._store_dict["c/0/0/0/0"]  # type: ignore[attr-defined]
    with pytest.raises(latentstore.CorruptError, match=r"\(1, 16, 16, 3\) .* \(2, 16, 16, 3\)"):
        z[...]


def test_zarr_casts_before_any_codec_sees_it(codec: Any) -> None:
    """300 would be written as 44, with no error; data given to `create` is checked."""
    for data in (np.full((2, 16, 16, 3), 300), np.full((2, 16, 16, 3), 5.7), np.zeros((2, 16, 16), np.uint8)):
        with pytest.raises(ArgumentError, match="zarr would cast it in silence"):
            latentstore.zarr.create(MemoryStore(), "x", (2, 16, 16, 3), codec=codec, data=data)


def test_every_chunk_has_bytes(codec: Any) -> None:
    """None deletes a chunk, and an empty one in a shard is read as the fill value."""
    for shards in (None, (2, 16, 16, 3)):
        store = MemoryStore()
        z = make(
            codec,
            (2, 16, 16, 3),
            (1, 16, 16, 3),
            shards=shards,
            store=store,
            config={"write_empty_chunks": True},
        )
        z[...] = 0
        assert z.nchunks_initialized > 0
        for key in [k for k in store._store_dict if k.startswith("c/")]:
            assert len(store._store_dict[key]) > 20
            if not shards:
                store._store_dict[key] = store._store_dict[key][:0]
                with pytest.raises(latentstore.TruncatedError, match="empty"):
                    z[...]


def test_stored_bytes_are_fresh(codec: Any) -> None:
    """MemoryStore keeps what it is given: a view of the caller's array would change with it."""
    x = images(2, 16, 16)
    wide = np.zeros((2, 16, 32, 3), np.uint8)
    wide[:, :, ::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    expected = coded(codec, x, "nhwc", (1, 16, 16, 3))
    for values in (x.copy(), np.asfortranarray(x), wide[:, :, ::2], frozen, x[::-1].copy()[::-1]):
        z = make(codec, x.shape, (1, 16, 16, 3))
        z[...] = values
        if values.flags.writeable:
            values[...] = 9
        assert np.array_equal(z[...], expected)


def test_an_encoder_that_fails_leaves_the_other_chunks(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes are not atomic: one bad chunk is an error that names it, the others are stored."""
    z = make(codec, (3, 16, 16, 3), (1, 16, 16, 3))
    original = type(codec).compress

    def compress(self: Any, image: Any, *args: Any) -> bytes:
        if image[0, 0, 0] == 99:
            raise ArgumentError("this image")
        return original(self, image, *args)

    monkeypatch.setattr(type(codec), "compress", compress)
    x = images(3, 16, 16)
    x[1, 0, 0, 0] = 99
    with pytest.raises(ArgumentError, match=r"chunk .*c/1/0/0/0: this image"):
        z[...] = x


# ---- hangs and speed


def test_chunks_are_coded_outside_the_event_loop_and_at_once(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(8, 288, 288)  # smaller ones are decoded together
    threads: set[str] = set()
    lock = threading.Lock()
    for name in ("compress", "decompress_into"):
        original = getattr(type(codec), name)
        together = threading.Event()
        inside: list[int] = []

        def call(
            self: Any, *args: Any, original: Any = original, together: Any = together, inside: Any = inside
        ) -> Any:
            with lock:
                threads.add(threading.current_thread().name)
                inside.append(1)
                if len(inside) > 1:
                    together.set()
            # Python's pool may keep a task waiting although it could start a thread, so not every pair meets.
            together.wait(timeout=300)
            with lock:
                inside.pop()
            return original(self, *args)

        monkeypatch.setattr(type(codec), name, call)
        if name == "compress":
            z = make(codec, x.shape, (1, 288, 288, 3))
            z[...] = x
        else:
            z[...]
        assert together.is_set(), name
    assert threads and not any(name.startswith("zarr_io") for name in threads)


def test_many_chunks_and_little_concurrency_do_not_hang(codec: Any) -> None:
    x = latents(60, 2, 2)
    with zarr.config.set({"async.concurrency": 1, "codec_pipeline.batch_size": 7}):
        z = make(codec, x.shape, (1, 12, 2, 2), dtype="int8", serializer=LatentCodec.of(codec))
        z[...] = x
        assert np.array_equal(z[...], x)


@pytest.mark.parametrize("sharded", [False, True])
def test_the_synchronous_pipeline_of_newer_releases(codec: Any, sharded: bool, tmp_path: Path) -> None:
    """In shards it asks for no partial writes, but merges them into whole chunks."""
    import zarr.core.codec_pipeline

    if not hasattr(zarr.core.codec_pipeline, "FusedCodecPipeline"):
        pytest.skip("this zarr has no synchronous pipeline")
    x = images(8, 16, 16)
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline"}):
        for store in (MemoryStore(), LocalStore(tmp_path)):
            z = make(codec, x.shape, (4, 16, 16, 3), shards=x.shape if sharded else None, store=store)
            z[...] = x
            expected = coded(codec, x, "nhwc", (4, 16, 16, 3))
            assert np.array_equal(z[...], expected) and np.array_equal(z[5, 3:], expected[5, 3:])
            with pytest.raises(ArgumentError, match="covers only a part"):
                z[0, 0] = 1
            if sharded:
                with pytest.raises(ArgumentError, match="covers only a part"):
                    z[1] = x[2]
            else:
                z[1] = x[2]
                expected[1] = coded(codec, x[2:3], "nhwc", (1, 16, 16, 3))[0]
            z[4:] = x[:4]
            expected[4:] = coded(codec, x[:4], "nhwc", (1, 16, 16, 3))
            assert np.array_equal(z[...], expected)


def test_synchronous_reads_and_writes(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As newer pipelines call them, of any zarr: a place that is read and written without a loop."""

    class Place:
        stored: Any = None

        def get_sync(self, prototype: Any, byte_range: Any = None) -> Any:
            if self.stored is None or byte_range is None:
                return self.stored
            return self.stored[byte_range.start : byte_range.end]

        def set_sync(self, value: Any) -> None:
            self.stored = value

        def delete_sync(self) -> None:
            self.stored = None

        def __str__(self) -> str:
            return "c/0"

    x, place = images(4, 16, 16), Place()
    serializer = SignalCodec.of(codec, "nhwc")
    prototype = zarr.core.buffer.default_buffer_prototype()
    spec = zarr.core.array_spec.ArraySpec(
        x.shape, zarr.dtype.UInt8(), 0, zarr.core.array_spec.ArrayConfig("C", False), prototype
    )
    everything = (slice(0, 4), slice(0, 16), slice(0, 16), slice(0, 3))
    one = (slice(2, 3), *everything[1:])
    assert serializer._decode_partial_sync(place, one, spec) is None
    serializer._encode_partial_sync(place, prototype.nd_buffer.from_numpy_array(x), everything, spec)
    expected = coded(codec, x, "nhwc", x.shape)
    with counted(monkeypatch, type(codec), "decompress_into") as calls:
        found = serializer._decode_partial_sync(place, one, spec)
    assert found is not None and np.array_equal(found.as_numpy_array(), expected[2:3])
    assert [len(blobs) for blobs in calls] == [1]
    row = (slice(2, 3), slice(0, 1), *everything[2:])
    with pytest.raises(ArgumentError, match="chunk c/0: this write covers only a part"):
        serializer._encode_partial_sync(place, prototype.nd_buffer.from_numpy_array(x[:1, :1]), row, spec)
    whole = serializer._decode_sync(place.stored, spec)
    assert np.array_equal(whole.as_numpy_array(), expected)
    serializer._encode_partial_sync(place, prototype.nd_buffer.from_numpy_array(np.zeros_like(x)), everything, spec)
    assert place.stored is None


def test_partial_writes_beside_a_compressor_are_refused(codec: Any) -> None:
    x = images(2, 16, 16)
    z = make(codec, x.shape, (1, 16, 16, 3), compressors="auto")
    z[...] = x
    with pytest.raises(ArgumentError, match="covers only a part"):
        z[0, 0] = 1
    z[0] = x[1]
    assert np.array_equal(z[0], z[1]) and type(z[0]) is np.ndarray
    z = make(
        codec, x.shape, (1, 16, 16, 3), compressors="auto",
        serializer=SignalCodec.of(codec, "nhwc", partial_writes="allow"),
    )  # fmt: skip
    z[...] = x
    z[0, 0] = 1


def test_a_codec_inside_a_running_event_loop(codec: Any) -> None:
    """The codec calls none of Zarr's synchronous functions, which would wait for the loop that it runs on."""

    async def go() -> np.ndarray:
        z = await zarr.api.asynchronous.create_array(
            MemoryStore(), shape=(2, 16, 16, 3), chunks=(1, 16, 16, 3), dtype="uint8", compressors=None,
            serializer=SignalCodec.of(codec, "nhwc"),
        )  # fmt: skip
        await z.setitem(slice(None), images(2, 16, 16))
        return await z.getitem(slice(None))

    assert np.array_equal(asyncio.run(go()), coded(codec, images(2, 16, 16), "nhwc", (1, 16, 16, 3)))


# ---- registration, metadata, errors


def test_names_begin_with_what_is_to_be_installed() -> None:
    """Without the plugin Zarr says only the codec's name."""
    from importlib.metadata import entry_points

    for group in ("zarr.codecs", "numcodecs.codecs"):
        names = {e.name for e in entry_points(group=group) if e.value.startswith("latentstore.")}
        assert names == {"latentstore.signal", "latentstore.latent"}


def test_a_process_that_imports_nothing_reads_and_writes(codec: Any, tmp_path: Path) -> None:
    z = latentstore.zarr.create(tmp_path / "a.zarr", "image", (3, 16, 16, 3), codec=codec, shards=(3, 16, 16, 3))
    z[...] = x = images(3, 16, 16)
    program = f"""
import zarr, sys
z = zarr.open_array({str(tmp_path / "a.zarr")!r}, path="image", mode="r+")
z[2] = z[0]
assert not {{"torch", "dask"}} & set(sys.modules)
print(z[...].sum())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == int(z[...].sum()) and z.shape == x.shape


def test_opening_loads_no_model(codec: Any, tmp_path: Path) -> None:
    """Codecs are made, evolved and validated whenever an array is opened or resized."""
    latentstore.zarr.create(tmp_path / "a.zarr", "image", (3, 16, 16, 3), codec=codec)
    program = f"""
import zarr
from latentstore.codecs import load as codec_home
z = zarr.open_array({str(tmp_path / "a.zarr")!r}, path="image", mode="r+")
z.resize((5, 16, 16, 3)); z.attrs["a"] = 1
assert not codec_home._registered
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_in_the_wrong_slot(codec: Any) -> None:
    for slot in ("compressors", "filters"):
        with pytest.raises(TypeError):
            zarr.create_array(MemoryStore(), shape=(8, 8, 3), dtype="uint8", **{slot: SignalCodec.of(codec, "hwc")})
    with pytest.raises(ArgumentError, match="name 3 axes, the array has 0"):
        zarr.create_array(
            MemoryStore(), shape=(), dtype="uint8", serializer=SignalCodec.of(codec, "hwc"), compressors=None
        )


@pytest.mark.parametrize("shape", [(0, 16, 16, 3), (2, 0, 16, 3), (2, 16, 0, 3)])
def test_arrays_without_pixels(codec: Any, shape: tuple[int, ...]) -> None:
    z = make(codec, shape, tuple(max(1, n) for n in shape))
    z[...] = np.zeros(shape, np.uint8)
    assert z[...].shape == shape


def test_v2_arrays_have_no_fill_value(codec: Any) -> None:
    """xarray takes the fill value of a v2 array for missing data, and every 0 for NaN."""
    z = latentstore.zarr.create(MemoryStore(), "x", (2, 16, 16, 3), codec=codec, zarr_format=2)
    assert z.fill_value is None and not z[...].any()
    with pytest.raises(ArgumentError, match="no fill value"):
        latentstore.zarr.create(MemoryStore(), "x", (2, 16, 16, 3), codec=codec, zarr_format=2, fill_value=3)


def test_groups_and_consolidated_metadata(codec: Any, tmp_path: Path) -> None:
    x = images(2, 16, 16)
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    latentstore.zarr.create(root, "train/image", x.shape, codec=codec, data=x)
    latentstore.zarr.create(root.require_group("test"), "image", x.shape, codec=codec, data=x)
    with pytest.warns(UserWarning, match="Consolidated metadata is currently not part"):
        zarr.consolidate_metadata(LocalStore(tmp_path / "a.zarr"))
    group = zarr.open_consolidated(tmp_path / "a.zarr")
    assert np.array_equal(group["train/image"][...], group["test/image"][...])
    with pytest.raises(ArgumentError, match="a group of Zarr v3"):
        latentstore.zarr.create(root, "old", x.shape, codec=codec, zarr_format=2)
