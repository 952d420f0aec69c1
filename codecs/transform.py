"""Wavelet packet transforms of arrays, in one and two dimensions, to any depth.

Two filter pairs:

``sym6-10``
    The pair of our own codecs: even length (6 and 10 taps), symmetric, lifted from Haar by two antisymmetric steps, with
    half-sample symmetric extension. A flipped signal gives flipped bands, those that are high an odd number of times
    negated. In two dimensions both directions of a step are taken together, in float32, in an order that makes this hold
    bit for bit, and for transposition too. The native kernel does the same operations in the same order on pictures:
    `picture_bands` here is its reference, and what runs where no kernel was built.
``bior4.4``
    CDF 9/7 by lifting, as WaLLoC uses it: ``mode="periodization"`` equals PyWavelets' mode of that name,
    ``mode="symmetric"`` is whole-sample symmetric extension.

Bands are numbered by nested splits: one split of a picture gives ``2 * (vertical high) + (horizontal high)``, one of a
signal 0 (low) or 1 (high), and every band is split again, so depth J gives ``4**J`` or ``2**J`` bands. Sides that are no
multiple of ``2**J`` are extended by half-sample reflection at their end, and cropped again by the inverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ArgumentError

__all__ = [
    "FILTERS",
    "analysis_1d",
    "analysis_2d",
    "filter_bank",
    "picture_bands",
    "synthesis_1d",
    "synthesis_2d",
]

Floats = npt.NDArray[np.float32]

FILTERS = ("sym6-10", "bior4.4")
LEVELS = 3
"""Depth of the picture codecs."""
REDUCTION = 2**LEVELS

# Taps of the two antisymmetric steps: low += c * (high[n-1] - high[n+1]), then high += c * (low[n-1] - low[n+1]).
# Exact in binary; together a 6/10-tap pair.
TAP_LOW = np.float32(-7 / 64)
TAP_HIGH = np.float32(-9 / 64)

# Lifting factors of CDF 9/7 (Daubechies and Sweldens 1998), and the gain that makes the low band's DC gain sqrt(2).
CDF_STEPS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
CDF_GAIN = 1.149604398860241

LL, HL, LH, HH = range(4)


def analysis_2d(x: npt.ArrayLike, levels: int, filters: str = "sym6-10", mode: str | None = None) -> Floats:
    """Splits pictures into bands.

    x: ``(..., H, W)``, any H and W from 1 up; computed in float32.
    mode: how the signal goes on past its ends; only bior4.4 has a choice, "periodization" (its default) or "symmetric".

    Returns float32 ``(..., 4**levels, ceil(H / 2**levels), ceil(W / 2**levels))``.
    Raises ArgumentError for an empty side, a negative depth, or filters or a mode that do not exist.
    """
    split = _split_2d(filters, mode)
    array = _signal(x, 2, levels)
    bands = _padded(_padded(array, -1, 2**levels), -2, 2**levels)[..., None, :, :]
    for _ in range(levels):
        quads = split(bands)  # (..., bands, 4, h, w)
        bands = quads.reshape(*quads.shape[:-4], -1, *quads.shape[-2:])
    return bands


def synthesis_2d(
    bands: npt.ArrayLike, size: tuple[int, int], filters: str = "sym6-10", mode: str | None = None
) -> Floats:
    """The inverse of `analysis_2d`.

    bands: ``(..., 4**levels, h, w)``; size: (H, W) of the picture, at most ``2**levels`` times h and w.
    Returns float32 ``(..., H, W)``.
    """
    merge = _merge_2d(filters, mode)
    array, levels = _bands(bands, 4, 2)
    _check_size(array.shape[-2:], size, levels)
    for _ in range(levels):
        quads = array.reshape(*array.shape[:-3], -1, 4, *array.shape[-2:])
        array = merge(quads)
    return np.ascontiguousarray(array[..., 0, : size[0], : size[1]])


def analysis_1d(x: npt.ArrayLike, levels: int, filters: str = "sym6-10", mode: str | None = None) -> Floats:
    """Splits signals ``(..., T)``, T from 1 up, into float32 bands ``(..., 2**levels, ceil(T / 2**levels))``."""
    split, _ = _pair(filters, mode)
    bands = _padded(_signal(x, 1, levels), -1, 2**levels)[..., None, :]
    for _ in range(levels):
        pair = np.stack(split(bands, -1), axis=-2)
        bands = pair.reshape(*pair.shape[:-3], -1, pair.shape[-1])
    return bands


def synthesis_1d(bands: npt.ArrayLike, size: int, filters: str = "sym6-10", mode: str | None = None) -> Floats:
    """The inverse of `analysis_1d`: float32 ``(..., size)`` from ``(..., 2**levels, t)``."""
    _, merge = _pair(filters, mode)
    array, levels = _bands(bands, 2, 1)
    _check_size(array.shape[-1:], (size,), levels)
    for _ in range(levels):
        pair = array.reshape(*array.shape[:-2], -1, 2, array.shape[-1])
        array = merge(pair[..., 0, :], pair[..., 1, :], -1)
    return np.ascontiguousarray(array[..., 0, :size])


def picture_bands(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Bands of a picture as the codecs use them: uint8 ``(H, W, C)`` to float32 ``(64 * C, ceil(H/8), ceil(W/8))``.

    Plane ``band * C + colour`` holds one band of ``pixel - 128``. Bit for bit what the kernel's picture_analysis gives.
    """
    planar = np.moveaxis(pixels, -1, 0).astype(np.float32) - np.float32(128)
    bands = np.moveaxis(analysis_2d(planar, LEVELS), 0, 1)  # (64, C, h, w)
    return np.ascontiguousarray(bands.reshape(-1, *bands.shape[-2:]))


