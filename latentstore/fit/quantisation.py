"""Fits the quantisation of a codec: the finest step of each channel, and how far back from zero codes are rebuilt."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.codec import Codec, OutlierWarning

__all__ = ["Shortfall", "deltas", "finest_step", "histogram", "outliers_expected", "quality_of"]

# A mean counts as if it had been seen so many times before, at this value: rare codes stay near it.
PRIOR_COUNT, PRIOR_MEAN = 20, 0.02
LARGEST_MEAN = 0.3


def quality_of(codec: Codec, step: float) -> int:
    """The quality whose step is nearest."""
    return int(np.abs(np.log2([codec.step(q) for q in range(1, 101)]) - np.log2(step)).argmin()) + 1


def histogram(parts: Iterable[npt.NDArray[Any]], bound: npt.NDArray[Any], bins: int) -> npt.NDArray[np.float64]:
    """float64 (channels, bins): magnitudes of coefficients (channels, n), from 0 to the `bound` of each channel."""
    counts, width = np.zeros((len(bound), bins)), bound / bins
    for part in parts:
        places = np.abs(part) / width[:, None]
        for count, place in zip(counts, places.astype(np.int64), strict=True):
            count += np.bincount(np.minimum(place, bins - 1), minlength=bins)
    return counts


def finest_step(count: npt.NDArray[np.float64], bound: float, steps: npt.NDArray[np.float64]) -> float:
    """The step at which rounding and the limit of int8 together cost least.

    count: a channel's histogram of magnitudes up to `bound`. steps: those to choose from.
    """
    share, value = count / count.sum(), (np.arange(len(count)) + 0.5) * bound / len(count)
    error = [step**2 / 12 + share @ np.maximum(value - 127 * step, 0) ** 2 for step in steps]
    return float(steps[np.argmin(error)])


class Shortfall:
    """How far, in steps, coefficients lie below the code they were rounded to: of codes +-1, and of larger ones.

    sums, counts: float64 (channels, 2).
    """

    def __init__(self, channels: int) -> None:
        self.sums, self.counts = np.zeros((channels, 2)), np.zeros((channels, 2))

    def add(self, exact: npt.NDArray[Any], latent: npt.NDArray[np.int8], largest: int) -> None:
        """Counts a latent int8 (channels, ...) and its exact coefficients, in steps. largest: code that counts."""
        size, axes = np.abs(latent.astype(np.float32)), tuple(range(1, latent.ndim))
        short = size - exact * np.sign(latent)
        for i, chosen in enumerate((size == 1, (size > 1) & (size <= largest))):
            self.sums[:, i] += np.where(chosen, short, 0).sum(axes)
            self.counts[:, i] += chosen.sum(axes)

    def means(self) -> npt.NDArray[np.float64]:
        """float64 (channels, 2), before `deltas` limits them."""
        mean: npt.NDArray[np.float64] = (self.sums + PRIOR_COUNT * PRIOR_MEAN) / (self.counts + PRIOR_COUNT)
        return mean


def deltas(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """float32 (channels, 2): what a decoder takes off the magnitude of codes +-1, and of larger ones, in steps."""
    return np.clip(means, 0, LARGEST_MEAN).astype(np.float32)


@contextmanager
def outliers_expected() -> Iterator[None]:
    """Without warnings of coefficients beyond int8: at the finest step there are some, and no model is fitted to
    them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutlierWarning)
        yield
