"""The numcodecs codecs: in Zarr v2 arrays of either memory order, and called by themselves."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore
from zarr_arrays import coded, images, latents

import latentstore
from latentstore.codecs.arrays.numcodecs_codec import LatentV2, SignalV2
from latentstore.codecs.errors import ArgumentError, CorruptError, UnsupportedVersionError


def make(compressor: Any, shape: tuple[int, ...], chunks: tuple[int, ...], **options: Any) -> zarr.Array:
    dtype = options.pop("dtype", compressor.dtype)
    return zarr.create_array(
        options.pop("store", None) or MemoryStore(), zarr_format=2, shape=shape, chunks=chunks, dtype=dtype,
        compressors=compressor, filters=None, fill_value=options.pop("fill_value", None), **options,
    )  # fmt: skip


# ---- by themselves


@pytest.mark.parametrize("kind", ["signal", "latent"])
def test_configuration(codec: Any, kind: str) -> None:
    made = SignalV2.of(codec, "nhwc", fill_value=np.uint8(3)) if kind == "signal" else LatentV2.of(codec, fill_value=-3)
    config = made.get_config()
    assert json.loads(json.dumps(config)) == config and config["id"] == f"latentstore.{kind}"
    again = numcodecs.get_codec(dict(config))
    assert again == made and again.get_config() == config and hash(again) == hash(made)
    assert pickle.loads(pickle.dumps(made)) == made and len(pickle.dumps(made)) < 800
    assert kind.title() in repr(made) and codec.sha256 in repr(made)
    for bad, error in (
        ({**config, "level": 3}, ArgumentError),
        ({**config, "version": 2}, UnsupportedVersionError),
        ({k: v for k, v in config.items() if k != "fill_value"}, ArgumentError),
        ({**config, "fill_value": 300}, ArgumentError),
    ):
        with pytest.raises(error):
            numcodecs.get_codec(dict(bad))


@pytest.mark.parametrize("kind", ["signal", "latent"])
def test_shape_and_memory_order_are_carried(codec: Any, kind: str) -> None:
    x = images(3, 16, 24) if kind == "signal" else latents(3, 4, 5)
    made = SignalV2.of(codec, "nhwc") if kind == "signal" else LatentV2.of(codec)
    expected = coded(codec, x, "nhwc", x.shape) if kind == "signal" else x
    for given_ in (x, np.asfortranarray(x), np.repeat(x, 2, axis=2)[:, :, ::2], x[::-1][::-1]):
        blob = made.encode(given_)
        assert isinstance(blob, bytes)
        out = made.decode(blob)
        assert np.array_equal(out, expected) and out.dtype == x.dtype
        assert out.flags.f_contiguous == (given_.flags.f_contiguous and not given_.flags.c_contiguous)
    for buffer in (
        bytearray(blob),
        memoryview(blob),
        np.frombuffer(blob, np.uint8),
        np.frombuffer(blob + b"", "S1"),
    ):
        assert np.array_equal(made.decode(buffer), expected)
    room = np.empty_like(x)
    assert made.decode(blob, out=room) is room and np.array_equal(room, expected)
    with pytest.raises(ValueError):
        made.decode(blob, out=np.empty(7, x.dtype))


@pytest.mark.parametrize("kind", ["signal", "latent"])
def test_out_is_checked(codec: Any, kind: str) -> None:
    x = images(3, 16, 24) if kind == "signal" else latents(3, 4, 5)
    made = SignalV2.of(codec, "nhwc") if kind == "signal" else LatentV2.of(codec)
    for given_ in (x, np.asfortranarray(x)):
        blob = made.encode(given_)
        expected = made.decode(blob)
        for order in ("C", "F"):
            room = np.empty(x.shape, x.dtype, order=order)  # type: ignore[call-overload]
            assert made.decode(blob, out=room) is room and np.array_equal(room, expected)
        flat = np.empty(x.size, x.dtype)
        assert made.decode(blob, out=flat) is flat and np.array_equal(flat, expected.ravel(order="A"))
    if kind == "signal":
        buffer = bytearray(x.size)
        assert made.decode(blob, out=buffer) is buffer and buffer == expected.tobytes(order="A")
    other = np.dtype(np.int8 if kind == "signal" else np.uint8)
    turned = (x.shape[1], x.shape[0], *x.shape[2:])
    read_only = np.zeros_like(x)
    read_only.flags.writeable = False
    for bad in (
        np.zeros(x.shape, other), np.zeros(x.shape, np.float32), np.zeros((x.size // 4,), "i4"),
        np.zeros((x.size + 1,), x.dtype), np.zeros((x.size - 1,), x.dtype), np.zeros((2, *x.shape), x.dtype),
        np.zeros((1, *x.shape), x.dtype), np.zeros(turned, x.dtype), np.zeros((), x.dtype),
        np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2], read_only, bytes(x.size),
    ):  # fmt: skip
        before = np.asarray(bad).copy()
        with pytest.raises(ArgumentError, match=r"out must be a writable, contiguous .* it is"):
            made.decode(blob, out=bad)
        assert np.array_equal(before, bad if isinstance(bad, np.ndarray) else np.asarray(bad))


@pytest.mark.parametrize("shape", [(0, 16, 16, 3), (3, 0, 16, 3), (3, 16, 0, 3), (0, 0, 0, 3)])
def test_arrays_of_no_pixels(codec: Any, shape: tuple[int, ...]) -> None:
    made = SignalV2.of(codec, "nhwc")
    blob = made.encode(np.zeros(shape, np.uint8))
    assert made.decode(blob).shape == shape and made.decode(blob).dtype == np.uint8
    room = np.zeros(shape, np.uint8)
    assert made.decode(blob, out=room) is room
    for bad in (blob[:-1], blob + b"0"):
        with pytest.raises(latentstore.LatentstoreError):
            made.decode(bad)


@pytest.mark.parametrize("channels", [1, 12, 48])
def test_arrays_of_no_latents(codec: Any, channels: int) -> None:
    made = LatentV2.of(codec)
    blob = made.encode(np.zeros((0, channels, 4, 5), np.int8))
    assert made.decode(blob).shape == (0, channels, 4, 5) and made.decode(blob).dtype == np.int8


@pytest.mark.parametrize("dtype", ["int8", "float32", ">u2", "uint16", "bool", "S1"])
def test_other_types_are_refused_when_encoding(codec: Any, dtype: str) -> None:
    x = np.zeros((1, 8, 8, 3), dtype)
    with pytest.raises(ArgumentError, match="stores uint8 arrays, not"):
        SignalV2.of(codec, "nhwc").encode(x)
    if dtype != "int8":
        with pytest.raises(ArgumentError, match="stores int8 arrays, not"):
            LatentV2.of(codec).encode(x)


def test_other_shapes_are_refused_when_encoding(codec: Any) -> None:
    for shape in ((8, 8, 3), (1, 8, 8, 4), (192,), ()):
        with pytest.raises(ArgumentError):
            SignalV2.of(codec, "nhwc").encode(np.zeros(shape, np.uint8))
    with pytest.raises(ArgumentError):
        LatentV2.of(codec).encode(np.zeros((48, 4, 5), np.int8))


@pytest.mark.parametrize("kind", ["signal", "latent"])
def test_damage_is_an_error(codec: Any, kind: str) -> None:
    x = images(2, 9, 9) if kind == "signal" else latents(2, 2, 2)
    made = SignalV2.of(codec, "nhwc") if kind == "signal" else LatentV2.of(codec)
    blob = made.encode(x)
    for at in range(len(blob)):
        flipped = bytearray(blob)
        flipped[at] ^= 1 << at % 8
        for bad in (bytes(flipped), blob[:at]):
            with pytest.raises(latentstore.LatentstoreError):
                made.decode(bad)
    with pytest.raises(CorruptError):
        made.decode(blob + b"\0")


def test_a_forged_shape_takes_no_memory(codec: Any) -> None:
    from latentstore.codecs.bitstream.checksum import crc32c

    made = SignalV2.of(codec, "nhwc")
    blob = bytearray(made.encode(images(1, 8, 8))[:-1])
    blob[10:14] = (2**31).to_bytes(4, "little")
    end = 10 + 4 * 5 + 4
    blob[end : end + 4] = crc32c(bytes(blob[:end])).to_bytes(4, "little")
    with pytest.raises(CorruptError, match="claims shape"):
        made.decode(bytes(blob))


# ---- in Zarr v2


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("fortran", [False, True])
def test_neither_memory_order_scrambles_pixels(codec: Any, order: str, fortran: bool) -> None:
    """V2Codec flattens what is decoded in the order it lies in memory and takes it for the array's own."""
    x = images(4, 16, 24)
    z = make(SignalV2.of(codec, "nhwc"), x.shape, (2, 16, 24, 3), order=order)
    z[...] = np.asfortranarray(x) if fortran else x
    assert np.array_equal(z[...], coded(codec, x, "nhwc", (2, 16, 24, 3)))
    y = latents(4, 4, 5)
    z = make(LatentV2.of(codec), y.shape, (2, 24, 4, 5), order=order)
    z[...] = np.asfortranarray(y) if fortran else y
    assert np.array_equal(z[...], y)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_shape_chunks_and_order(codec: Any, data: st.DataObject) -> None:
    axes = data.draw(st.sampled_from(["hwc", "nhwc", "nchw"]))
    shape = tuple(3 if a == "c" else data.draw(st.integers(1, 4 if a == "n" else 25)) for a in axes)
    chunks = tuple(3 if a == "c" else data.draw(st.integers(1, n + 2)) for a, n in zip(axes, shape, strict=True))
    fill = data.draw(st.sampled_from([0, 9]))
    x = np.random.default_rng(data.draw(st.integers(0, 999))).integers(0, 256, shape).astype(np.uint8)
    compressor = SignalV2.of(codec, axes, effort="fast", fill_value=fill)
    z = make(compressor, shape, chunks, fill_value=fill, order=data.draw(st.sampled_from(["C", "F"])))
    z[...] = x
    assert np.array_equal(z[...], coded(codec, x, axes, chunks, fill, effort="fast"))


