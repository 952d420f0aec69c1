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
from latentstore.codecs.tensors.step.prediction import Taps, fit_taps, residuals
from latentstore.codecs.tensors.step.tables import find_spiked, fit_tables
from latentstore.codecs.tensors.step.trellis import Draft, chosen, gain_for

__all__ = ["fit"]

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
_MOST_VALUES = 1 << 23
"""Values past which further samples are not looked at for predictors and contexts."""
_SMALLEST = float(np.finfo(np.float32).tiny)
_BEYOND = 2.0**31 - 128
_COMPARED_VALUES = 1 << 18
"""Values by which the two ways are compared."""
_LEAST_GAIN = 1.02
_MOST_FINE = 8000
"""Multiples past which a channel is not made fine: about four times as many must fit 16 bits."""


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
        part = math.sqrt(12 / 10 ** (snr / 10))
        # A channel that never changes has no variance. Its value over a power of two is a step that gives it exactly.
        size = np.where(mean != 0, np.abs(mean), 1) * 2.0 ** min(0, math.floor(math.log2(part)))
        wanted = np.where(variance > 0, np.sqrt(variance) * part, size)
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


def _quantised(sample: Floats, steps: Floats, channel_axis: int) -> Floats:
    """Multiples of the steps, as floats."""
    shape = [1] * sample.ndim
    shape[channel_axis] = -1
    with np.errstate(over="ignore"):
        return np.clip(np.rint(sample / steps.reshape(shape)), -_BEYOND, _BEYOND)


def _may_be_fine(groups: Sequence[Planes]) -> npt.NDArray[np.uint8]:
    """uint8 (c,): channels that change, and whose multiples stay within what predictors see."""
    most = np.max([g.values.max(axis=(1, 2, 3)) for g in groups], axis=0)
    least = np.min([g.values.min(axis=(1, 2, 3)) for g in groups], axis=0)
    return np.asarray((most > least) & (most < _MOST_FINE) & (least > -_MOST_FINE), np.uint8)


def _less(groups: Sequence[Planes], scale: Floats, means: npt.NDArray[np.int32]) -> list[Planes]:
    """Multiples, times a number for each channel, less the means."""
    by, less = (a[:, None, None, None].astype(np.float32) for a in (scale, means))
    return [Planes(g.values * by - less) for g in groups]


def _draft(groups: Sequence[Planes], uniform: Floats, scale: Floats, channel_axis: int, taps: Taps | None) -> Draft:
    """groups: multiples of the steps `uniform`, whose error is what that of a fine channel will be. scale: how many
    steps of the draft these are; channels where it is not 1 are fine."""
    spiked = find_spiked(groups)
    total = sum(g.values.sum(axis=(1, 2, 3), dtype=np.float64) for g in groups)
    middle = np.rint(total / sum(g.values[0].size for g in groups) * scale)
    means = np.where(spiked > 0, 0, middle).astype(np.int32)
    taps = taps or fit_taps([p.padded() for p in _less(groups, scale, means)])
    return Draft(
        np.asarray(uniform / scale, np.float32), means, spiked, (scale != 1).astype(np.uint8), taps, channel_axis
    )


def _finished(draft: Draft, groups: Sequence[Planes]) -> tuple[Parts, float]:
    """The coding, of the multiples that the draft gives, and how many bits these take."""
    values = _less(groups, np.ones_like(draft.steps), draft.means)
    left = residuals([p.padded() for p in values], draft.taps)
    fitted = fit_activity(left, draft.fine)
    tables, bits = fit_tables(values, left, fitted, draft.spiked, draft.fine)
    return draft.parts(fitted, tables), bits


def _fewer(groups: Sequence[Planes]) -> list[Planes]:
    """Frames spread evenly, of about the number of values by which codings are compared."""
    every = max(1, sum(g.values.size for g in groups) // _COMPARED_VALUES)
    return [Planes(g.values[:, ::every]) for g in groups]


def fit(samples: Sequence[Floats], *, channel_axis: int, snr: float | None, steps: Any) -> Parts:
    """See `StepCoding.fit`. Channels are fine where an SNR is wanted, and a trellis gives it in fewer bits."""
    there = _checked(samples, channel_axis)
    uniform = _steps(there, channel_axis, snr, steps)
    some = _some(there)
    groups = Planes.group([_quantised(s, uniform, channel_axis) for s in some], channel_axis)
    draft = _draft(groups, uniform, np.ones_like(uniform), channel_axis, None)
    fine = _may_be_fine(groups) if snr is not None else draft.fine
    gain = gain_for(some, channel_axis) if fine.any() else 1.0
    if gain > _LEAST_GAIN:
        scale = np.where(fine > 0, np.float32(4 / gain), np.float32(1))
        # Where all steps are smaller alike, so are all neighbours.
        other = _draft(groups, uniform, scale, channel_axis, draft.taps if fine.all() else None)
        multiples = chosen(other, some)
        if multiples is not None:
            found = Planes.group(multiples, channel_axis)
            if _finished(other, _fewer(found))[1] < _finished(draft, _fewer(groups))[1]:
                draft, groups = other, found
    return _finished(draft, groups)[0]
