"""Fitting the predictor: for each channel and phase a few neighbours, and their weights as integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentstore.codecs.tensors.step.geometry import AROUND, BESIDE, PHASES, SELF, Planes, gather, known, present

__all__ = ["WEIGHT_BITS", "Taps", "fit_taps", "residuals"]

WEIGHT_BITS = 12
_MOST_TAPS = 24
_FEATURES, _POSITIONS = 3072, 1 << 16
"""The most candidates whose products are taken, and positions they are taken over: for more channels, fewer
neighbours of each are looked at, and past that many channels, only some of the earlier ones."""
_LARGEST, _LARGEST_SUM = 32767, 65535
Floats = npt.NDArray[np.float64]
Choice = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Taps:
    """What predicts each channel in each phase.

    count: uint8 (c, 4). back: uint16 (t,), how many channels before. shift: int8 (t, 2), rows and columns. weight:
    int16 (t,), in 1/4096.
    """

    count: npt.NDArray[np.uint8]
    back: npt.NDArray[np.uint16]
    shift: npt.NDArray[np.int8]
    weight: npt.NDArray[np.int16]

    @classmethod
    def none(cls, channels: int) -> Taps:
        """What predicts 0 everywhere."""
        count = np.zeros((channels, len(PHASES)), np.uint8)
        return cls(count, np.zeros(0, np.uint16), np.zeros((0, 2), np.int8), np.zeros(0, np.int16))

    def of(self, channel: int, phase: int) -> slice:
        """Where the taps of a channel in a phase stand."""
        model = channel * len(PHASES) + phase
        first = int(self.count.reshape(-1)[:model].sum(dtype=np.int64))
        return slice(first, first + int(self.count[channel, phase]))


def _select(products: Floats, candidates: Choice, target: int, positions: int) -> tuple[Choice, Floats]:
    """Candidates that predict a target, one after another the best of those left, and their weights.

    products: sums of products of features over positions.
    """
    own = products[target, target]
    with_target, left = products[candidates, target].copy(), products[candidates, candidates].copy()
    enough, remains = 1e-4 * left, own
    rows = np.zeros((_MOST_TAPS, len(candidates)))
    share, chosen = np.zeros(_MOST_TAPS), []
    # What one of many useless candidates gains by chance grows with the logarithm of their number.
    least = 2 * np.log(len(candidates) + 1) + 2
    for step in range(_MOST_TAPS):
        gain = np.where(left > enough, with_target**2 / np.maximum(left, 1e-9), 0)
        best = int(gain.argmax()) if len(gain) else 0
        # where all is predicted, rounding may leave less than nothing
        if not len(gain) or gain[best] <= 0 or positions * gain[best] <= least * remains:
            break
        row = products[candidates, candidates[best]] - rows[:step].T @ rows[:step, best]
        row /= np.sqrt(left[best])
        share[step] = with_target[best] / np.sqrt(left[best])
        rows[step] = row
        with_target -= row * share[step]
        left -= row * row
        remains -= share[step] ** 2
        chosen.append(best)
    if not chosen:
        return np.zeros(0, np.int64), np.zeros(0)
    n = len(chosen)
    weights = np.linalg.solve(np.triu(rows[:n, chosen]), share[:n])
    return candidates[chosen], np.asarray(weights, np.float64)


def _whole(weights: Floats) -> npt.NDArray[np.int64]:
    """Weights as integers that the format allows; weights that are too large together are made smaller."""
    scaled = weights * (1 << WEIGHT_BITS)
    size = np.abs(scaled)
    if len(size) and (size.max() > _LARGEST or size.sum() > _LARGEST_SUM - len(size)):
        scaled = scaled * min(_LARGEST / size.max(), (_LARGEST_SUM - len(size)) / size.sum())
    return np.asarray(np.rint(scaled), np.int64)


def _shifts(planes: Sequence[Planes], channels: int) -> tuple[tuple[int, int], ...]:
    """The neighbours that predictors may use, of each channel."""
    tall, wide = (max(p.values.shape[axis] for p in planes) > 3 for axis in (2, 3))
    shifts = [s for s in (SELF, *BESIDE, *AROUND) if (tall or not s[0]) and (wide or not s[1])]
    return tuple(shifts[: max(1, _FEATURES // channels)])


def _thinned(planes: Sequence[Planes], phase: int, first: int, last: int, shifts: Sequence[tuple[int, int]]) -> Floats:
    """Sums of products of all neighbours of channels `first` to `last` - 1, over positions spread evenly."""
    some = [Planes(p.values[first:last]) for p in planes]
    size = gather([Planes(p.values[:1]) for p in planes], phase, SELF).shape[1]
    kept = np.arange(size) if size <= _POSITIONS else np.linspace(0, size - 1, _POSITIONS).astype(np.int64)
    features = np.stack([gather(some, phase, s)[:, kept] for s in shifts], axis=1)
    flat = features.reshape(-1, len(kept)).astype(np.float32)
    return np.asarray(flat @ flat.T, np.float64)


def fit_taps(planes: Sequence[Planes]) -> Taps:
    """planes: integers less the channel's mean, float32, padded."""
    channels = len(planes[0].values)
    shifts = _shifts(planes, channels)
    block = max(1, _FEATURES // len(shifts))
    found: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
    for phase in present(planes, 1):
        own = [i for i, s in enumerate(shifts) if s != SELF and known(phase, s)]
        positions = min(_POSITIONS, gather([Planes(p.values[:1]) for p in planes], phase, SELF).shape[1])
        for first in range(0, channels, block):
            last = min(channels, first + block)
            products = _thinned(planes, phase, first, last, shifts)
            for channel in range(first, last):
                target = (channel - first) * len(shifts)
                candidates = np.array([*range(target), *(target + i for i in own)], np.int64)
                chosen, weights = _select(products, candidates, target, positions)
                found[channel, phase] = [
                    (channel - first - int(c) // len(shifts), *shifts[int(c) % len(shifts)], int(w))
                    for c, w in zip(chosen, _whole(weights), strict=True)
                    if w
                ]
    models = [found.get((c, f), []) for c in range(channels) for f in range(len(PHASES))]
    taps = np.array([tap for model in models for tap in model], np.int64).reshape(-1, 4)
    count = np.array([len(model) for model in models], np.uint8).reshape(channels, len(PHASES))
    return Taps(count, taps[:, 0].astype(np.uint16), taps[:, 1:3].astype(np.int8), taps[:, 3].astype(np.int16))


def residuals(planes: Sequence[Planes], taps: Taps) -> list[Planes]:
    """What is left of integers, int32, after prediction; planes: as for `fit_taps`. Not padded."""
    out = [Planes(p.values[:, :, 1:-1, 1:-1].astype(np.int32)) for p in planes]
    first = np.concatenate([[0], np.cumsum(taps.count.reshape(-1), dtype=np.int64)])
    for given, left in zip(planes, out, strict=True):
        for model in np.flatnonzero(taps.count.reshape(-1)):
            channel, phase = divmod(int(model), len(PHASES))
            row, column = PHASES[phase]
            place = left.values[channel, :, row::2, column::2]
            total = np.full(place.shape, 1 << (WEIGHT_BITS - 1), np.float64)
            for t in range(int(first[model]), int(first[model + 1])):
                source = Planes(given.values[channel - int(taps.back[t])][None])
                total += float(taps.weight[t]) * source.at(phase, (int(taps.shift[t, 0]), int(taps.shift[t, 1])))[0]
            place -= np.floor(total / (1 << WEIGHT_BITS)).astype(np.int32)
    return out
