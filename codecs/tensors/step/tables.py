"""Fitting tables: how often each high part of a residual comes in each context."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from latentstore.codecs.tensors.step.activity import BUCKETS, Fitted, shift_of
from latentstore.codecs.tensors.step.geometry import SELF, Planes, gather

__all__ = ["CENTRE", "ESCAPE", "PRECISION", "SYMBOLS", "find_spiked", "fit_tables"]

SYMBOLS, CENTRE, ESCAPE, SPIKE, PRECISION = 64, 32, 0, 1, 11
_PRIOR = 32.0
"""How many values seen the shape that a context has before any was seen counts as."""
_ESCAPE_BITS = 8
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


@cache
def _shape(bucket: int) -> Floats:
    """A two-sided geometric distribution of the magnitude that the context stands for."""
    magnitude = 2 ** (bucket / 4) * 1.1 / 8
    ratio = (np.sqrt(1 + magnitude**2) - 1) / magnitude
    shift = int(shift_of(np.array([bucket]))[0])
    sizes = np.abs(np.arange(-31 << shift, 32 << shift, dtype=np.float64))
    chances = (1 - ratio) / (1 + ratio) * ratio**sizes
    shape = np.zeros(SYMBOLS)
    shape[1:] = chances.reshape(SYMBOLS - 1, -1).sum(axis=1)
    shape[ESCAPE] = max(1e-6, 1 - shape.sum())
    return shape / shape.sum()


def _frequencies(chances: Floats) -> npt.NDArray[np.int64]:
    """Whole frequencies of one sum; what is too rare has none, and is an escape."""
    whole = np.rint(chances * (1 << PRECISION)).astype(np.int64)
    rare = chances[1:][whole[1:] == 0].sum()
    whole[ESCAPE] = max(1, int(np.rint((chances[ESCAPE] + rare) * (1 << PRECISION))))
    whole[int(whole[1:].argmax()) + 1] += (1 << PRECISION) - whole.sum()
    return whole


def find_spiked(values: Sequence[Planes]) -> npt.NDArray[np.uint8]:
    """uint8 (c,): whether a channel's multiples are 0 far more often than next to 0, as after a rectifier."""
    counts = np.array([sum((p.values == near).sum(axis=(1, 2, 3)) for p in values) for near in (-1, 0, 1)])
    total = sum(p.values[0].size for p in values)
    return np.asarray((counts[1] > 3 * (counts[0] + counts[2])) & (counts[1] > total / 50), np.uint8)


def _folded(residuals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """What stands for residuals of fine channels: j for 4 j + 1, and for -(4 j + 1)."""
    return (np.where(residuals & 3 == 1, residuals, -residuals) - 1) >> 2


def _counts(
    values: Sequence[Planes], left: Sequence[Planes], fitted: Fitted, spiked: Bytes, fine: Bytes
) -> npt.NDArray[np.int64]:
    """How often each symbol comes in each context, (2 * 72, 64)."""
    counts = np.zeros((2, BUCKETS * SYMBOLS), np.int64)
    for channel, spike in enumerate(spiked):
        padded, of = ([Planes(p.values[channel : channel + 1]).padded() for p in planes] for planes in (left, values))
        for phase, bucket in ((key[1], b) for key, b in fitted.buckets.items() if key[0] == channel):
            coded = gather(padded, phase, SELF)[0].astype(np.int64)
            high = (_folded(coded) if fine[channel] else coded) >> shift_of(bucket)
            symbol = np.where(np.abs(high) < CENTRE, high + CENTRE, ESCAPE)
            if spike:
                symbol = np.where(symbol == SPIKE, ESCAPE, symbol)
                symbol = np.where(gather(of, phase, SELF)[0] == 0, SPIKE, symbol)
            counts[spike] += np.bincount(bucket * SYMBOLS + symbol, minlength=counts.shape[1])
    return counts.reshape(-1, SYMBOLS)


def fit_tables(
    values: Sequence[Planes], left: Sequence[Planes], fitted: Fitted, spiked: Bytes, fine: Bytes
) -> tuple[npt.NDArray[np.uint16], float]:
    """uint16 (2, 72, 64), each row of the sum 2048: for channels without and with spikes; and about how many bits these
    samples take.

    values: multiples less their mean. left: residuals. fine: whether those of a channel are of sets.
    """
    counts, bits = _counts(values, left, fitted, spiked, fine), 0.0
    tables = np.zeros((2, BUCKETS, SYMBOLS), np.uint16)
    for number, seen in enumerate(counts):
        chances = seen + _PRIOR * _shape(number % BUCKETS)
        whole = _frequencies(chances / chances.sum())
        tables[number // BUCKETS, number % BUCKETS] = whole
        escapes = seen[ESCAPE] + seen[1:][whole[1:] == 0].sum()
        low = int(shift_of(np.array([number % BUCKETS]))[0]) * (seen.sum() - seen[SPIKE] * (number >= BUCKETS))
        bits += float((seen * (PRECISION - np.log2(np.where(whole > 0, whole, whole[ESCAPE])))).sum() + low)
        bits += _ESCAPE_BITS * float(escapes)
    return tables, bits
