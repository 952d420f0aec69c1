"""Entropy models without meaning, and latents to code with them, often at the edge of what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SHA256 = bytes(range(100, 132))

Tables = list[npt.NDArray[Any]]


def random_tables(
    seed: int,
    models: int = 2,
    channels: int = 3,
    tables: int = 7,
    precision: int = 11,
    predicted: float = 0.5,
    strength: float = 1.0,
) -> Tables:
    """The arrays that `coder_new` takes after the precision.

    predicted: share of predicted channels. strength: 1 is as fitted, 100 gives the largest.
    """
    rng = np.random.default_rng(seed)

    def integers(low: float, high: float, *shape: int) -> npt.NDArray[np.int32]:
        return np.clip(np.rint(rng.uniform(low, high, shape) * strength), -32767, 32767).astype(np.int32)

    group = (models, channels)
    return [
        integers(0, 5000, *group, 5),
        integers(0, 3000, *group),
        np.minimum(integers(0, 60, *group, channels, 2), 127).astype(np.uint8),
        (rng.random(group) < predicted).astype(np.uint8),
        integers(-600, 700, *group, 4),
        integers(-200, 200, *group, channels, 9),
        rng.integers(0, tables, (*group, 4, 64)).astype(np.uint8),
        np.stack([_frequencies(rng, precision) for _ in range(tables)]),
        rng.integers(1, 1 << precision, (models, 1024)).astype(np.int32),
    ]


def random_adaptive_tables(
    seed: int,
    models: int = 2,
    channels: int = 3,
    tables: int = 7,
    precision: int = 11,
    filtered: float = 0.7,
    strength: float = 1.0,
) -> Tables:
    """The arrays that `adaptive_new` takes after the precision.

    filtered: share of channels with taps or gains that are not zero. strength: 1 predicts about as fitted models do,
    100 has the largest weights, whose sums wrap.
    """
    rng = np.random.default_rng(seed)
    group = (models, channels)

    def integers(high: float, limit: int, *shape: int) -> npt.NDArray[np.int32]:
        return np.clip(np.rint(rng.uniform(0, high, shape) * strength), 0, limit).astype(np.int32)

    gain = integers(3000, 65535, 4, 64)
    gain[0] = 0
    taps = np.clip(rng.normal(0, 20000 * strength, (*group, 14)), -(1 << 20), 1 << 20).astype(np.int32)
    rate = rng.integers(0, 4, group).astype(np.uint8)
    plain = rng.random(group) >= filtered
    taps[plain], rate[plain] = 0, 0
    return [
        integers(5000, 32767, *group, 5),
        integers(3000, 65535, *group),
        integers(30, 127, *group, channels, 2).astype(np.uint8),
        taps,
        rng.choice([*range(channels), 255], (*group, 2)).astype(np.uint8),
        rate,
        gain,
        rng.integers(0, tables, (*group, 4, 64)).astype(np.uint8),
        np.stack([_frequencies(rng, precision) for _ in range(tables)]),
    ]


def _frequencies(rng: np.random.Generator, precision: int) -> npt.NDArray[np.int32]:
    """A Laplacian of any width with gaps: symbols without a frequency go by the escape."""
    width = rng.choice([0.1, 0.5, 2.0, 10.0])
    share = np.exp(-np.abs(np.arange(64) - 31) / width)
    share[63] = rng.choice([1e-9, 0.01, 0.5])
    freq = np.floor(share / share.sum() * (1 << precision)).astype(np.int32)
    freq[rng.choice([0, 12, 29, 30, 32, 33, 40, 62], 3)] = 0
    freq[63] = max(freq[63], 1)
    freq[int(freq.argmax())] += (1 << precision) - freq.sum()
    return freq


KINDS = ("zeros", "sparse", "plain", "strong", "extreme", "constant", "one")


def latent(seed: int, kind: str, channels: int, height: int, width: int) -> npt.NDArray[np.int8]:
    """int8 (channels, height, width) of one of KINDS."""
    rng = np.random.default_rng(seed)
    shape = (channels, height, width)
    if kind == "zeros":
        return np.zeros(shape, np.int8)
    if kind == "constant":
        return np.full(shape, rng.integers(-128, 128), np.int8)
    if kind == "extreme":
        return rng.choice([-128, -127, -1, 0, 1, 126, 127], shape).astype(np.int8)
    if kind == "one":
        result = np.zeros(shape, np.int8)
        result[tuple(rng.integers(0, shape))] = rng.choice([-128, -32, 1, 127])
        return result
    scale = {"sparse": 0.2, "plain": 2.0, "strong": 30.0}[kind]
    return np.clip(np.rint(rng.laplace(0, scale, shape)), -128, 127).astype(np.int8)
