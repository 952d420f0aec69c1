"""Coders: their files, calls for many tensors, and what goes wrong in them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from latentstore.codecs.artifact.container import pack, unpack
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, ArtifactError, CorruptError, LatentstoreError
from latentstore.codecs.tensors.coder import KEY, TensorCoder
from latentstore.codecs.tensors.declaration import Tensor


def samples(count: int = 12, dtype: Any = np.float16, shape: tuple[int, ...] = (4, 9, 11)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    scale = np.geomspace(0.1, 10, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return [(rng.normal(size=shape) * scale).astype(dtype) for _ in range(count)]


@pytest.fixture(scope="module")
def coder() -> TensorCoder:
    return TensorCoder.fit(Tensor("float16"), samples())


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_file_and_back(coder: TensorCoder) -> None:
    again = TensorCoder.of_bytes(coder.to_bytes(), "a file")
    assert again.to_bytes() == coder.to_bytes() and again.sha256 == coder.sha256 and again.tensor == coder.tensor
    blobs = Blobs.whole(coder.encode(samples()))
    for other in (again, pickle.loads(pickle.dumps(coder))):
        assert all(map(same, other.decode(blobs), samples()))
        assert other.encode(samples()) == coder.encode(samples())
    assert TensorCoder.fit(Tensor("float16"), samples()).sha256 == coder.sha256


def test_a_sample_takes_fewer_bytes_than_the_values(coder: TensorCoder) -> None:
    blobs = coder.encode(samples())
    assert sum(map(len, blobs)) < 0.93 * sum(array.nbytes for array in samples())


def test_three_ways_to_decode(coder: TensorCoder, path: str) -> None:
    coder = TensorCoder.of_bytes(coder.to_bytes(), "a file")  # whose tables this path makes
    arrays = samples(3)
    blobs = Blobs.whole(coder.encode(arrays))
    assert same(coder.decode_stacked(blobs), np.stack(arrays))
    outputs = [np.zeros_like(array) for array in arrays]
    coder.decode_into(blobs, outputs)
    assert all(map(same, outputs, arrays))
    mixed = [arrays[0], arrays[1][:3], arrays[2][0, 0], np.float16(3.5), np.zeros((4, 0, 2), np.float16)]
    found = coder.decode(Blobs.whole(coder.encode(mixed)))
    assert all(map(same, found, map(np.asarray, mixed)))
    assert coder.shapes(Blobs.whole(coder.encode(mixed))) == [np.shape(array) for array in mixed]
    scalars = Blobs.whole(coder.encode([np.float16(1), np.float16(2)]))
    assert coder.decode_stacked(scalars).tolist() == [1, 2]
    assert coder.decode(Blobs.whole([])) == [] and coder.encode([]) == [] and coder.shapes(Blobs.whole([])) == []


def test_blobs_in_one_buffer(coder: TensorCoder) -> None:
    blobs = coder.encode(samples(3))
    length = np.array([len(blob) for blob in blobs])
    start = np.cumsum(length) - length + 5
    one = np.frombuffer(b"?????" + b"".join(blobs), np.uint8)
    order = np.array([2, 0, 1])
    some = Blobs([b"", one], np.ones(3, np.int32), start[order], length[order])
    assert all(map(same, coder.decode(some), [samples(3)[i] for i in order]))


def test_torch_tensors(coder: TensorCoder) -> None:
    torch = pytest.importorskip("torch")
    assert coder.encode([torch.from_numpy(array) for array in samples(2)]) == coder.encode(samples(2))


@pytest.mark.parametrize(
    ("call", "said", "index"),
    [
        (lambda c, b: c.encode([samples(1)[0], np.zeros(3)]), "float64", 1),
        (lambda c, b: c.decode_into(b, [*samples(2), np.zeros(3, np.float16)]), "Output 2", 2),
        (lambda c, b: c.decode_into(b, [np.zeros((9, 4, 11), np.float16).swapaxes(0, 1)] * 3), "Output 0", 0),
        (lambda c, b: c.decode_into(b, [np.zeros((4, 9, 11), np.float32)] * 3), "float32", 0),
        (lambda c, b: c.decode_into(b, [np.broadcast_to(np.float16(0), (4, 9, 11))] * 3), "to write to", 0),
        (lambda c, b: c.decode_into(b, []), "0 outputs", None),
        (lambda c, b: c.decode_stacked(Blobs.whole([])), "No blobs", None),
        (lambda c, b: c.decode_stacked(Blobs.whole([b[0], *c.encode([np.float16(1)])])), "blob 1 has the shape ()", 1),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(coder: TensorCoder, call: Any, said: str, index: int | None) -> None:
    with pytest.raises(ArgumentError) as caught:
        call(coder, Blobs.whole(coder.encode(samples(3))))
    assert said in str(caught.value) and caught.value.index == index


@pytest.mark.parametrize("coding", ["lossless", "codes"])
def test_hostile_blobs(coding: Any, path: str) -> None:
    """Whatever bytes a payload has, its decoder gives values or one of our errors; checksums are made to match."""
    from latentstore.codecs.tensors.frame import join_frame

    tensor = Tensor("int16", coding, vocabulary=300 if coding == "codes" else None)
    arrays = [np.minimum(np.abs(array * 10), 299).astype(np.int16) for array in samples(2, np.float32, (4, 40))]
    coder = TensorCoder.fit(tensor, arrays)
    blobs = coder.encode(arrays)
    rng = np.random.default_rng(1)
    digest = bytes.fromhex(coder.sha256)
    payload = blobs[0][8:]  # two bytes, two sides of one byte each, and the checksum
    assert join_frame(coding, (4, 40), payload, digest) == blobs[0]
    refused = 0
    for _ in range(60):
        bad = bytearray(payload[: int(rng.integers(0, len(payload) + 1))] if rng.integers(2) else payload)
        if bad:
            bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
        try:
            coder.decode(Blobs.whole([blobs[1], join_frame(coding, (4, 40), bytes(bad), digest)]))
        except CorruptError as error:
            assert error.index == 1 and "Tensor blob 1" in str(error)
            refused += 1
    assert refused > 20


def test_hostile_files(coder: TensorCoder) -> None:
    good = coder.to_bytes()
    facts, parts = unpack(good, "x", KEY, 1, "tensor coder")
    freq = parts["freq"].copy()
    freq[0, 0] += 1
    for content in [
        b"", good[:100], good[:-1], good + b"\0", pack(KEY, 1, {}, parts), pack(KEY, 1, {"tensor": 5}, parts),
        pack(KEY, 1, {"tensor": Tensor("float32").to_json()}, parts),
        pack(KEY, 1, {"tensor": Tensor("int16", "codes", vocabulary=9).to_json()}, parts),
        pack(KEY, 1, {"tensor": facts["tensor"]}, parts | {"freq": freq}),
        pack(KEY, 1, {"tensor": facts["tensor"]}, parts | {"more": freq}),
        pack(KEY, 1, {"tensor": facts["tensor"]}, parts | {"base": parts["base"].astype(np.int32)}),
        pack(KEY, 1, {"tensor": facts["tensor"]}, {k: v for k, v in parts.items() if k != "table"}),
        pack("latentstore", 1, {"tensor": facts["tensor"]}, parts),
    ]:  # fmt: skip
        with pytest.raises(ArtifactError, match="the file"):
            TensorCoder.of_bytes(content, "the file")
    with pytest.raises(LatentstoreError, match="upgrade"):
        TensorCoder.of_bytes(pack(KEY, 2, {"tensor": facts["tensor"]}, parts), "the file")