def filter_bank(filters: str = "sym6-10") -> tuple[npt.NDArray[np.float64], ...]:
    """Taps ``(dec_lo, dec_hi, rec_lo, rec_hi)``, float64, of equal length, as PyWavelets takes a custom filter bank."""
    split, merge = _pair(filters, None)
    length, middle = 10, 8
    signal = np.zeros((32, 32))
    np.fill_diagonal(signal, 1.0)
    low, high = split(signal, -1)
    # Row i is the answer to an impulse at i. PyWavelets: band[n] = sum_k dec[k] * x[2 n + length / 2 - k].
    taps = 2 * middle + length // 2 - np.arange(length)
    impulse = np.zeros((2, 16))
    impulse[:, middle] = 1.0
    zero = np.zeros((2, 16))
    place = 2 * middle - length // 2 + 1 + np.arange(length)
    rec_low, rec_high = merge(impulse, zero, -1)[0, place], merge(zero, impulse, -1)[0, place]
    return low[taps, middle], high[taps, middle], rec_low, rec_high


# --- arguments ---


def _signal(x: npt.ArrayLike, dimensions: int, levels: int) -> Floats:
    array = np.asarray(x, dtype=np.float32)
    if levels < 0:
        raise ArgumentError(f"levels must be 0 or more, not {levels}.")
    if array.ndim < dimensions or 0 in array.shape[array.ndim - dimensions :]:
        raise ArgumentError(f"A signal needs {dimensions} sides of at least one sample, not shape {array.shape}.")
    return array


def _bands(bands: npt.ArrayLike, branches: int, dimensions: int) -> tuple[Floats, int]:
    array = np.asarray(bands, dtype=np.float32)
    count = array.shape[-dimensions - 1] if array.ndim > dimensions else 0
    levels = 0
    while branches**levels < count:
        levels += 1
    if count == 0 or branches**levels != count or 0 in array.shape[array.ndim - dimensions :]:
        raise ArgumentError(
            f"Bands must stand along axis {-dimensions - 1}, a power of {branches} of them, not shape {array.shape}."
        )
    return array, levels


def _check_size(sides: Sequence[int], size: Sequence[int], levels: int) -> None:
    for side, wanted in zip(sides, size, strict=True):
        if not 0 < wanted <= side * 2**levels:
            raise ArgumentError(f"Size {tuple(size)} does not fit bands of shape {tuple(sides)} at {levels} levels.")


def _padded(x: Floats, axis: int, multiple: int) -> Floats:
    """Extends the end of an axis to a multiple by half-sample reflection, repeated for short signals."""
    n = x.shape[axis]
    missing = -n % multiple
    if not missing:
        return x
    index = np.arange(n + missing) % (2 * n)
    return np.take(x, np.minimum(index, 2 * n - 1 - index), axis=axis)