def test_zarr_v2_checks_no_type_but_the_codec_does(codec: Any) -> None:
    z = make(SignalV2.of(codec, "nhwc"), (2, 8, 8, 3), (1, 8, 8, 3), dtype="float32")
    with pytest.raises(ArgumentError, match="stores uint8 arrays, not float32"):
        z[0] = 1
    z = make(SignalV2.of(codec, "nhwc"), (2, 8, 8, 3), (1, 8, 8, 3), dtype=">u2")
    with pytest.raises(ArgumentError, match="not >u2"):
        z[0] = 1


def test_serializer_is_not_for_v2(codec: Any) -> None:
    from latentstore.codecs.arrays.zarr_codec import SignalCodec

    with pytest.raises(ValueError, match="serializer"):
        zarr.create_array(
            MemoryStore(),
            shape=(8, 8, 3),
            dtype="uint8",
            zarr_format=2,
            serializer=SignalCodec.of(codec, "hwc"),
        )


def test_a_process_that_imports_nothing_reads_it(codec: Any, tmp_path: Any) -> None:
    x = images(2, 16, 16)
    z = make(SignalV2.of(codec, "nhwc"), x.shape, (1, 16, 16, 3), store=zarr.storage.LocalStore(tmp_path / "a"))
    z[...] = x
    program = f"import zarr; print(zarr.open_array({str(tmp_path / 'a')!r})[...].sum())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == int(z[...].sum())


def test_stored_bytes_do_not_alias(codec: Any) -> None:
    x = latents(2, 4, 5)
    z = make(LatentV2.of(codec), x.shape, (1, 12, 4, 5))
    given_ = x.copy()
    z[...] = given_
    given_[...] = 9
    assert np.array_equal(z[...], x)
