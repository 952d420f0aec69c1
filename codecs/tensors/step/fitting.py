"""Fitting a coding to samples: from arrays to parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.tensors.step.activity import fit_activity
from latentstore.codecs.tensors.step.geometry import Planes
from latentstore.codecs.tensors.step.parts import Parts
from latentstore.codecs.tensors.step.prediction import fit_taps, residuals
from latentstore.codecs.tensors.step.tables import find_spiked, fit_tables

__all__ = ["fit"]

Floats = npt.NDArray[np.float32]
_MOST_VALUES = 1 << 23
"""Values past which further samples are not looked at for predictors and contexts."""
_SMALLEST = float(np.finfo(np.float32).tiny)
_BEYOND = 2.0**31 - 128


def _checked(samples: Sequence[Floats], channel_axis: int) -> list[Floats]:
    """The samples that hold values; ArgumentError for any that cannot be fitted to."""
    channels: int | None = None
    for index, sample in enumerate(samples):
        if sample.dtype != np.float32 or not 0 <= channel_axis < sample.ndim:
            raise ArgumentError(
                f"Sample {index} must be float32 with an axis {channel_axis}, not {sample.dtype} of shape "
                f"{sample.shape}.",
                index,
            )
        channels = sample.shape[channel_axis] if channels is None else channels
        if sample.shape[channel_axis] != channels:
            raise ArgumentError(
                f"Sample {index} has {sample.shape[channel_axis]} channels where the first has {channels}; leave it "
                "out, or name the axis that has the same length in all.",
                index,
            )
        if not np.isfinite(sample).all():
            raise ArgumentError(f"Sample {index} holds NaN or an infinity; leave it out.", index)
    there = [sample for sample in samples if sample.size]
    if not there:
        raise ArgumentError("There is no sample with values to fit a coding to; give some.")
    return there


def _moments(samples: Sequence[Floats], channel_axis: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and variance of each channel."""
    flat = [np.moveaxis(s, channel_axis, 0).reshape(s.shape[channel_axis], -1) for s in samples]
    count = sum(f.shape[1] for f in flat)
    mean = sum(f.sum(axis=1, dtype=np.float64) for f in flat) / count
    spread = sum(np.square(f - mean[:, None]).sum(axis=1) for f in flat) / count
    return np.asarray(mean), np.asarray(spread)


def _steps(samples: Sequence[Floats], channel_axis: int, snr: float | None, steps: Any) -> Floats:
    channels = samples[0].shape[channel_axis]
    if (snr is None) == (steps is None):
        raise ArgumentError("Give either the SNR or the steps of a coding, not both.")
    if snr is not None:
        if not math.isfinite(snr):
            raise ArgumentError(f"An SNR of {snr} dB cannot be fitted; give a number such as 40.")
        mean, variance = _moments(samples, channel_axis)
        # A channel that never changes has no variance: its value is kept to the same part of itself.
        energy = np.where(variance > 0, variance, mean * mean)
        wanted = np.sqrt(12 * np.where(energy > 0, energy, 1) / 10 ** (snr / 10))
        return np.asarray(np.clip(wanted, _SMALLEST, np.finfo(np.float32).max), np.float32)
    given = np.asarray(steps, np.float64)
    if given.shape not in ((), (1,), (channels,)) or not (np.isfinite(given).all() and (given >= _SMALLEST).all()):
        raise ArgumentError(f"steps must be one finite number above 0, or one for each of {channels} channels.")
    with np.errstate(over="ignore"):
        found = np.asarray(np.broadcast_to(given, (channels,)), np.float32).copy()
    if not np.isfinite(found).all():
        raise ArgumentError("steps must lie within the range of float32.")
    return found


def _some(samples: Sequence[Floats]) -> list[Floats]:
    """Samples spread evenly, of about the number of values that is looked at."""
    total = sum(s.size for s in samples)
    every = max(1, math.ceil(total / _MOST_VALUES))
    return list(samples[:: min(every, len(samples))])


def _quantised(sample: Floats, steps: Floats, channel_axis: int) -> npt.NDArray[np.float32]:
    """Multiples of the steps, as floats."""
    shape = [1] * sample.ndim
    shape[channel_axis] = -1
    with np.errstate(over="ignore"):
        return np.clip(np.rint(sample / steps.reshape(shape)), -_BEYOND, _BEYOND)


def fit(samples: Sequence[Floats], *, channel_axis: int, snr: float | None, steps: Any) -> Parts:
    """See `StepCoding.fit`."""
    there = _checked(samples, channel_axis)
    found = _steps(there, channel_axis, snr, steps)
    groups = Planes.group([_quantised(s, found, channel_axis) for s in _some(there)], channel_axis)
    total = sum(g.values.sum(axis=(1, 2, 3), dtype=np.float64) for g in groups)
    means = np.rint(total / sum(g.values[0].size for g in groups)).astype(np.int32)
    spiked = find_spiked(groups)
    means[spiked > 0] = 0
    values = [Planes(g.values - means[:, None, None, None].astype(np.float32)) for g in groups]
    padded = [p.padded() for p in values]
    taps = fit_taps(padded)
    left = residuals(padded, taps)
    fitted = fit_activity(left)
    return {
        "steps": found,
        "means": means,
        "spiked": spiked,
        "tap_count": taps.count,
        "tap_back": taps.back,
        "tap_shift": taps.shift,
        "tap_weight": taps.weight,
        "activity": fitted.weights,
        "activity_bias": fitted.bias,
        "frequencies": fit_tables(values, left, fitted, spiked),
        "channel_axis": np.array([channel_axis], np.int32),
    }
