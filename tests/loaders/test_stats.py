"""Moments: the mean and deviation of all latents, however the samples were dealt to shards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.loaders.stats import Moments

CHANNELS = 3


def scales(code: int) -> np.ndarray:
    return np.array([0.5, 1.0, 3.0]) * (1 + code)


@st.composite
def dealt(draw: st.DrawFn) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.random.Generator]:
    """Parts of samples: (latents, step codes)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = draw(st.sampled_from([1, 2, 255]))
    parts = []
    for count in draw(st.lists(st.integers(0, 4), min_size=1, max_size=5)):
        latents = rng.integers(-128, 128, (count, CHANNELS, 2, int(rng.integers(1, 5)))).astype(np.int8)
        parts.append((latents, rng.integers(0, codes, count)))
    return parts, rng


@settings(max_examples=100, deadline=None, derandomize=True)
@given(dealt())
def test_they_are_those_of_numpy(given: tuple[list[tuple[np.ndarray, np.ndarray]], np.random.Generator]) -> None:
    parts, rng = given
    moments = [Moments.of(latents, codes) for latents, codes in parts if len(latents)]
    whole = Moments.total(moments, CHANNELS)
    values = [
        (latent.astype(np.float64) * scales(int(code))[:, None, None]).reshape(CHANNELS, -1)
        for latents, codes in parts
        for latent, code in zip(latents, codes, strict=True)
    ]
    if not values:
        assert len(whole.codes) == 0
        return
    every = np.concatenate(values, axis=1)
    mean, std = whole.mean_std(scales)
    np.testing.assert_allclose(mean, every.mean(axis=1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(std, every.std(axis=1), rtol=1e-6, atol=1e-5)
    again = Moments.total([moments[i] for i in rng.permutation(len(moments))], CHANNELS)
    assert again.mean_std(scales) == (mean, std)  # to the last bit
    assert whole.codes.tolist() == sorted({int(code) for _, codes in parts for code in codes})


def test_a_constant_channel_has_no_deviation() -> None:
    latents = np.full((5, CHANNELS, 4, 4), 127, np.int8)
    mean, std = Moments.of(latents, np.zeros(5, np.int64)).mean_std(scales)
    assert mean == [127 * 0.5, 127.0, 127 * 3.0] and std == [0.0, 0.0, 0.0]


def test_sums_do_not_overflow() -> None:
    one = Moments.of(np.full((1, 1, 1 << 16), -128, np.int8), np.zeros(1, np.int64))
    many = Moments(one.codes, one.positions << 30, one.sums << 30, one.squares << 30)  # 2^46 values
    mean, std = many.mean_std(lambda code: np.ones(1))
    assert mean == [pytest.approx(-128)] and std == [0.0]
