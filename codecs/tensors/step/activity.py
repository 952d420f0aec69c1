"""Fitting contexts: how large a residual is expected to be, from the residuals around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from latentstore.codecs.tensors.step.geometry import AROUND, BESIDE, PHASES, SELF, Planes, gather, known, present

__all__ = ["BUCKETS", "SUMS", "Fitted", "bucket_of", "fit_activity", "shift_of"]

BUCKETS, SUMS = 72, 5
_MAGNITUDE_BITS, _WEIGHT_BITS, _UNIT_BITS = 4, 12, 10
_LARGEST = {4: 8191, 16: 2047}
"""The largest residual that counts as such, by what a residual of 1 counts."""
_MOST, _MOST_BIAS = 32767, 1 << 29
_ENOUGH = 5e-5
"""A change of all weights below which they are taken as found: a small part of what an integer stands for."""
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Fitted:
    """weights: uint16 (c, 4, 5). bias: int32 (c, 4). buckets: of every value, by (channel, phase)."""

    def __init__(self, channels: int) -> None:
        self.weights = np.zeros((channels, len(PHASES), SUMS), np.uint16)
        self.bias = np.zeros((channels, len(PHASES)), np.int32)
        self.buckets: dict[tuple[int, int], Integers] = {}


def bucket_of(expected: Integers) -> Integers:
    """The context of an expected magnitude in 1/64: four to an octave, from 1/8 on."""
    bits = (np.asarray(expected, np.float32).view(np.int32).astype(np.int64) >> 21) - (130 << 2)
    return np.clip(bits, 0, BUCKETS - 1)


def shift_of(bucket: Integers) -> Integers:
    """How many low bits of a residual are coded as they are."""
    return np.maximum(0, (bucket >> 2) - 4)


def _sums(near: Sequence[Planes], before: Sequence[Planes], phase: int) -> Integers:
    """int64 (5, positions), of one channel. near: magnitudes of the channel; before: activity of those before it."""

    def ring(planes: Sequence[Planes], shifts: Sequence[tuple[int, int]]) -> Integers:
        total = sum(gather(planes, phase, shift)[0].astype(np.int64) for shift in shifts)
        return np.minimum(np.asarray(total, np.int64), _MOST)

    def own(shifts: Sequence[tuple[int, int]]) -> Integers:
        seen = ring(near, shifts)
        return seen if all(known(phase, shift) for shift in shifts) else np.zeros_like(seen)

    return np.stack([own(BESIDE), own(AROUND), ring(before, [SELF]), ring(before, BESIDE), ring(before, AROUND)])


def _nearly(products: Floats, target: Floats) -> Floats:
    """Weights of least squares of those features whose weight is not negative when others were left out before them."""
    weights, kept = np.zeros(len(target)), np.flatnonzero(np.diag(products) > 0)
    while len(kept):
        found = np.linalg.lstsq(products[np.ix_(kept, kept)], target[kept], rcond=None)[0]
        if (found >= 0).all():
            weights[kept] = found
            break
        kept = np.delete(kept, found.argmin())
    return weights


def _not_negative(products: Floats, target: Floats) -> Floats:
    """Weights of least squares of which none is negative, by descent along one after another."""
    weights = _nearly(products, target)
    scale = np.diag(products)
    for _ in range(200):
        before = weights.copy()
        for i in np.flatnonzero(scale > 0):
            weights[i] = max(0.0, weights[i] + (target[i] - products[i] @ weights) / scale[i])
        if np.abs(weights - before).max() < _ENOUGH:
            break
    return weights


def _whole(weights: Floats) -> tuple[Integers, int]:
    """The integers that the format allows: of the sums, and of the constant, whose unit is a magnitude of 1/16."""
    scaled = weights[:SUMS] * (1 << _WEIGHT_BITS)
    scaled *= min(1.0, (_MOST - SUMS) / max(1.0, scaled.sum()))
    bias = min(float(_MOST_BIAS), weights[SUMS] * (1 << (_MAGNITUDE_BITS + _WEIGHT_BITS)))
    return np.asarray(np.rint(scaled), np.int64), int(np.rint(bias))


def fit_activity(left: Sequence[Planes], fine: npt.NDArray[np.uint8]) -> Fitted:
    """left: residuals, as `prediction.residuals` gives them. fine: of each channel, whether steps are quarters."""
    channels = len(left[0].values)
    fitted = Fitted(channels)
    activity = [np.zeros((1, *p.values.shape[1:]), np.int64) for p in left]
    for channel in range(channels):
        unit = 4 if fine[channel] else 16
        near = [
            np.minimum(np.abs(p.values[channel : channel + 1].astype(np.int64)), _LARGEST[unit]) * unit for p in left
        ]
        padded_near, before = [Planes(a).padded() for a in near], [Planes(a).padded() for a in activity]
        for phase in present(left, 0):
            sums = _sums(padded_near, before, phase)
            features = np.concatenate([sums, np.full((1, sums.shape[1]), 1 << _MAGNITUDE_BITS)]).astype(np.float64)
            target = gather(padded_near, phase, SELF)[0].astype(np.float64)
            weights, bias = _whole(_not_negative(features @ features.T, features @ target))
            fitted.weights[channel, phase], fitted.bias[channel, phase] = weights, bias
            fitted.buckets[channel, phase] = bucket_of((weights @ sums + bias) >> _UNIT_BITS)
        activity = [a + ((n - a) >> 3) for a, n in zip(activity, near, strict=True)]
    return fitted
