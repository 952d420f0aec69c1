"""Tensors whose neighbours resemble each other, in space and across channels, as latents do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def tensor(shape: Sequence[int], channel_axis: int, seed: int) -> np.ndarray:
    """float32: noise made smooth along each axis, mixed across channels, each with its own mean and deviation."""
    mix = np.random.default_rng(shape[channel_axis])  # the same for all tensors of so many channels
    rng = np.random.default_rng(seed)
    values = np.moveaxis(rng.standard_normal(shape), channel_axis, 0)
    for axis in range(1, values.ndim):
        values = values + 0.9 * np.roll(values, 1, axis)
    weights = mix.standard_normal((len(values), len(values))) / 2 + np.eye(len(values))
    values = np.tensordot(weights, values, 1)
    scale = 10 ** mix.uniform(-1, 1, len(values))
    mean = mix.standard_normal(len(values)) * scale
    column = (len(values), *[1] * (values.ndim - 1))
    return np.ascontiguousarray(
        np.moveaxis(values * scale.reshape(column) + mean.reshape(column), 0, channel_axis), np.float32
    )


def tensors(count: int, shape: Sequence[int], channel_axis: int = 0) -> list[np.ndarray]:
    """Several of one shape."""
    return [tensor(shape, channel_axis, seed) for seed in range(count)]