Split = Callable[[Any, int], tuple[Any, Any]]
Merge = Callable[[Any, Any, int], Any]


def _pair(filters: str, mode: str | None) -> tuple[Split, Merge]:
    """The split and the merge of one axis."""
    _check_filters(filters, mode)
    if filters == "sym6-10":
        return _split_symmetric, _merge_symmetric
    whole_sample = mode == "symmetric"
    return (
        lambda x, axis: _split_cdf(x, axis, whole_sample),
        lambda low, high, axis: _merge_cdf(low, high, axis, whole_sample),
    )


def _check_filters(filters: str, mode: str | None) -> None:
    modes = {"sym6-10": (None, "symmetric"), "bior4.4": (None, "periodization", "symmetric")}
    if filters not in modes:
        raise ArgumentError(f"Filters {filters!r} are not known; there are {', '.join(FILTERS)}.")
    if mode not in modes[filters]:
        raise ArgumentError(f"Filters {filters!r} have no mode {mode!r}.")


def _split_2d(filters: str, mode: str | None) -> Callable[[Any], Any]:
    _check_filters(filters, mode)
    if filters == "sym6-10":
        return _split_quad
    split, _ = _pair(filters, mode)

    def separable(x: Any) -> Any:
        low, high = split(x, -2)
        return np.stack([*split(low, -1), *split(high, -1)], axis=-3)

    return separable


def _merge_2d(filters: str, mode: str | None) -> Callable[[Any], Any]:
    _check_filters(filters, mode)
    if filters == "sym6-10":
        return _merge_quad
    _, merge = _pair(filters, mode)

    def separable(q: Any) -> Any:
        low = merge(q[..., LL, :, :], q[..., HL, :, :], -1)
        high = merge(q[..., LH, :, :], q[..., HH, :, :], -1)
        return merge(low, high, -2)

    return separable


# --- sym6-10, two dimensions: the order of operations here is the definition ---


def _split_quad(x: Any) -> Any:
    """One level: (..., 2h, 2w) to (..., 4, h, w)."""
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    half = np.float32(0.5)
    sum_ad, sum_bc, diff_ad, diff_bc = a + d, b + c, a - d, b - c
    quad = [(sum_ad + sum_bc) * half, (diff_ad - diff_bc) * half, (diff_ad + diff_bc) * half, (sum_ad - sum_bc) * half]
    quad = _lift_quad(quad, TAP_LOW, LL)
    return np.stack(_lift_quad(quad, TAP_HIGH, HH), axis=-3)


def _merge_quad(quads: Any) -> Any:
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


def _lift_quad(quad: list[Any], c: np.float32, target: int) -> list[Any]:
    """(1 + c Dh)(1 + c Dv), D f = f[-1] - f[+1]: one step of both directions, all from the values before it.

    target: LL changes the low bands from the high ones, HH the high ones from the low ones. It takes the first
    differences of the band that differs from it horizontally and of the one that does vertically, and c^2 times the mixed
    difference of the opposite band. With -c this is the step's inverse.
    """
    source = HH - target
    across, along = (HL, LH) if target == LL else (LH, HL)
    low_rows = [_extended(band, k) for k, band in enumerate(quad)]
    s, p, q = low_rows[source], low_rows[across], low_rows[along]
    up, middle, down = slice(0, -2), slice(1, -1), slice(2, None)
    horizontal = p[..., middle, up] - p[..., middle, down]
    vertical = q[..., up, middle] - q[..., down, middle]
    mixed = (s[..., up, up] + s[..., down, down]) - (s[..., up, down] + s[..., down, up])
    out = list(quad)
    out[target] = (quad[target] + c * (horizontal + vertical)) + (c * c) * mixed
    out[across] = quad[across] + c * (s[..., up, middle] - s[..., down, middle])
    out[along] = quad[along] + c * (s[..., middle, up] - s[..., middle, down])
    return out


