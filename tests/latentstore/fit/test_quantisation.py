"""Fitting quantisation: steps, qualities, and how far back codes are rebuilt."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from latentstore.codecs import OutlierWarning, load_codec
from latentstore.fit.quantisation import Shortfall, deltas, finest_step, histogram, outliers_expected, quality_of


@pytest.mark.parametrize("name", ["rgb-f8c48", "mono-f32c32"])
def test_the_quality_of_a_step(name: str) -> None:
    codec = load_codec(name)
    assert [quality_of(codec, codec.step(quality)) for quality in (1, 37, 100)] == [1, 37, 100]
    assert quality_of(codec, 1e9) == 1
    assert quality_of(codec, 1e-9) == 100


def test_histograms_count_magnitudes_up_to_the_bound() -> None:
    parts = [np.array([[-0.1, 0.9, 1.9], [0.0, 9.9, -5.0]]), np.array([[2.0, 7.0], [0.0, 0.0]])]
    counts = histogram(parts, np.array([2.0, 10.0]), 4)
    assert counts.tolist() == [[1, 1, 0, 3], [3, 0, 1, 1]]


def test_the_finest_step_weighs_rounding_against_the_limit() -> None:
    steps, bound = np.geomspace(0.01, 1.0, 100), 100.0
    count = np.zeros(1000)
    count[600] = 1  # all coefficients are 60.05: at a step of 60.05 / 127 none is limited
    assert finest_step(count, bound, steps) == pytest.approx(60.05 / 127, rel=0.05)
    small = np.zeros(1000)
    small[0] = 1
    assert finest_step(small, bound, steps) == steps[0]


def test_means_below_the_code() -> None:
    rng = np.random.default_rng(0)
    exact = rng.laplace(size=(2, 5, 400)).astype(np.float32) * np.array([1.0, 4.0])[:, None, None]
    latent = np.rint(exact).astype(np.int8)
    short = Shortfall(2)
    short.add(exact[:, :2], latent[:, :2], largest=127)
    short.add(exact[:, 2:], latent[:, 2:], largest=127)
    ones = np.abs(latent) == 1
    assert short.counts[:, 0].tolist() == ones.sum((1, 2)).tolist()
    expected = [(1 - np.abs(exact[c][ones[c]])).mean() for c in range(2)]
    np.testing.assert_allclose(short.means()[:, 0], expected, atol=0.02)
    assert short.means()[0, 0] > short.means()[1, 0] > 0  # a wide distribution is flat within a step


def test_codes_beyond_the_largest_do_not_count() -> None:
    short = Shortfall(1)
    short.add(np.array([[5.0, 500.0]]), np.array([[5, 127]], np.int8), largest=126)
    assert short.counts.tolist() == [[0, 1]]
    assert short.sums.tolist() == [[0, 0]]


def test_deltas_are_bounded_and_begin_small() -> None:
    assert np.allclose(deltas(Shortfall(3).means()), 0.02)
    assert deltas(np.array([[-1.0, 5.0]])).tolist() == [[0.0, np.float32(0.3)]]


def test_outliers_are_expected_only_inside() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with outliers_expected():
            warnings.warn("limited", OutlierWarning, stacklevel=1)
        with pytest.raises(OutlierWarning):
            warnings.warn("limited", OutlierWarning, stacklevel=1)
