"""The adaptive entropy coder of audio: kernel against reference on every path, in lock-step or alone, and bad blobs."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from forged import reseal
from hypothesis import example, given, settings
from hypothesis import strategies as st
from random_models import KINDS, SHA256, latent, random_adaptive_tables, random_tables

from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.modality import AUDIO
from latentstore.codecs.native import kernel
from latentstore.codecs.reference import stand_in as reference

pytestmark = pytest.mark.skipif(kernel is None, reason="no kernel was built: there is nothing to compare")

TRUNCATED, CORRUPT, BAD_VERSION, WRONG_SHAPE, BAD_CRC = -2, -3, -5, -7, -8
BACKENDS = [b for b in (reference, kernel) if b is not None]


@pytest.fixture(autouse=True)
def best_path() -> Iterator[None]:
    yield
    if kernel is not None:
        kernel.force_path(None)


def paths() -> Iterator[str]:
    for path in kernel.kernel_paths():
        kernel.force_path(path)
        yield path


def decode(backend: ModuleType, coder: Any, blobs: list[bytes], shape: tuple[int, ...]) -> tuple[int, int, np.ndarray]:
    """Status, the blob that it is about, and what was decoded of all blobs in one call."""
    gaps = [b"\xff" * (7 * i % 5) for i in range(len(blobs))]
    lengths = np.array([len(b) for b in blobs], np.int64)
    starts = np.cumsum([len(g) + len(b) for g, b in zip(gaps, blobs, strict=True)], dtype=np.int64) - lengths
    out = np.full((len(blobs), *shape), 99, np.int8)
    buffer = b"".join(g + b for g, b in zip(gaps, blobs, strict=True))
    status = backend.coder_decode(coder, [buffer], np.zeros(len(blobs), np.int32), starts, lengths, out)
    return (*status, out)


def latents(seed: int, kinds: list[str], channels: int, width: int) -> np.ndarray:
    return np.stack([latent(seed + i, kind, channels, 1, width) for i, kind in enumerate(kinds)])


def check(tables: list[np.ndarray], precision: int, models: np.ndarray, values: np.ndarray) -> None:
    """Kernel and reference agree on everything about these latents, on every path."""
    slow, fast = (b.adaptive_new(SHA256, precision, *tables) for b in (reference, kernel))
    shape = values.shape[1:]
    blobs = reference.coder_encode_many(slow, models, 224, values)
    status, _, out = decode(reference, slow, blobs[:2], shape)
    assert status == 0
    np.testing.assert_array_equal(out, values[:2])
    first, model = values[0], int(models[0])
    cost, contexts = reference.coder_cost(slow, model, first), reference.coder_contexts(slow, model, first)
    for path in paths():
        assert kernel.coder_encode_many(fast, models, 224, values) == blobs, path
        assert kernel.coder_encode(fast, model, 224, first) == blobs[0]
        status, _, out = decode(kernel, fast, blobs, shape)
        assert status == 0, path
        np.testing.assert_array_equal(out, values)
        assert kernel.coder_cost(fast, model, first) == cost
        assert kernel.coder_contexts(fast, model, first) == contexts


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    widths=st.lists(st.one_of(st.integers(1, 12), st.integers(1, 90)), min_size=1, max_size=40),
    filtered=st.sampled_from([0.0, 0.7, 1.0]),
    strength=st.sampled_from([1.0, 100.0]),
)
def test_rows_of_many_widths_in_one_call(seed: int, widths: list[int], filtered: float, strength: float) -> None:
    rng = np.random.default_rng(seed)
    tables = random_adaptive_tables(seed, filtered=filtered, strength=strength)
    slow, fast = (b.adaptive_new(SHA256, 11, *tables) for b in (reference, kernel))
    values = [latent(seed + i, str(rng.choice(KINDS)), 3, 1, width) for i, width in enumerate(widths)]
    blobs = [kernel.coder_encode(fast, int(rng.integers(2)), 7, value) for value in values]
    lengths = np.array([len(blob) for blob in blobs], np.int64)
    where = np.arange(len(blobs), dtype=np.int32), lengths * 0, lengths, np.array(widths, np.int32)
    expected = np.concatenate([value.ravel() for value in values])
    out = np.full(len(expected), 99, np.int8)
    assert reference.coder_decode_rows(slow, blobs, *where, out) == (0, -1)
    np.testing.assert_array_equal(out, expected)
    for path in paths():
        out[...] = 99
        assert kernel.coder_decode_rows(fast, blobs, *where, out) == (0, -1), path
        np.testing.assert_array_equal(out, expected, err_msg=path)
    # of one that is wrong, which it is
    bad = int(rng.integers(len(blobs)))
    for change in (reseal(blobs[bad], width=widths[bad] + 1, modality=AUDIO), blobs[bad][:-1] + b"~" + blobs[bad][-1:]):
        spoiled = [*blobs[:bad], change, *blobs[bad + 1 :]]
        lengths = np.array([len(blob) for blob in spoiled], np.int64)
        answers = [
            backend.coder_decode_rows(coder, spoiled, where[0], lengths * 0, lengths, where[3], out)
            for backend, coder in ((reference, slow), (kernel, fast))
        ]
        assert answers[0] == answers[1] and answers[0][1] == bad and answers[0][0] < 0


def test_rows_that_cannot_be_meant() -> None:
    for backend in BACKENDS:
        coder = backend.adaptive_new(SHA256, 11, *random_adaptive_tables(0))
        blob = backend.coder_encode(coder, 0, 0, np.ones((3, 1, 5), np.int8))
        one, zero, size = np.zeros(1, np.int32), np.zeros(1, np.int64), np.array([len(blob)])
        for width, out in [(0, 0), (1 << 17, 3 << 17), (5, 14), (5, 16)]:
            with pytest.raises(ValueError):
                backend.coder_decode_rows(
                    coder, [blob], one, zero, size, np.array([width], np.int32), np.empty(out, np.int8)
                )
        images = backend.coder_new(SHA256, 11, *random_tables(0))
        with pytest.raises(ValueError, match="adaptive"):
            backend.coder_decode_rows(images, [blob], one, zero, size, one + 5, np.empty(15, np.int8))


@pytest.mark.parametrize("width", range(1, 41))
def test_kernel_and_reference_agree(width: int) -> None:
    values = latents(width, list(KINDS), 3, width)
    models = np.arange(len(values), dtype=np.int32) * width % 2
    check(random_adaptive_tables(width), 11, models, values)


@pytest.mark.parametrize(("width", "strength"), [(250, 1.0), (1024, 1.0), (1100, 8.0)])
def test_long_rows(width: int, strength: float) -> None:
    values = latents(1, ["plain", "strong", "sparse"], 2, width)
    check(random_adaptive_tables(3, 2, 2, strength=strength), 11, np.array([1, 0, 1], np.int32), values)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=17),
    channels=st.integers(1, 5),
    width=st.integers(1, 40),
    precision=st.integers(8, 12),
    filtered=st.sampled_from([0.0, 0.5, 1.0]),
    strength=st.sampled_from([0.0, 1.0, 8.0, 100.0]),
    model_count=st.integers(1, 3),
)
@example(1, ["extreme"] * 16, 32, 5, 12, 1.0, 100.0, 1)
@example(2, ["strong"] * 17, 32, 3, 8, 0.5, 8.0, 256)
@example(3, ["one"], 32, 33, 10, 0.0, 1.0, 1)
def test_any_models_and_latents(
    seed: int,
    kinds: list[str],
    channels: int,
    width: int,
    precision: int,
    filtered: float,
    strength: float,
    model_count: int,
) -> None:
    tables = random_adaptive_tables(seed, model_count, channels, 7, precision, filtered, strength)
    models = np.random.default_rng(seed).integers(0, model_count, len(kinds), np.int32)
    check(tables, precision, models, latents(seed, kinds, channels, width))


def test_sums_that_wrap() -> None:
    """The largest taps and gains on the largest values: sums beyond 32 bits, and weights that wrap in time."""
    tables = random_adaptive_tables(9, 1, 3, strength=100.0, filtered=1.0)
    tables[3][:] = np.where(tables[3] < 0, -(1 << 20), 1 << 20)
    tables[6][1:] = 65535
    wild = np.where(np.random.default_rng(0).random((16, 3, 1, 300)) < 0.5, -128, 127).astype(np.int8)
    wild[0] = np.where(tables[3][0, 0, 0] < 0, -128, 127)
    check(tables, 11, np.zeros(16, np.int32), wild)


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 33])
def test_many_blobs_in_one_call(count: int) -> None:
    """Groups of several models, zeros among them, in numbers that do not fill the lanes of a vector."""
    coder = kernel.adaptive_new(SHA256, 11, *random_adaptive_tables(5))
    values = np.zeros((count, 3, 1, 50), np.int8)
    for i in range(count):
        values[i] = latent(i, KINDS[i % len(KINDS)], 3, 1, 50)
    models = np.arange(count, dtype=np.int32) * 7 % 3 % 2
    alone = [kernel.coder_encode(coder, int(m), 9, v) for m, v in zip(models, values, strict=True)]
    for _ in paths():
        assert kernel.coder_encode_many(coder, models, 9, values) == alone
        status, _, out = decode(kernel, coder, alone, values.shape[1:])
        assert status == 0
        np.testing.assert_array_equal(out, values)


def test_nothing_but_zeros_is_a_bare_header() -> None:
    coder = kernel.adaptive_new(SHA256, 11, *random_adaptive_tables(0))
    blobs = kernel.coder_encode_many(coder, np.zeros(3, np.int32), 255, np.zeros((3, 3, 1, 1000), np.int8))
    assert [len(blob) for blob in blobs] == [10, 10, 10]


def test_the_widest_row() -> None:
    coder = kernel.adaptive_new(SHA256, 11, *random_adaptive_tables(0, channels=1))
    values = latents(0, ["plain"], 1, 1 << 16)
    blobs = kernel.coder_encode_many(coder, np.zeros(1, np.int32), 0, values)
    status, _, out = decode(kernel, coder, blobs, (1, 1, 1 << 16))
    assert status == 0
    np.testing.assert_array_equal(out, values)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.sampled_from([1, 2, 5, 16, 17]),
    width=st.integers(1, 40),
    filtered=st.sampled_from([0.0, 0.7, 1.0]),
    strength=st.sampled_from([1.0, 8.0, 100.0]),
    trade=st.floats(0, 1, width=32),
)
def test_optimised_values_are_the_same(
    seed: int, count: int, width: int, filtered: float, strength: float, trade: float
) -> None:
    rng = np.random.default_rng(seed)
    tables = random_adaptive_tables(seed, filtered=filtered, strength=strength)
    slow, fast = (b.adaptive_new(SHA256, 11, *tables) for b in (reference, kernel))
    models = rng.integers(0, 2, count, np.int32)
    coefficients = rng.laplace(0, rng.choice([0.3, 3, 80, 1e6]), (count, 3, 1, width)).astype(np.float32)
    weight = rng.random((count, 3)).astype(np.float32)
    delta = (rng.random((count, 3, 2)) * 0.4).astype(np.float32)
    expected = np.empty(coefficients.shape, np.int8)
    reference.coder_optimise_many(slow, models, coefficients, weight, trade, delta, expected)
    for path in paths():
        out = np.empty(coefficients.shape, np.int8)
        kernel.coder_optimise_many(fast, models, coefficients, weight, trade, delta, out)
        np.testing.assert_array_equal(out, expected, err_msg=path)


def test_optimising_without_a_trade_rounds() -> None:
    coder = kernel.adaptive_new(SHA256, 11, *random_adaptive_tables(0))
    coefficients = np.random.default_rng(0).normal(0, 60, (3, 3, 1, 50)).astype(np.float32)
    none, unit = np.zeros((3, 3, 2), np.float32), np.ones((3, 3), np.float32)
    out = np.empty(coefficients.shape, np.int8)
    kernel.coder_optimise_many(coder, np.zeros(3, np.int32), coefficients, unit, 0.0, none, out)
    np.testing.assert_array_equal(out, np.clip(np.rint(coefficients), -127, 127))


# bad blobs

SHAPE = (3, 1, 90)


@pytest.fixture(params=BACKENDS, ids=lambda b: b.__name__.split(".")[-1])
def backend(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


def make(backend: ModuleType) -> tuple[Any, bytes]:
    """A coder, and a blob with words and escapes."""
    values = latent(8, "plain", *SHAPE)
    values[:, 0, ::30] = 99
    coder = backend.adaptive_new(SHA256, 11, *random_adaptive_tables(2))
    return coder, backend.coder_encode(coder, 1, 200, values)


def payload_of(blob: bytes) -> bytes:
    return blob[group_info(blob, modality=AUDIO).header_bytes :]


def status_of(backend: ModuleType, coder: Any, blob: bytes) -> int:
    status, index, _ = decode(backend, coder, [blob], SHAPE)
    assert index == (0 if status else -1)
    return status


def test_cut_at_every_length(backend: ModuleType) -> None:
    coder, blob = make(backend)
    for end in range(len(blob)):
        expected = TRUNCATED if end < group_info(blob, modality=AUDIO).header_bytes else BAD_CRC
        assert status_of(backend, coder, blob[:end]) == expected
    assert status_of(backend, coder, blob + b"\0") == BAD_CRC


def test_every_bit_flipped(backend: ModuleType) -> None:
    coder, blob = make(backend)
    for at in range(len(blob)):
        for bit in range(8):
            bad = blob[:at] + bytes([blob[at] ^ 1 << bit]) + blob[at + 1 :]
            assert status_of(backend, coder, bad) < 0


def test_fields_that_lie(backend: ModuleType) -> None:
    coder, blob = make(backend)
    payload = payload_of(blob)
    for changes, expected in [
        ({"height": 128}, CORRUPT), ({"height": 0}, CORRUPT), ({"width": 0}, CORRUPT), ({"width": 1 << 17}, CORRUPT),
        ({"width": 89}, WRONG_SHAPE), ({"model": 2}, CORRUPT), ({"model": 255}, CORRUPT), ({"version": 2}, BAD_VERSION),
        ({"flags": 2}, CORRUPT), ({"flags": 3}, CORRUPT), ({"escapes": 1 << 20}, CORRUPT), ({"payload": b""}, CORRUPT),
        ({"payload": payload[:7]}, CORRUPT), ({"payload": bytes(len(payload))}, CORRUPT),
    ]:  # fmt: skip
        assert status_of(backend, coder, reseal(blob, modality=AUDIO, **changes)) == expected, changes
    for quality in (0, 100, 101, 255):
        assert status_of(backend, coder, reseal(blob, modality=AUDIO, quality=quality)) == 0
    for level_code in (1, 2, 127):  # in the place of the number of rows
        assert status_of(backend, coder, reseal(blob, modality=AUDIO, height=level_code)) == 0
    other = backend.adaptive_new(bytes(32), 11, *random_adaptive_tables(2))
    assert status_of(backend, other, blob) == BAD_CRC


def test_payloads_that_lie() -> None:
    """Changed words behind a checksum that matches: the same status from kernel and reference, on every path; the good
    blobs in the same call do not hide them."""
    slow, blob = make(reference)
    fast, _ = make(kernel)
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(60):
        payload = bytearray(payload_of(blob))
        payload[int(rng.integers(0, len(payload)))] ^= int(rng.integers(1, 256))
        cut = int(rng.choice([len(payload), rng.integers(4, len(payload))]))
        lie = reseal(blob, modality=AUDIO, payload=bytes(payload[:cut]))
        expected = status_of(reference, slow, lie)
        seen.add(expected)
        for _ in paths():
            status, index, _ = decode(kernel, fast, [blob, lie, blob], SHAPE)
            assert (status, index) == ((expected, 1) if expected else (0, -1))
    assert {TRUNCATED, CORRUPT} <= seen


# arguments


def test_models_out_of_range_are_refused(backend: ModuleType) -> None:
    good = random_adaptive_tables(0)

    def bad(which: int, place: tuple[int, ...], value: int) -> list[np.ndarray]:
        tables = [t.copy() for t in good]
        tables[which][place] = value
        return tables

    for change in [
        (0, (0, 0, 0), -1), (0, (1, 2, 4), 32768), (1, (0, 0), -1), (1, (1, 2), 65536), (2, (0, 1, 2, 1), 128),
        (3, (0, 0, 0), (1 << 20) + 1), (3, (1, 2, 13), -(1 << 20) - 1), (5, (1, 2), 4), (6, (0, 0), -1),
        (6, (3, 63), 65536), (7, (0, 0, 3, 63), 7), (8, (0, 0), -1), (8, (6, 63), 0), (8, (0, 1), 5000),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="outside its range"):
            backend.adaptive_new(SHA256, 11, *bad(*change))
    for sha, precision in [(SHA256[:31], 11), (SHA256, 7), (SHA256, 13)]:
        with pytest.raises(ValueError, match="impossible sizes"):
            backend.adaptive_new(sha, precision, *good)
    for rows in (0, 17):
        with pytest.raises(ValueError, match="impossible sizes"):
            backend.adaptive_new(SHA256, 11, *good[:6], np.zeros((rows, 64), np.int32), *good[7:])
    for i in range(9):
        with pytest.raises(ValueError):
            cut = good[i][:, :-1] if i < 8 else good[i][:, :-2]
            backend.adaptive_new(SHA256, 11, *good[:i], np.ascontiguousarray(cut), *good[i + 1 :])


def test_arguments_that_cannot_be_meant() -> None:
    coder = kernel.adaptive_new(SHA256, 11, *random_adaptive_tables(0))
    values, models = latents(0, ["plain", "plain"], 3, 9), np.zeros(2, np.int32)
    for bad_models, code, array in [
        (models + 2, 0, values), (models - 1, 0, values), (models, 256 * 127, values), (models, -1, values),
        (models[:1], 0, values), (models, 0, values[:, :2]), (models, 0, values[..., :0]),
        (models, 0, values.astype(np.int16)), (models, 0, values[:, :, 0]), (models.astype(np.int64), 0, values),
        (models, 0, np.zeros((2, 3, 2, 9), np.int8)), (models, 0, np.zeros((2, 3, 1, (1 << 16) + 1), np.int8)),
    ]:  # fmt: skip
        with pytest.raises(ValueError):
            kernel.coder_encode_many(coder, bad_models, code, np.ascontiguousarray(array))
    floats, out = values.astype(np.float32), np.empty_like(values)
    weight, delta = np.ones((2, 3), np.float32), np.zeros((2, 3, 2), np.float32)
    for bad in [
        (models + 2, floats, weight, 0, delta, out), (models, values, weight, 0, delta, out),
        (models, floats[:1], weight, 0, delta, out), (models, floats, weight[:, :2], 0, delta, out),
        (models, floats, weight, 0, delta[:, :2], out), (models, floats, weight[:1], 0, delta, out),
        (models, floats, weight, 0, delta, out[:1]),
        (models, floats, weight, 0, delta, np.empty((2, 3, 1, 8), np.int8)),
        (models, floats, weight, 0, delta, np.empty((2, 3, 3, 3), np.int8)),
    ]:  # fmt: skip
        with pytest.raises(ValueError):
            kernel.coder_optimise_many(coder, *bad)
    two_rows = np.zeros((3, 2, 9), np.int8)
    for backend in BACKENDS:
        adaptive, plain = backend.adaptive_new(SHA256, 11, *random_adaptive_tables(0)), random_tables(0)
        for call, passed in (
            (backend.coder_encode, (adaptive, 0, 0, two_rows)),
            (backend.coder_cost, (adaptive, 0, two_rows)),
            (backend.coder_contexts, (adaptive, 0, two_rows)),
            (backend.coder_encode, (adaptive, 0, 256 * 127, values[0])),
            (backend.coder_optimise, (adaptive, 0, floats[0], weight, 0, delta, out[0])),
            (backend.coder_encode_many, (backend.coder_new(SHA256, 11, *plain), models, 0, values)),
        ):
            with pytest.raises(ValueError):
                call(*passed)