def _extended(band: Any, index: int) -> Any:
    """One more value on every side: half-sample reflection, negated in each direction in which the band is high."""
    e = np.pad(band, [(0, 0)] * (band.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    if index & HL:
        e[..., :, 0], e[..., :, -1] = -e[..., :, 0], -e[..., :, -1]
    if index & LH:
        e[..., 0, :], e[..., -1, :] = -e[..., 0, :], -e[..., -1, :]
    return e


# --- one axis ---


def _neighbours(x: Any, axis: int, before: Any, after: Any) -> tuple[Any, Any]:
    """x[n-1] and x[n+1], with the given values past the ends."""
    first, rest = np.split(x, [x.shape[axis] - 1], axis=axis)[0], np.split(x, [1], axis=axis)[1]
    return np.concatenate([before, first], axis=axis), np.concatenate([rest, after], axis=axis)


def _ends(x: Any, axis: int) -> tuple[Any, Any]:
    return np.take(x, [0], axis=axis), np.take(x, [-1], axis=axis)


def _antisymmetric_step(x: Any, axis: int, sign: int) -> Any:
    """x[n-1] - x[n+1] under half-sample reflection; sign -1 for a band that is odd about the ends."""
    first, last = _ends(x, axis)
    before, after = _neighbours(x, axis, sign * first, sign * last)
    return before - after


def _even_odd(x: Any, axis: int) -> tuple[Any, Any]:
    index: list[slice] = [slice(None)] * x.ndim
    index[axis] = slice(0, None, 2)
    even = x[tuple(index)]
    index[axis] = slice(1, None, 2)
    return even, x[tuple(index)]


def _interleaved(even: Any, odd: Any, axis: int) -> Any:
    axis %= even.ndim
    shape = list(even.shape)
    shape[axis] *= 2
    return np.stack([even, odd], axis=axis + 1).reshape(shape)


def _split_symmetric(x: Any, axis: int) -> tuple[Any, Any]:
    a, b = _even_odd(x, axis)
    root = x.dtype.type(np.sqrt(0.5))
    low, high = (a + b) * root, (a - b) * root
    low = low + x.dtype.type(TAP_LOW) * _antisymmetric_step(high, axis, -1)
    high = high + x.dtype.type(TAP_HIGH) * _antisymmetric_step(low, axis, 1)
    return low, high


def _merge_symmetric(low: Any, high: Any, axis: int) -> Any:
    root = low.dtype.type(np.sqrt(0.5))
    high = high - low.dtype.type(TAP_HIGH) * _antisymmetric_step(low, axis, 1)
    low = low - low.dtype.type(TAP_LOW) * _antisymmetric_step(high, axis, -1)
    return _interleaved((low + high) * root, (low - high) * root, axis)


def _cdf_neighbours(low: Any, high: Any, axis: int, whole_sample: bool) -> tuple[Any, Any]:
    """Sums of the two samples around every odd and every even one: low[n] + low[n+1], high[n-1] + high[n]."""
    first_high, last_high = _ends(high, axis)
    first_low, last_low = _ends(low, axis)
    _, next_low = _neighbours(low, axis, first_low, last_low if whole_sample else first_low)
    previous_high, _ = _neighbours(high, axis, first_high if whole_sample else last_high, last_high)
    return low + next_low, previous_high + high


def _split_cdf(x: Any, axis: int, whole_sample: bool) -> tuple[Any, Any]:
    low, high = _even_odd(x, axis)
    for step, factor in enumerate(CDF_STEPS):
        around_high, around_low = _cdf_neighbours(low, high, axis, whole_sample)
        if step % 2 == 0:
            high = high + x.dtype.type(factor) * around_high
        else:
            low = low + x.dtype.type(factor) * around_low
    return low * x.dtype.type(CDF_GAIN), high * x.dtype.type(-1 / CDF_GAIN)


def _merge_cdf(low: Any, high: Any, axis: int, whole_sample: bool) -> Any:
    low, high = low * low.dtype.type(1 / CDF_GAIN), high * low.dtype.type(-CDF_GAIN)
    for step, factor in reversed(list(enumerate(CDF_STEPS))):
        around_high, around_low = _cdf_neighbours(low, high, axis, whole_sample)
        if step % 2 == 0:
            high = high - low.dtype.type(factor) * around_high
        else:
            low = low - low.dtype.type(factor) * around_low
    return _interleaved(low, high, axis)
