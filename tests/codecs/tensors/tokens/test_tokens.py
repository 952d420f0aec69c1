"""Tokens: the kernel's paths and the reference give the same bytes, and refuse the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs import native
from latentstore.codecs.reference.tensors import tokens as reference
from latentstore.codecs.tensors.frame import NO_HEADS
from latentstore.codecs.tensors.tokens.intervals import fit_intervals
from latentstore.codecs.tensors.tokens.tables import fit_tables, frequencies

needs_kernel = pytest.mark.skipif(native.kernel is None, reason="the kernel is not built")
NONE = np.zeros(0, np.int32)


def tables(seed: int, bytes: int, shift: int, channels: int, ranked: bool) -> list[Any]:
    """Random tables, as the kernel takes them."""
    rng = np.random.default_rng(seed)
    last = int(rng.integers(1, min(1 << 8 * bytes, 3000))) if ranked else (1 << 8 * bytes - shift) - 1
    found = rng.geometric(rng.uniform(0.001, 0.5), 400)
    if seed % 2:  # intervals of all sizes
        found = rng.integers(0, 1 + last >> rng.integers(0, last.bit_length(), 400))
    values = np.unique(np.minimum(found, last).astype(np.uint64))
    base, extra = fit_intervals(values, rng.uniform(0.1, 1e5, len(values)), last)
    freq, table = fit_tables(rng.gamma(0.3, 100, (max(channels, 1), len(base))))
    if channels and not len(table):
        table = rng.integers(0, len(freq), channels).astype(np.uint8)
    sizes, codes = NONE, NONE.reshape(0, 0)
    if ranked:
        sizes = rng.integers(1, last + 2, 1 + len(table)).astype(np.int32)
        codes = np.stack([np.pad(rng.permutation(n), (0, last + 1 - n)) for n in sizes]).astype(np.int32)
    return [bytes, 0 if ranked else shift, last, base, extra, freq, table, sizes, codes]


def array(seed: int, made: list[Any], outer: int, inner: int) -> tuple[np.ndarray, int]:
    """Values that the tables hold, and how many of a channel follow each other."""
    rng = np.random.default_rng(seed)
    bytes, shift, _, _, _, _, table, sizes, _ = made
    channels = max(len(table), 1)
    n = outer * channels * inner
    if len(sizes):
        most = sizes[1:] if len(table) else sizes
        limit = np.repeat(most[None], outer, 0).repeat(inner, 1).reshape(-1)
        values = (rng.uniform(0, 1, n) ** 3 * limit).astype(np.uint64)
    else:
        values = np.minimum(rng.geometric(0.01, n), (1 << 8 * bytes - shift) - 1).astype(np.uint64) << np.uint64(shift)
        values[rng.uniform(size=n) < 0.1] = ((1 << 8 * bytes) - 1) >> shift << shift
        if seed % 3:  # of any size, and zeros
            wide = rng.uniform(size=n) < 0.5
            bits = rng.integers(1, 1 + 8 * bytes, n, np.uint64)
            values[wide] = (rng.integers(0, 1 << bits, n, np.uint64) >> np.uint64(shift) << np.uint64(shift))[wide]
            values[rng.uniform(size=n) < 0.2] = 0
    return values.astype(f"u{bytes}").view(np.uint8), inner if len(table) else 0


def encoded(module: Any, model: Any, values: np.ndarray, inner: int, before: bytes = b"") -> bytes | int:
    """Of three arrays in one call, the first and the last; the one between is of no values."""
    three, inners = [values, values[:0], values], np.array([inner, 0, inner], np.int64)
    first, none, last = module.tokens_encode(model, three, inners, before, [], NO_HEADS)
    assert first == last and none == before
    return first


def decoded(module: Any, model: Any, payload: bytes, inner: int, size: int) -> tuple[tuple[int, int], bytes]:
    out = np.zeros(size, np.uint8)
    one = np.array([len(payload)], np.int64)
    status = module.tokens_decode(
        model, [payload], np.zeros(1, np.int32), np.zeros(1, np.int64), one, np.array([inner], np.int64), [out]
    )
    return status, out.tobytes()


@needs_kernel
@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 1 << 30), st.sampled_from([1, 2, 4, 4]), st.integers(0, 3), st.integers(0, 5), st.booleans(),
    st.integers(1, 40), st.sampled_from([1, 3, 16, 32, 67]),
)  # fmt: skip
def test_every_path_gives_the_bytes_of_the_reference(
    seed: int, bytes: int, shift: int, channels: int, ranked: bool, outer: int, inner: int
) -> None:
    made = tables(seed, bytes, shift, channels, ranked)
    values, width = array(seed, made, outer, inner)
    oracle = reference.tokens_new(*made)
    payload = encoded(reference, oracle, values, width)
    assert not isinstance(payload, int)
    assert decoded(reference, oracle, payload, width, len(values)) == ((0, -1), values.tobytes())
    kernel = native.kernel
    assert kernel is not None
    try:
        for path in kernel.kernel_paths():
            kernel.force_path(path)
            model = kernel.tokens_new(*made)
            assert encoded(kernel, model, values, width, b"ab") == b"ab" + payload
            assert decoded(kernel, model, payload, width, len(values)) == ((0, -1), values.tobytes())
    finally:
        kernel.force_path(None)


@needs_kernel
@pytest.mark.parametrize(("values", "ranked"), [(700, False), (300, True), (2100, False), (4200, False)])
def test_what_is_refused_is_refused_alike(values: int, ranked: bool) -> None:
    """Cut at every length, or near it, and with bytes changed: the same status from every path and the reference."""
    kernel = native.kernel
    assert kernel is not None
    made = tables(values, 2, 1, 0, ranked)
    flat, inner = array(values, made, values, 1)
    oracle, model = reference.tokens_new(*made), kernel.tokens_new(*made)
    payload = encoded(kernel, model, flat, inner)
    rng = np.random.default_rng(values)
    cuts = {*range(0, len(payload), max(1, len(payload) // 8)), len(payload) - 1, len(payload) - 2}
    bad = [payload[:cut] for cut in sorted(cuts)] + [payload + b"\0", payload + b"\1"]
    for place in rng.integers(0, len(payload), 12).tolist():
        bad.append(payload[:place] + bytes([payload[place] ^ 1 << int(rng.integers(8))]) + payload[place + 1 :])
    refused = 0
    for one in bad:
        expected = decoded(reference, oracle, one, inner, len(flat))
        refused += expected[0][0] != 0
        try:
            for path in kernel.kernel_paths():
                kernel.force_path(path)
                found = decoded(kernel, model, one, inner, len(flat))
                assert found[0] == expected[0]
                assert found[0][0] or found == expected
        finally:
            kernel.force_path(None)
    assert refused > len(cuts)


def test_values_without_a_token(path: str) -> None:
    backend = native.backend()
    made = tables(1, 2, 2, 0, False)
    assert encoded(backend, backend.tokens_new(*made), np.array([4, 8, 5, 4], "u2").view(np.uint8), 0) == 2
    made = tables(2, 2, 0, 0, True)
    beyond = np.array([0, 0, made[7][0], 0, 0], "u2").view(np.uint8)
    assert encoded(backend, backend.tokens_new(*made), beyond, 0) == 2


def test_repeats(path: str) -> None:
    backend = native.backend()
    values = np.array([1, 2, 0, 1, 2, 0, 1, 5, 0, 1], "<u2").view(np.uint8)

    def repeats(width: int, *probes: tuple[int, int]) -> list[int]:
        rows, steps = np.array(probes, np.int64).reshape(-1, 2).T.copy()
        found: list[int] = backend.tokens_repeats([values] * len(probes), width, rows, steps)
        return found

    assert repeats(2, (3, 1), (3, 2), (3, 7), (10, 1)) == [4, 2, 1, 0]
    assert repeats(2) == []
    for width, row, step in ((5, 3, 1), (2, 0, 1), (2, 21, 1), (2, 3, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            repeats(width, (3, 1), (row, step))


def test_tables_out_of_range(path: str) -> None:
    backend = native.backend()
    good = tables(3, 2, 0, 3, True)
    backend.tokens_new(*good)

    def changed(i: int, at: Any, value: int) -> list[Any]:
        array = good[i].copy()
        array[at] = value
        return [*good[:i], array, *good[i + 1 :]]

    one = good[5][0, 0]
    for bad in [
        [3, *good[1:]], [2, 16, *good[2:]], [2, 1, *good[2:]], [*good[:2], 1 << 16, *good[3:]],
        changed(3, 0, 1), changed(3, 1, 7), changed(4, -1, 33), changed(5, (0, 0), 0), changed(5, (0, 0), one + 1),
        changed(6, 1, 200), changed(7, 0, good[2] + 2), changed(7, 0, -1), changed(8, (1, 0), good[8][1, 1]),
        [*good[:6], good[6][:-1], *good[7:]], [*good[:7], NONE, NONE.reshape(0, 0)],
    ]:  # fmt: skip
        with pytest.raises((ValueError, OverflowError)):
            backend.tokens_new(*bad)


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=256))
def test_frequencies(counts: list[float]) -> None:
    freq = frequencies(np.array(counts))
    assert freq.sum() == 4096 and freq.min() >= 1


def test_intervals_hold_everything_and_fit() -> None:
    values = np.array([0, 5, 6, 7, 40000], np.uint64)
    base, extra = fit_intervals(values, np.array([1e6, 1, 1, 1, 1e6]), 65535)
    assert base[0] == 0 and base[-1] + (1 << int(extra[-1])) == 65536
    assert (base[1:] == (base + (1 << extra.astype(np.int64)))[:-1]).all()
    of = np.searchsorted(base, [0, 40000], side="right") - 1
    assert extra[of].tolist() == [0, 0]  # two values that occur all the time have intervals of their own


def test_channels_of_a_kind_share_tables() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.gamma(0.5, 1, (3, 20))
    counts = np.array([rng.multinomial(50000, kinds[i % 3] / kinds[i % 3].sum()) for i in range(24)], np.float64)
    freq, table = fit_tables(counts)
    assert len(freq) >= 4 and all(len(set(table[i::3].tolist())) <= 2 for i in range(3))
    alike, none = fit_tables(np.tile(counts[:1], (24, 1)))
    assert len(alike) == 1 and len(none) == 0
