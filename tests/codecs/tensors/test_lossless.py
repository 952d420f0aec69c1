"""The coding `lossless` gives every bit back, of any values, whatever it was fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import CorruptError
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.declaration import DTYPES, Tensor
from latentstore.codecs.tensors.frame import join_frame
from latentstore.codecs.tensors.lossless import PLANES, RAW, TOKENS
from latentstore.codecs.tensors.values import bits_of


def typical(name: str, seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Values as they may be expected of a type."""
    x = np.random.default_rng(seed).normal(size=shape)
    return (x * (1 if name in ("float32", "float16", "bfloat16") else 20)).clip(-100, 100).astype(DTYPES[name])


def kind(blob: bytes, rank: int) -> int:
    """The first byte of the payload of a tensor whose sides are below 128."""
    return blob[2 + rank + 4]


@pytest.fixture(scope="module", params=DTYPES)
def fitted(request: Any) -> TensorCoder:
    if request.param == "uint8":
        arrays = [np.abs(typical("int8", i, (3, 10, 10))).astype(np.uint8) for i in range(8)]
    else:
        arrays = [typical(request.param, i, (3, 10, 10)) for i in range(8)]
    return TensorCoder.fit(Tensor(request.param), arrays)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_bits(fitted: TensorCoder, data: st.DataObject) -> None:
    """NaN of every payload, infinities, negative zero and the like among them."""
    shape = tuple(data.draw(st.lists(st.integers(0, 9), max_size=4)))
    size = int(np.prod(shape)) * fitted.tensor.values.itemsize
    drawn = data.draw(st.binary(min_size=size, max_size=size) | st.just(b"\x7f\xff\xff\x01" * size))[:size]
    array = np.frombuffer(drawn, fitted.tensor.values).reshape(shape)
    blob = fitted.encode([array])[0]
    found = fitted.decode(Blobs.whole([blob]))[0]
    assert found.shape == shape and found.tobytes() == drawn
    assert len(blob) <= size + 1 + 6 + 4 * len(shape)


def test_every_float16_and_bfloat16() -> None:
    for name in ("float16", "bfloat16"):
        every = np.arange(1 << 16, dtype=np.uint16).view(DTYPES[name])
        for samples in ([], [typical(name, 0, (4000,))]):
            coder = TensorCoder.fit(Tensor(name), samples)
            assert (
                coder.decode_stacked(Blobs.whole(coder.encode([every, every[::-1]]))).tobytes()
                == np.stack([every, every[::-1]]).tobytes()
            )


def test_what_each_kind_of_array_is_stored_as() -> None:
    coder = TensorCoder.fit(Tensor("float16"), [typical("float16", i, (3, 10, 10)) for i in range(8)])
    like = typical("float16", 9, (3, 10, 10))
    noise = np.random.default_rng(0).integers(0, 1 << 16, (3, 10, 10)).astype(np.uint16).view(np.float16)
    rows = np.tile(typical("float16", 1, (1, 1, 100)), (1, 60, 1))
    blobs = coder.encode([like, noise, rows, np.float16(1)])
    assert [kind(blob, 3) for blob in blobs[:3]] == [TOKENS, RAW, PLANES] and kind(blobs[3], 0) == RAW
    assert len(blobs[2]) < rows.nbytes / 10
    assert len(TensorCoder.fit(Tensor("float16"), []).encode([like])[0]) <= like.nbytes + 10


def test_low_bits_that_are_always_zero_are_not_coded() -> None:
    """float32 that were float16 before; and those that were not are stored all the same."""
    arrays = [typical("float16", i, (3, 10, 10)).astype(np.float32) for i in range(8)]
    coder = TensorCoder.fit(Tensor("float32"), arrays)
    others = [typical("float32", 20, (3, 10, 10)), typical("float16", 21, (3, 10, 10)).astype(np.float32)]
    blobs = coder.encode(others)
    assert len(blobs[1]) < 0.5 * others[1].nbytes
    found = coder.decode(Blobs.whole(blobs))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(found, others, strict=True))


def test_zeros_of_a_rectifier_take_no_mantissa() -> None:
    arrays = [np.maximum(typical("float32", i, (8, 100)), 0) for i in range(8)]
    coder = TensorCoder.fit(Tensor("float32"), arrays)
    bits = 8 * sum(map(len, coder.encode(arrays))) / sum(array.size for array in arrays)
    assert bits < 1 + 0.5 * 27


@pytest.mark.parametrize("axis", [0, 1, -1, 5])
def test_channels_along_any_axis(axis: int, path: str) -> None:
    rng = np.random.default_rng(0)
    scale = np.geomspace(1e-3, 1e3, 6)
    arrays = [rng.normal(size=(6, 6, 6)).astype(np.float32) * scale.reshape(-1, 1, 1) for _ in range(6)]
    arrays = [np.moveaxis(array, 0, axis if axis < 3 else 0).astype(np.float32).copy() for array in arrays]
    coder = TensorCoder.fit(Tensor("float32", channel_axis=axis), arrays)
    blobs = coder.encode([*arrays[:2], arrays[2][:5, :5, :5], arrays[3][:, 0]])
    found = coder.decode(Blobs.whole(blobs))
    for a, b in zip(found, [*arrays[:2], arrays[2][:5, :5, :5], arrays[3][:, 0]], strict=True):
        assert a.tobytes() == b.tobytes()


def test_samples_of_many_shapes() -> None:
    arrays = [typical("float16", i, (i % 4 + 1, 20, i + 1)) for i in range(30)] + [np.zeros((0, 3), np.float16)]
    coder = TensorCoder.fit(Tensor("float16"), arrays)
    found = coder.decode(Blobs.whole(coder.encode(arrays)))
    assert all(bits_of(a).tolist() == bits_of(b).tolist() for a, b in zip(found, arrays, strict=True))


def test_hostile_planes() -> None:
    """zstd frames that hold more or less than the shape, say nothing of it, are cut short or damaged."""
    zstd = pytest.importorskip("numcodecs.zstd")
    coder = TensorCoder.fit(Tensor("float16"), [])
    digest, values = bytes.fromhex(coder.sha256), np.zeros(5000, np.float16)
    good = zstd.compress(values.tobytes(), 3)
    unsaid = good[:4] + bytes([good[4] & 0x1F]) + b"\0" + good[5:]
    cases = [good[:n] for n in range(len(good))] + [good[:-1] + b"\xff", unsaid, b"", b"\0" * 30]
    cases += [zstd.compress(bytes(n), 3) for n in (0, 9999, 10001, 1 << 24)]
    for payload in cases:
        blob = join_frame("lossless", (5000,), bytes([PLANES]) + payload, digest)
        with pytest.raises(CorruptError, match="Tensor blob 1") as caught:
            coder.decode(Blobs.whole([join_frame("lossless", (5000,), bytes([PLANES]) + good, digest), blob]))
        assert caught.value.index == 1
    for kind, rest in [(3, b"abc"), (TOKENS, good), (RAW, bytes(9999)), (RAW, bytes(10001))]:
        with pytest.raises(CorruptError, match="Tensor blob 0"):
            coder.decode(Blobs.whole([join_frame("lossless", (5000,), bytes([kind]) + rest, digest)]))
