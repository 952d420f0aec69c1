"""One level of each wavelet, by lifting: what `wavelet` nests, in plain NumPy.

Arrays may have any axes, and keep their dtype: float32, or float64 to look at the filters themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "HH",
    "HL",
    "LH",
    "LL",
    "merge_cdf",
    "merge_quad",
    "merge_symmetric",
    "split_cdf",
    "split_quad",
    "split_symmetric",
]

Array = npt.NDArray[Any]

LL, HL, LH, HH = range(4)
"""Bands of one level of two dimensions: 2 * (vertical high) + (horizontal high)."""

# Taps of the two antisymmetric steps, low += c * (high[n-1] - high[n+1]) and then
# high += c * (low[n-1] - low[n+1]): together a 6/10-tap pair. Exact in binary.
TAP_LOW = np.float32(-7 / 64)
TAP_HIGH = np.float32(-9 / 64)

# Lifting factors of CDF 9/7 (Daubechies and Sweldens 1998), and the gain that makes the low band of a
# constant sqrt(2) times it.
CDF_STEPS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
CDF_GAIN = 1.149604398860241


# --- sym6-10, two dimensions: the order of operations here is the definition ---


def split_quad(x: Array) -> Array:
    """One level: (..., 2h, 2w) to (..., 4, h, w)."""
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    half = np.float32(0.5)
    sum_ad, sum_bc, diff_ad, diff_bc = a + d, b + c, a - d, b - c
    quad = [sum_ad + sum_bc, diff_ad - diff_bc, diff_ad + diff_bc, sum_ad - sum_bc]  # LL, HL, LH, HH
    quad = _lift_quad([band * half for band in quad], TAP_LOW, LL)
    return np.stack(_lift_quad(quad, TAP_HIGH, HH), axis=-3)


def merge_quad(quads: Array) -> Array:
    """The inverse level: (..., 4, h, w) to (..., 2h, 2w)."""
    quad = _lift_quad([quads[..., band, :, :] for band in range(4)], -TAP_HIGH, HH)
    ll, hl, lh, hh = _lift_quad(quad, -TAP_LOW, LL)
    half = np.float32(0.5)
    sum_even, diff_even, sum_odd, diff_odd = ll + hh, ll - hh, hl + lh, hl - lh
    x = np.empty((*ll.shape[:-2], 2 * ll.shape[-2], 2 * ll.shape[-1]), ll.dtype)
    x[..., 0::2, 0::2] = (sum_even + sum_odd) * half
    x[..., 1::2, 1::2] = (sum_even - sum_odd) * half
    x[..., 0::2, 1::2] = (diff_even - diff_odd) * half
    x[..., 1::2, 0::2] = (diff_even + diff_odd) * half
    return x


def _lift_quad(quad: list[Array], c: np.float32, target: int) -> list[Array]:
    """(1 + c Dh)(1 + c Dv), D f = f[-1] - f[+1]: one step of both directions, all from the values before it.

    target: LL changes the low bands from the high ones, HH the high ones from the low ones. It takes the
    first differences of the band that differs from it horizontally and of the one that does vertically, and
    c^2 times the mixed difference of the opposite band. With -c this is the step's inverse.
    """
    source = HH - target
    across, along = (HL, LH) if target == LL else (LH, HL)
    s, p, q = (_extended(quad[band], band) for band in (source, across, along))
    up, middle, down = slice(0, -2), slice(1, -1), slice(2, None)
    horizontal = p[..., middle, up] - p[..., middle, down]
    vertical = q[..., up, middle] - q[..., down, middle]
    mixed = (s[..., up, up] + s[..., down, down]) - (s[..., up, down] + s[..., down, up])
    out = list(quad)
    out[target] = (quad[target] + c * (horizontal + vertical)) + (c * c) * mixed
    out[across] = quad[across] + c * (s[..., up, middle] - s[..., down, middle])
    out[along] = quad[along] + c * (s[..., middle, up] - s[..., middle, down])
    return out


def _extended(band: Array, index: int) -> Array:
    """One more value on every side: half-sample reflection, negated where the band is high."""
    e = np.pad(band, [(0, 0)] * (band.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    if index & HL:
        e[..., :, 0], e[..., :, -1] = -e[..., :, 0], -e[..., :, -1]
    if index & LH:
        e[..., 0, :], e[..., -1, :] = -e[..., 0, :], -e[..., -1, :]
    return e


# --- one axis ---


def _neighbours(x: Array, axis: int, before: Array, after: Array) -> tuple[Array, Array]:
    """x[n-1] and x[n+1], with the given values past the ends."""
    all_but_last, _ = np.split(x, [-1], axis)
    _, all_but_first = np.split(x, [1], axis)
    return np.concatenate([before, all_but_last], axis), np.concatenate([all_but_first, after], axis)


def _ends(x: Array, axis: int) -> tuple[Array, Array]:
    return np.take(x, [0], axis=axis), np.take(x, [-1], axis=axis)


def _antisymmetric_step(x: Array, axis: int, sign: int) -> Array:
    """x[n-1] - x[n+1] under half-sample reflection; sign -1 for a band that is odd about the ends."""
    first, last = _ends(x, axis)
    before, after = _neighbours(x, axis, sign * first, sign * last)
    return before - after


def _even_odd(x: Array, axis: int) -> tuple[Array, Array]:
    index: list[slice] = [slice(None)] * x.ndim
    index[axis] = slice(0, None, 2)
    even = x[tuple(index)]
    index[axis] = slice(1, None, 2)
    return even, x[tuple(index)]


def _interleaved(even: Array, odd: Array, axis: int) -> Array:
    axis %= even.ndim
    shape = list(even.shape)
    shape[axis] *= 2
    return np.stack([even, odd], axis=axis + 1).reshape(shape)


def split_symmetric(x: Array, axis: int) -> tuple[Array, Array]:
    """The 6/10 pair: low and high band."""
    a, b = _even_odd(x, axis)
    root = x.dtype.type(np.sqrt(0.5))
    low, high = (a + b) * root, (a - b) * root
    low = low + x.dtype.type(TAP_LOW) * _antisymmetric_step(high, axis, -1)
    high = high + x.dtype.type(TAP_HIGH) * _antisymmetric_step(low, axis, 1)
    return low, high


def merge_symmetric(low: Array, high: Array, axis: int) -> Array:
    """Inverse of `split_symmetric`."""
    root = low.dtype.type(np.sqrt(0.5))
    high = high - low.dtype.type(TAP_HIGH) * _antisymmetric_step(low, axis, 1)
    low = low - low.dtype.type(TAP_LOW) * _antisymmetric_step(high, axis, -1)
    return _interleaved((low + high) * root, (low - high) * root, axis)


def _cdf_neighbours(low: Array, high: Array, axis: int, whole_sample: bool) -> tuple[Array, Array]:
    """Sums of the two samples around every odd and every even one: low[n] + low[n+1], high[n-1] + high[n]."""
    first_high, last_high = _ends(high, axis)
    first_low, last_low = _ends(low, axis)
    _, next_low = _neighbours(low, axis, first_low, last_low if whole_sample else first_low)
    previous_high, _ = _neighbours(high, axis, first_high if whole_sample else last_high, last_high)
    return low + next_low, previous_high + high


def split_cdf(x: Array, axis: int, whole_sample: bool) -> tuple[Array, Array]:
    """CDF 9/7: low and high band; the signal goes on reflected about its end samples, or periodic."""
    low, high = _even_odd(x, axis)
    for step, factor in enumerate(CDF_STEPS):
        around_high, around_low = _cdf_neighbours(low, high, axis, whole_sample)
        if step % 2 == 0:
            high = high + x.dtype.type(factor) * around_high
        else:
            low = low + x.dtype.type(factor) * around_low
    return low * x.dtype.type(CDF_GAIN), high * x.dtype.type(-1 / CDF_GAIN)


def merge_cdf(low: Array, high: Array, axis: int, whole_sample: bool) -> Array:
    """Inverse of `split_cdf`."""
    low, high = low * low.dtype.type(1 / CDF_GAIN), high * low.dtype.type(-CDF_GAIN)
    for step, factor in reversed(list(enumerate(CDF_STEPS))):
        around_high, around_low = _cdf_neighbours(low, high, axis, whole_sample)
        if step % 2 == 0:
            high = high - low.dtype.type(factor) * around_high
        else:
            low = low - low.dtype.type(factor) * around_low
    return _interleaved(low, high, axis)
