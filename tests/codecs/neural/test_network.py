"""The layers of a network: the same bits on every path of the kernel and in the reference, at any shape."""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_decoders import tiny_parts

from latentstore.codecs.artifact.decoder import make_decoder, read_decoder
from latentstore.codecs.native import kernel
from latentstore.codecs.neural import network
from latentstore.codecs.reference import network as reference

needs_kernel = pytest.mark.skipif(kernel is None, reason="the kernel is not built")
Layer = dict[str, np.ndarray]


def layer(seed: int, rows: int, pairs: int, outputs: int, taps: int, largest: int = 127) -> Layer:
    """A random layer as the kernel takes it, by the names of its arguments."""
    rng = np.random.default_rng(seed)
    panels, reach = -(-outputs // 16), min(2, (rows - 1) // 2)
    options = [reach, rows - 2 * reach, rng.integers(2), rng.integers(2)]
    return {
        "options": np.array(options, np.int32),
        "unit": rng.uniform(1, 500, 1).astype(np.float32),
        "codes_in": rng.integers(-reference.CODE, reference.CODE + 1, (rows, 2 * pairs)).astype(np.int16),
        "offsets": rng.integers(-reach, reach + 1, taps).astype(np.int32),
        "weight": rng.integers(-largest, largest + 1, (panels, taps, pairs, 16, 2)).astype(np.int16),
        "scale": rng.uniform(0, 1e-5, panels * 16).astype(np.float32),
        "bias": rng.normal(size=panels * 16).astype(np.float32),
        "stream": rng.normal(size=(rows, outputs)).astype(np.float32),
        "codes_out": np.zeros((rows, outputs), np.int16),
    }


def run(function: Callable[..., None], one: Layer) -> tuple[np.ndarray, np.ndarray]:
    stream, codes = one["stream"].copy(), one["codes_out"].copy()
    function(*(one | {"stream": stream, "codes_out": codes}).values())
    return stream, codes


@needs_kernel
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1 << 30),
    rows=st.integers(1, 230),
    pairs=st.integers(1, 40),
    outputs=st.integers(1, 50),
    taps=st.sampled_from([1, 3, 9]),
)
def test_all_paths_give_the_bits_of_the_reference(seed: int, rows: int, pairs: int, outputs: int, taps: int) -> None:
    assert kernel is not None
    one = layer(seed, rows, pairs, outputs, taps)
    expected = run(reference.network_layer, one)
    try:
        for path in kernel.kernel_paths():
            kernel.force_path(path)
            for found, wanted in zip(run(kernel.network_layer, one), expected, strict=True):
                np.testing.assert_array_equal(found.view(np.uint8), wanted.view(np.uint8), path)
    finally:
        kernel.force_path(None)


@needs_kernel
def test_the_largest_sums_that_a_file_may_ask_for() -> None:
    """All codes and weights as large as they can be: the sums fit 32 bits by less than one weight."""
    assert kernel is not None
    pairs = (1 << 31) // (reference.CODE * 127) // 2
    one = layer(0, 3, pairs, 16, 1)
    one["codes_in"][:], one["weight"][:], one["scale"][:] = -reference.CODE, 127, np.float32(1e-7)
    for found, wanted in zip(run(kernel.network_layer, one), run(reference.network_layer, one), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_gelu_is_near_the_real_one() -> None:
    x = np.linspace(-9, 9, 4001, dtype=np.float32)
    found = x * (np.float32(0.5) + reference._half_erf(x))
    assert np.abs(found - [v * (1 + erf(v / 2**0.5)) / 2 for v in x.tolist()]).max() < 1e-4


@needs_kernel
@pytest.mark.parametrize("is_kept", [False, True])
def test_what_is_not_asked_for_is_left_alone(is_kept: bool) -> None:
    assert kernel is not None
    one = layer(3, 20, 2, 5, 9)
    one["options"][2] = 0
    one["codes_out" if is_kept else "stream"] = np.zeros((0, 5), one["codes_out" if is_kept else "stream"].dtype)
    for found, wanted in zip(run(kernel.network_layer, one), run(reference.network_layer, one), strict=True):
        np.testing.assert_array_equal(found, wanted)


@needs_kernel
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": np.array([0, 21, 0, 0], np.int32)}, "rows are not among"),
        ({"options": np.array([-1, 2, 0, 0], np.int32)}, "rows are not among"),
        ({"options": np.array([0, 5, 0, 0], np.int32)}, "an offset leads out"),
        ({"options": np.array([15, 5, 0, 0], np.int32)}, "an offset leads out"),
        ({"options": np.zeros(3, np.int32)}, "options has 3 entries"),
        ({"offsets": np.array([1 << 30, 0, -(1 << 30)], np.int32)}, "an offset leads out"),
        ({"offsets": np.zeros(10, np.int32)}, "1 to 9 taps"),
        ({"codes_in": np.zeros((20, 5), np.int16)}, "codes_in has 5 entries"),
        ({"codes_in": np.zeros((20, 4), np.int32)}, "codes_in must hold int16"),
        ({"weight": np.zeros((2, 3, 2, 16, 2), np.int16)}, "weight has 2 entries"),
        ({"scale": np.zeros(15, np.float32)}, "scale has 15 entries"),
        ({"stream": np.zeros((19, 5), np.float32)}, "stream has 19 entries"),
        ({"codes_out": np.zeros((20, 0), np.int16)}, "one output"),
        ({"stream": np.zeros((0, 5), np.float32), "options": np.array([2, 5, 1, 0], np.int32)}, "without a stream"),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_are_refused(change: Layer, message: str) -> None:
    assert kernel is not None
    one = layer(1, 20, 2, 5, 3)
    one["offsets"][:] = -1, 0, 1
    with pytest.raises(ValueError, match=message):
        kernel.network_layer(*(one | change).values())


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (13, 20)])
def test_a_network_without_the_kernel(codec: Any, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference answers with the same bits."""
    one = network.Network(read_decoder(make_decoder(*tiny_parts(codec))))
    latent = np.random.default_rng(4).integers(-127, 128, (17, *size)).astype(np.int8)
    expected = one.answer(latent, 0.3, 30)
    assert expected.any()
    monkeypatch.setattr(network, "backend", lambda: reference)
    np.testing.assert_array_equal(one.answer(latent, 0.3, 30), expected)
