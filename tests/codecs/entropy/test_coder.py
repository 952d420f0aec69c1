"""The entropy coder: kernel against reference, every vector path, every shape, every kind of latent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from random_models import KINDS, SHA256, latent, random_tables

from latentstore.codecs.native import kernel
from latentstore.codecs.reference import stand_in as reference
from latentstore.codecs.reference.coder import coding_order
from latentstore.codecs.reference.header import join_group, parse_group

pytestmark = pytest.mark.skipif(kernel is None, reason="no kernel was built: there is nothing to compare")

# Every number of lanes, and each on both sides of where it changes.
SHAPES = [
    (1, 1), (1, 9), (9, 1), (2, 2), (17, 31), (22, 23), (128, 4), (170, 3), (512, 1), (3, 200), (3, 40),
    (32, 32), (37, 29), (324, 4), (325, 7), (9, 144), (36, 36), (256, 8), (256, 7), (1, 1300), (45, 45),
    (48, 48), (128, 16), (61, 67), (64, 64), (128, 32), (2, 2048),
]  # fmt: skip


@pytest.fixture(autouse=True)
def best_path() -> Iterator[None]:
    yield
    if kernel is not None:
        kernel.force_path(None)


def decode(backend: ModuleType, coder: Any, blobs: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
    """All blobs in one call, each from its own place in one buffer."""
    result, out = attempt(backend, coder, blobs, shape)
    assert result == (0, -1)
    return out


def attempt(
    backend: ModuleType, coder: Any, blobs: list[bytes], shape: tuple[int, ...]
) -> tuple[tuple[int, int], np.ndarray]:
    """The same where a blob may be bad: (status, its index), and the latents."""
    gaps = [b"\xff" * (7 * i % 5) for i in range(len(blobs))]
    lengths = np.array([len(b) for b in blobs], np.int64)
    starts = np.cumsum([len(g) + len(b) for g, b in zip(gaps, blobs, strict=True)]) - lengths
    buffer = b"".join(g + b for g, b in zip(gaps, blobs, strict=True))
    out = np.full((len(blobs), *shape), 99, np.int8)
    source = np.zeros(len(blobs), np.int32)
    return backend.coder_decode(coder, [buffer], source, starts.astype(np.int64), lengths, out), out


def check_one(values: np.ndarray, tables: list[np.ndarray], precision: int, model: int) -> None:
    """Kernel and reference agree on everything about one latent, on every path."""
    slow = reference.coder_new(SHA256, precision, *tables)
    fast = kernel.coder_new(SHA256, precision, *tables)
    blob = reference.coder_encode(slow, model, 63, values)
    cost, contexts = reference.coder_cost(slow, model, values), reference.coder_contexts(slow, model, values)
    np.testing.assert_array_equal(decode(reference, slow, [blob], values.shape)[0], values)
    for path in kernel.kernel_paths():
        kernel.force_path(path)
        assert kernel.coder_encode(fast, model, 63, values) == blob
        np.testing.assert_array_equal(decode(kernel, fast, [blob], values.shape)[0], values)
        assert kernel.coder_cost(fast, model, values) == cost
        assert kernel.coder_contexts(fast, model, values) == contexts


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_kernel_and_reference_agree(shape: tuple[int, int]) -> None:
    for i, kind in enumerate(KINDS):
        check_one(latent(i, kind, 2, *shape), random_tables(i, channels=2), 11, i % 2)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    channels=st.integers(1, 5),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    precision=st.integers(8, 12),
    predicted=st.sampled_from([0.0, 0.5, 1.0]),
    strength=st.sampled_from([0.0, 1.0, 100.0]),
)
@example(1, "extreme", 32, 3, 5, 12, 1.0, 100.0)
@example(2, "extreme", 32, 2, 2, 8, 0.0, 100.0)
@example(3, "one", 32, 16, 33, 10, 0.5, 1.0)
def test_any_model_and_latent(
    seed: int,
    kind: str,
    channels: int,
    height: int,
    width: int,
    precision: int,
    predicted: float,
    strength: float,
) -> None:
    tables = random_tables(seed, 1, channels, 7, precision, predicted, strength)
    check_one(latent(seed, kind, channels, height, width), tables, precision, 0)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    predicted=st.sampled_from([0.0, 1.0]),
    trade=st.floats(0, 1, width=32),
)
def test_optimised_values_are_the_same(seed: int, height: int, width: int, predicted: float, trade: float) -> None:
    rng = np.random.default_rng(seed)
    tables = random_tables(seed, predicted=predicted)
    slow, fast = (b.coder_new(SHA256, 11, *tables) for b in (reference, kernel))
    coefficients = rng.laplace(0, rng.choice([0.3, 3, 80, 1e6]), (3, height, width)).astype(np.float32)
    weight, delta = rng.random(3).astype(np.float32), (rng.random((3, 2)) * 0.4).astype(np.float32)
    expected = np.empty(coefficients.shape, np.int8)
    bits = reference.coder_optimise(slow, 1, coefficients, weight, trade, delta, expected)
    for path in kernel.kernel_paths():
        kernel.force_path(path)
        out = np.empty(coefficients.shape, np.int8)
        assert kernel.coder_optimise(fast, 1, coefficients, weight, trade, delta, out) == bits
        np.testing.assert_array_equal(out, expected)
    if predicted or 3 * np.count_nonzero(expected.any(0)) >= height * width:  # else it is coded in the sparse form
        assert reference.coder_cost(slow, 1, expected) == bits
    if trade == 0 and not delta.any():
        np.testing.assert_array_equal(expected, np.clip(np.rint(coefficients), -127, 127))


@pytest.mark.parametrize("shape", [(5, 7), (325, 7), (36, 36), (48, 48), (64, 64)])
def test_many_blobs_in_one_call(shape: tuple[int, int]) -> None:
    """Blobs of several models, empty ones among them, in numbers that do not fill the lanes of a run."""
    tables = random_tables(5)
    fast = kernel.coder_new(SHA256, 11, *tables)
    values = np.stack([latent(i, KINDS[i % len(KINDS)], 3, *shape) for i in range(23)])
    blobs = [kernel.coder_encode(fast, i * 7 % 3 % 2, 0, v) for i, v in enumerate(values)]
    for path in kernel.kernel_paths():
        kernel.force_path(path)
        for count in (0, 1, 2, 3, 17, 23):
            np.testing.assert_array_equal(decode(kernel, fast, blobs[:count], (3, *shape)), values[:count])
        # two vectors side by side, whose lanes are of several models
        np.testing.assert_array_equal(decode(kernel, fast, blobs * 2, (3, *shape)), np.concatenate([values, values]))
    slow = reference.coder_new(SHA256, 11, *tables)
    np.testing.assert_array_equal(decode(reference, slow, blobs[:4], (3, *shape)), values[:4])


SPARSE = 2
"""The bit in the first byte of a blob."""


def scattered(seed: int, channels: int, height: int, width: int, share: float) -> np.ndarray:
    """Values of every size at some positions, zeros at all others."""
    rng = np.random.default_rng(seed)
    taken = rng.random((height, width)) < share
    size = rng.choice([0.3, 2.0, 60.0], (channels, height, width))
    values = np.clip(np.rint(rng.laplace(0, size)), -128, 127).astype(np.int8)
    return np.where(taken, values, np.int8(0))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 40), (40, 1), (3, 3), (32, 32), (37, 29), (64, 65)])
def test_sparse_form(shape: tuple[int, int]) -> None:
    """Kernel and reference agree, at and between the numbers of taken positions where the form changes."""
    tables = random_tables(3, predicted=0.0)
    slow, fast = (b.coder_new(SHA256, 11, *tables) for b in (reference, kernel))
    area = shape[0] * shape[1]
    for seed, share in enumerate([0.0, 0.02, 0.3, 0.5, 1.0]):
        values = scattered(seed, 3, *shape, share)
        check_one(values, tables, 11, seed % 2)
        taken = np.count_nonzero(values.any(0))
        assert bool(kernel.coder_encode(fast, 0, 0, values)[0] & SPARSE) == (taken > 0 and 3 * taken < area)
        contexts = kernel.coder_sparse_contexts(fast, 1, values)
        assert contexts == reference.coder_sparse_contexts(slow, 1, values)
        assert np.count_nonzero(np.frombuffer(contexts, np.uint16) != 0xFFFF) == 3 * taken


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 17),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    share=st.floats(0, 0.32),
    strength=st.sampled_from([0.0, 1.0, 100.0]),
)
def test_any_sparse_group(seed: int, channels: int, height: int, width: int, share: float, strength: float) -> None:
    tables = random_tables(seed, 1, channels, 7, 11, 0.0, strength)
    check_one(scattered(seed, channels, height, width, share), tables, 11, 0)


@pytest.mark.parametrize("shape", [(13, 1, 1), (3, 23, 9), (12, 32, 32), (17, 5, 40)])
def test_many_sparse_blobs_in_one_call(shape: tuple[int, int, int]) -> None:
    """Groups of all sizes and of several models, some dense and some empty, in numbers that do not fill a run."""
    channels = shape[0]
    fast = kernel.coder_new(SHA256, 11, *random_tables(5, 3, channels, 7, 11, 0.0, 30.0))
    values = np.stack([scattered(i, *shape, i % 7 / 8 if i % 4 else 0.2) for i in range(61)])
    blobs = [kernel.coder_encode(fast, i % 3, 0, v) for i, v in enumerate(values)]
    if shape[1:] != (1, 1):
        assert {blob[0] & SPARSE for blob in blobs} == {0, SPARSE}
        assert any(blob[0] & 1 for blob in blobs if blob[0] & SPARSE)  # there are escapes
    for path in kernel.kernel_paths():
        kernel.force_path(path)
        for count in (0, 1, 2, 3, 4, 5, 9, 23, 61):
            np.testing.assert_array_equal(decode(kernel, fast, blobs[:count], shape), values[:count])


def test_more_sparse_blobs_than_are_sorted_at_a_time() -> None:
    fast = kernel.coder_new(SHA256, 11, *random_tables(5, predicted=0.0))
    values = np.stack([scattered(i, 3, 9, 9, i % 5 / 20) for i in range(64)])
    blobs = [kernel.coder_encode(fast, i % 2, 0, v) for i, v in enumerate(values)]
    np.testing.assert_array_equal(decode(kernel, fast, blobs * 20, (3, 9, 9)), np.concatenate([values] * 20))


def test_a_damaged_sparse_blob_among_many_is_named() -> None:
    """Damage under a checksum that matches: the call fails, names that blob, and no other."""
    fast = kernel.coder_new(SHA256, 11, *random_tables(5, 2, 4, 7, 11, 0.0, 30.0))
    values = [scattered(i, 4, 16, 16, 0.2) for i in range(24)]
    blobs = [kernel.coder_encode(fast, i % 2, 0, v) for i, v in enumerate(values)]
    refused = 0
    for path in kernel.kernel_paths():
        kernel.force_path(path)
        for bad in range(len(blobs)):
            group = parse_group(blobs[bad], SHA256)
            for payload in (
                group.payload[:-2],
                group.payload[:40] + group.payload[41:] + b"\0",
                group.payload + b"\0\0",
            ):
                forged = join_group(replace(group, payload=payload), SHA256)
                mixed = [*blobs[:bad], forged, *blobs[bad + 1 :]]
                (status, index), _ = attempt(kernel, fast, mixed, (4, 16, 16))
                (alone, _), _ = attempt(kernel, fast, [forged], (4, 16, 16))
                assert status == alone and index == (bad if status else -1)
                refused += status != 0
    assert refused


def test_groups_of_predicted_channels_are_never_sparse() -> None:
    fast = kernel.coder_new(SHA256, 11, *random_tables(0, predicted=1.0))
    assert not kernel.coder_encode(fast, 0, 0, scattered(0, 3, 9, 9, 0.1))[0] & SPARSE


def test_nothing_but_zeros_is_a_bare_header() -> None:
    coder = kernel.coder_new(SHA256, 11, *random_tables(0))
    assert len(kernel.coder_encode(coder, 0, 0, np.zeros((3, 32, 32), np.int8))) == 9


def test_blobs_may_lie_in_any_kind_of_buffer() -> None:
    coder = kernel.coder_new(SHA256, 11, *random_tables(0))
    values = latent(1, "plain", 3, 9, 9)
    blob = kernel.coder_encode(coder, 0, 0, values)
    buffers = [blob, bytearray(blob), memoryview(b"x" + blob)[1:], np.frombuffer(blob, np.uint8)]
    n = len(buffers)
    out = np.empty((n, 3, 9, 9), np.int8)
    places = (np.arange(n, dtype=np.int32), np.zeros(n, np.int64), np.full(n, len(blob), np.int64))
    for backend in (kernel, reference):
        made = backend.coder_new(SHA256, 11, *random_tables(0))
        assert backend.coder_decode(made, buffers, *places, out) == (0, -1)
        assert (out == values).all()


def test_lanes_of_planes() -> None:
    sizes = [(h, w) for h in (1, 2, 15, 16, 17, 255, 4096) for w in (1, 2, 7, 8, 31, 32, 33, 4096)]
    for size in sizes:
        assert kernel.coder_lanes(*size) == reference.coder_lanes(*size)
    assert [kernel.coder_lanes(n, n) for n in (1, 35, 36, 45, 46, 63, 64)] == [1, 1, 4, 4, 8, 8, 16]


def test_order_of_symbols_keeps_neighbours_known() -> None:
    """Every position comes once, and after all that its contexts look at."""
    for height, width in [(1, 1), (5, 3), (23, 29), (13, 200), (48, 48)]:
        order = coding_order(height, width, reference.coder_lanes(height, width))
        place = {(y, x): i for i, (_, y, x) in enumerate(order)}
        assert len(place) == len(order) == height * width
        for (y, x), i in place.items():
            before = [(y, x - 1), (y, x - 2), (y - 1, x - 1), (y - 1, x), (y - 1, x + 1)]
            assert all(place.get(at, -1) < i for at in before)


def test_crc32c_is_castagnoli() -> None:
    for crc in (kernel.crc32c, reference.crc32c):
        assert crc(b"") == 0
        assert crc(b"123456789") == 0xE3069283
        assert crc(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
        assert crc(b"6789", crc(b"12345")) == 0xE3069283


@pytest.mark.parametrize("backend", [reference, kernel], ids=["reference", "kernel"])
def test_models_out_of_range_are_refused(backend: Any) -> None:
    good = random_tables(0)

    def bad(which: int, place: tuple[int, ...], value: int) -> list[np.ndarray]:
        tables = [t.copy() for t in good]
        tables[which][place] = value
        return tables

    changes = [
        (0, (0, 0, 0), -1), (0, (1, 2, 4), 32768), (1, (0, 0), -1), (1, (1, 2), 65536),
        (2, (0, 1, 2, 1), 128), (4, (0, 0, 0), 32768), (4, (0, 0, 0), -32768), (5, (1, 2, 2, 8), -40000),
        (6, (0, 0, 3, 63), 7), (7, (0, 0), -1), (7, (6, 63), 0), (7, (0, 1), 5000),
        (8, (0, 0), 0), (8, (1, 1023), 2048),
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(ValueError, match="outside its range"):
            backend.coder_new(SHA256, 11, *bad(*change))
    with pytest.raises(ValueError, match="outside its range"):
        backend.coder_new(SHA256, 12, *good)
    for sha, precision in [(SHA256[:31], 11), (SHA256, 7), (SHA256, 13)]:
        with pytest.raises(ValueError, match="impossible sizes"):
            backend.coder_new(sha, precision, *good)
    with pytest.raises(ValueError):
        backend.coder_new(SHA256, 11, *[t[:1] if i == 3 else t for i, t in enumerate(good)])


@pytest.mark.parametrize("backend", [reference, kernel], ids=["reference", "kernel"])
def test_arguments_that_cannot_be_meant(backend: Any) -> None:
    coder = backend.coder_new(SHA256, 11, *random_tables(0))
    values = latent(0, "plain", 3, 5, 5)
    for model, quality, array in [
        (2, 0, values), (-1, 0, values), (0, 101, values), (0, -1, values), (0, 0, values[:2]),
        (0, 0, values[:, :0]), (0, 0, values.astype(np.int16)), (0, 0, values[0]),
    ]:  # fmt: skip
        with pytest.raises(ValueError):
            backend.coder_encode(coder, model, quality, array)
    with pytest.raises(ValueError):
        backend.coder_encode(coder, 0, 0, np.zeros((3, 1 << 16 | 1, 1), np.int8))
    blob = backend.coder_encode(coder, 0, 0, values)
    one = np.ones(1, np.int64)
    out = np.empty((1, 3, 5, 5), np.int8)
    places = [(0, 1, len(blob)), (1, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, -1), (0, 2**62, 2**62)]
    for source, start, length in places:
        which = np.full(1, source, np.int32)
        with pytest.raises(ValueError, match="blob 0 lies outside its buffer"):
            backend.coder_decode(coder, [blob], which, start * one, length * one, out)


WITHOUT = """
import sys, warnings
sys.modules["latentstore.codecs._kernel"] = None
warnings.simplefilter("ignore", RuntimeWarning)
import hashlib
import numpy as np
from latentstore.codecs import load_codec, native
assert native.kernel is None
codec = load_codec("rgb-f8c48")
image = np.clip(np.random.default_rng(4).normal(128, 30, (5, 6, 3)).repeat(9, 0).repeat(7, 1), 0, 255)
for effort in ("default", "fast"):
    blob = codec.compress(image.astype(np.uint8), effort=effort)
    print(hashlib.sha256(blob).hexdigest(), hashlib.sha256(codec.decompress(blob).tobytes()).hexdigest())
"""


def test_everything_is_the_same_without_a_kernel() -> None:
    """Bytes and pixels, of both efforts, in a process that finds no kernel."""
    with_kernel = WITHOUT.replace('sys.modules["latentstore.codecs._kernel"] = None\n', "")
    with_kernel = with_kernel.replace("assert native.kernel is None", "assert native.kernel is not None")
    printed = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for program in (WITHOUT, with_kernel)
    ]
    assert printed[0] == printed[1]
    assert len(printed[0].split()) == 4
