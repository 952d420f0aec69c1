"""The coding `codes`: every code below the vocabulary, in about its entropy, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.declaration import Tensor


def tokens(books: int, vocabulary: int, count: int, length: int, seed: int = 0) -> tuple[list[np.ndarray], float]:
    """count arrays int32 (books, length), and their entropy in bits a code."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(vocabulary, 0.3), books)
    drawn = [[rng.choice(vocabulary, length, p=share) for share in shares] for _ in range(count)]
    entropy = -(shares * np.log2(shares + 1e-300)).sum(1).mean()
    return [np.array(one, np.int32) for one in drawn], float(entropy)


def bits(coder: TensorCoder, arrays: list[np.ndarray]) -> float:
    return 8 * sum(map(len, coder.encode(arrays))) / sum(array.size for array in arrays)


@pytest.mark.parametrize("vocabulary", [256, (256,) * 4])
def test_about_the_entropy(vocabulary: Any, path: str) -> None:
    arrays, entropy = tokens(4, 256, 120, 300)
    coder = TensorCoder.fit(Tensor("int32", "codes", vocabulary=vocabulary), arrays[:100])
    blobs = coder.encode(arrays[100:104])
    assert all(np.array_equal(a, b) for a, b in zip(coder.decode(Blobs.whole(blobs)), arrays[100:], strict=False))
    if path != "reference":
        assert entropy < bits(coder, arrays[100:]) < entropy + 0.25 < 8


def test_codebooks_of_their_own_sizes_along_any_axis() -> None:
    rng = np.random.default_rng(0)
    sizes = (5, 300, 1, 1024)
    arrays = [np.stack([rng.integers(0, size, (7, 3)) for size in sizes], 1).astype(np.int16) for _ in range(20)]
    coder = TensorCoder.fit(Tensor("int16", "codes", vocabulary=sizes, channel_axis=1), arrays)
    again = TensorCoder.of_bytes(coder.to_bytes(), "the file")
    assert np.array_equal(again.decode_stacked(Blobs.whole(coder.encode(arrays))), np.stack(arrays))
    for bad, said in [
        (np.full((7, 4, 3), 5, np.int16), "(0, 0, 0)"),
        (np.where(np.arange(84).reshape(7, 4, 3) == 6, 1, np.zeros((7, 4, 3))).astype(np.int16), "(0, 2, 0)"),
        (np.zeros((7, 3, 4), np.int16), "4 codebooks"), (np.zeros(7, np.int16), "4 codebooks"),
    ]:  # fmt: skip
        with pytest.raises(ArgumentError) as caught:
            coder.encode([arrays[0], bad])
        assert caught.value.index == 1 and said in str(caught.value)


@pytest.mark.parametrize(("dtype", "vocabulary"), [("uint8", 256), ("int8", 128), ("int16", 32768), ("int32", 65536)])
def test_every_code_can_be_coded(dtype: str, vocabulary: int) -> None:
    every = np.arange(vocabulary, dtype=dtype)
    for samples in ([], [np.zeros(3000, dtype)], [every]):
        coder = TensorCoder.fit(Tensor(dtype, "codes", vocabulary=vocabulary), samples)
        assert np.array_equal(coder.decode_stacked(Blobs.whole(coder.encode([every])))[0], every)
    if dtype != "uint8":
        with pytest.raises(ArgumentError, match=r"Tensor 1: The code -1 at \(1,\)") as caught:
            coder.encode([every, np.array([0, -1], dtype)])
        assert caught.value.index == 1


def test_codes_beyond_the_vocabulary_in_a_sample() -> None:
    with pytest.raises(ArgumentError, match=r"The code 9 at \(1,\) is not in 0 to 8"):
        TensorCoder.fit(Tensor("int16", "codes", vocabulary=9), [np.array([0, 9], np.int16)])


def test_one_code_takes_next_to_nothing() -> None:
    arrays = [np.full((16, 16), 7, np.uint8)] * 4
    coder = TensorCoder.fit(Tensor("uint8", "codes", vocabulary=256), arrays)
    assert len(coder.encode(arrays)[0]) <= 16
    none = np.zeros((0, 5), np.uint8)
    assert coder.decode(Blobs.whole(coder.encode([none])))[0].shape == (0, 5)


def test_no_order_of_codes_is_supposed() -> None:
    arrays, _ = tokens(1, 1024, 100, 1000, seed=3)
    shuffled = [np.random.default_rng(5).permutation(1024)[array].astype(np.int32) for array in arrays]
    found = [
        bits(TensorCoder.fit(Tensor("int32", "codes", vocabulary=1024), a[:50]), a[50:]) for a in (arrays, shuffled)
    ]
    assert found[0] == pytest.approx(found[1], abs=0.02)


def test_a_long_sequence_of_few_codes_has_one_codebook() -> None:
    arrays = [np.random.default_rng(seed).integers(0, 16, 1 << 17).astype(np.uint8) for seed in range(2)]
    coder = TensorCoder.fit(Tensor("uint8", "codes", vocabulary=16), arrays)
    again = TensorCoder.of_bytes(coder.to_bytes(), "the file")
    assert np.array_equal(again.decode_stacked(Blobs.whole(coder.encode(arrays))), np.stack(arrays))
