"""BD-rate: how many bits more or less a codec takes than another at equal quality (Bjontegaard).

The logarithm of the rate is interpolated over the quality by a monotone cubic, and the difference of two such curves is
averaged over the qualities that both cover.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Point", "bd_rate"]

Point = tuple[float, float]
"""Rate and quality."""
Floats = npt.NDArray[np.float64]


def bd_rate(curve: Sequence[Point], reference: Sequence[Point]) -> float | None:
    """Per cent of bits that `curve` takes more than `reference` at equal quality.

    None if they have no range of quality in common, or if one has less than two points of different finite qualities.
    """
    ours, theirs = _curve(curve), _curve(reference)
    if ours is None or theirs is None:
        return None
    low, high = max(ours[0][0], theirs[0][0]), min(ours[0][-1], theirs[0][-1])
    if low >= high:
        return None
    difference = _integral(*ours, low, high) - _integral(*theirs, low, high)
    return float(100 * np.expm1(difference / (high - low)))


def _curve(points: Sequence[Point]) -> tuple[Floats, Floats] | None:
    """Qualities that rise, and the logarithms of their rates; of equal qualities the lower rate."""
    best: dict[float, float] = {}
    for rate, quality in sorted(points, reverse=True):
        if np.isfinite(quality):
            best[quality] = rate
    if len(best) < 2:
        return None
    qualities = np.array(sorted(best))
    return qualities, np.log([best[quality] for quality in qualities])


def _slopes(x: Floats, y: Floats) -> Floats:
    """The slopes at the points of a monotone cubic (Fritsch and Butland 1984)."""
    h, d = np.diff(x), np.diff(y) / np.diff(x)
    if len(x) == 2:
        return np.repeat(d, 2)
    slopes = np.zeros_like(x)
    same = d[:-1] * d[1:] > 0
    left, right = (2 * h[1:] + h[:-1])[same], (h[1:] + 2 * h[:-1])[same]
    slopes[1:-1][same] = (left + right) / (left / d[:-1][same] + right / d[1:][same])
    slopes[0], slopes[-1] = _end(h[0], h[1], d[0], d[1]), _end(h[-1], h[-2], d[-1], d[-2])
    return slopes


def _end(h0: float, h1: float, d0: float, d1: float) -> float:
    """The slope at an end, from three points, limited so that the curve stays monotone."""
    slope = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1)
    if slope * d0 <= 0:
        return 0.0
    return 3 * d0 if d0 * d1 <= 0 and abs(slope) > 3 * abs(d0) else slope


def _integral(x: Floats, y: Floats, low: float, high: float) -> float:
    """The integral of the monotone cubic through the points."""
    slopes, total = _slopes(x, y), 0.0
    for i in range(len(x) - 1):
        a, b = max(low, x[i]), min(high, x[i + 1])
        if a < b:
            h, d = x[i + 1] - x[i], (y[i + 1] - y[i]) / (x[i + 1] - x[i])
            second, third = (3 * d - 2 * slopes[i] - slopes[i + 1]) / h, (slopes[i] + slopes[i + 1] - 2 * d) / h**2
            whole = np.polyint([third, second, slopes[i], y[i]])
            total += float(np.polyval(whole, b - x[i]) - np.polyval(whole, a - x[i]))
    return total
