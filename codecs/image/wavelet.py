"""Wavelet packet transforms of arrays, in one and two dimensions, to any depth.

Two filter pairs:

``sym6-10``
    The pair of our own codecs: even length (6 and 10 taps), symmetric, lifted from Haar by two antisymmetric
    steps, with half-sample symmetric extension. A flipped signal gives flipped bands, those that are high an
    odd number of times negated. In two dimensions both directions of a step are taken together, in float32,
    in an order that makes this hold bit for bit, and for transposition too. The native kernel does the same
    operations in the same order on images.
``bior4.4``
    CDF 9/7 by lifting, as WaLLoC uses it: ``mode="periodization"`` equals PyWavelets' mode of that name,
    ``mode="symmetric"`` is whole-sample symmetric extension.

Bands are numbered by nested splits: one split of an image gives ``2 * (vertical high) + (horizontal high)``,
one of a signal 0 (low) or 1 (high), and every band is split again, so depth J gives ``4**J`` or ``2**J``
bands. Sides that are no multiple of ``2**J`` are extended by half-sample reflection at their end, and cropped
again by the inverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.lifting import (
    HH,
    HL,
    LH,
    LL,
    Array,
    merge_cdf,
    merge_quad,
    merge_symmetric,
    split_cdf,
    split_quad,
    split_symmetric,
)

__all__ = [
    "FILTERS",
    "analysis_1d",
    "analysis_2d",
    "filter_bank",
    "synthesis_1d",
    "synthesis_2d",
]

Floats = npt.NDArray[np.float32]
Taps = npt.NDArray[np.float64]

FILTERS = ("sym6-10", "bior4.4")


def analysis_2d(x: npt.ArrayLike, levels: int, filters: str = "sym6-10", mode: str | None = None) -> Floats:
    """Splits images into bands.

    x: ``(..., H, W)``, any H and W from 1 up; computed in float32.
    filters: one of FILTERS.
    mode: how the signal goes on past its ends. Only bior4.4 has a choice: "periodization" (its default) or
        "symmetric".

    Returns float32 ``(..., 4**levels, ceil(H / 2**levels), ceil(W / 2**levels))``.
    Raises ArgumentError for an empty side, a negative depth, or filters or a mode that do not exist.
    """
    split = _split_2d(filters, mode)
    array = _signal(x, 2, levels)
    bands = _padded(_padded(array, -1, 2**levels), -2, 2**levels)[..., None, :, :]
    for _ in range(levels):
        quads = split(bands)  # (..., bands, 4, h, w)
        bands = quads.reshape(*quads.shape[:-4], 4 * quads.shape[-4], *quads.shape[-2:])
    return bands


def synthesis_2d(
    bands: npt.ArrayLike, size: tuple[int, int], filters: str = "sym6-10", mode: str | None = None
) -> Floats:
    """The inverse of `analysis_2d`.

    bands: ``(..., 4**levels, h, w)``; size: (H, W) of the image, at most ``2**levels`` times h and w.
    Returns float32 ``(..., H, W)``.
    """
    merge = _merge_2d(filters, mode)
    array, levels = _bands(bands, 4, 2)
    _check_size(array.shape[-2:], size, levels)
    for _ in range(levels):
        quads = array.reshape(*array.shape[:-3], array.shape[-3] // 4, 4, *array.shape[-2:])
        array = merge(quads)
    return np.ascontiguousarray(array[..., 0, : size[0], : size[1]])


def analysis_1d(x: npt.ArrayLike, levels: int, filters: str = "sym6-10", mode: str | None = None) -> Floats:
    """Splits signals ``(..., T)``, T from 1 up: float32 ``(..., 2**levels, ceil(T / 2**levels))``."""
    split, _ = _pair(filters, mode)
    bands = _padded(_signal(x, 1, levels), -1, 2**levels)[..., None, :]
    for _ in range(levels):
        pair = np.stack(split(bands, -1), axis=-2)
        bands = pair.reshape(*pair.shape[:-3], 2 * pair.shape[-3], pair.shape[-1])
    return bands


def synthesis_1d(bands: npt.ArrayLike, size: int, filters: str = "sym6-10", mode: str | None = None) -> Floats:
    """The inverse of `analysis_1d`: float32 ``(..., size)`` from ``(..., 2**levels, t)``."""
    _, merge = _pair(filters, mode)
    array, levels = _bands(bands, 2, 1)
    _check_size(array.shape[-1:], (size,), levels)
    for _ in range(levels):
        pair = array.reshape(*array.shape[:-2], array.shape[-2] // 2, 2, array.shape[-1])
        array = merge(pair[..., 0, :], pair[..., 1, :], -1)
    return np.ascontiguousarray(array[..., 0, :size])


def filter_bank(filters: str = "sym6-10") -> tuple[Taps, Taps, Taps, Taps]:
    """Taps ``(dec_lo, dec_hi, rec_lo, rec_hi)``, ten float64 each, as PyWavelets takes a filter bank."""
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
        raise ArgumentError(f"A signal needs {dimensions} sides of at least one sample; its shape is {array.shape}.")
    return array


def _bands(bands: npt.ArrayLike, branches: int, dimensions: int) -> tuple[Floats, int]:
    array = np.asarray(bands, dtype=np.float32)
    count = array.shape[-dimensions - 1] if array.ndim > dimensions else 0
    levels = 0
    while branches**levels < count:
        levels += 1
    if count == 0 or branches**levels != count or 0 in array.shape[array.ndim - dimensions :]:
        raise ArgumentError(
            f"Bands must stand along axis {-dimensions - 1}, a power of {branches} of them: {array.shape}."
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
    extended: Floats = np.take(x, np.minimum(index, 2 * n - 1 - index), axis)
    return extended


Split = Callable[[Array, int], tuple[Array, Array]]
Merge = Callable[[Array, Array, int], Array]


def _pair(filters: str, mode: str | None) -> tuple[Split, Merge]:
    """The split and the merge of one axis."""
    _check_filters(filters, mode)
    if filters == "sym6-10":
        return split_symmetric, merge_symmetric
    whole_sample = mode == "symmetric"
    return (
        lambda x, axis: split_cdf(x, axis, whole_sample),
        lambda low, high, axis: merge_cdf(low, high, axis, whole_sample),
    )


def _check_filters(filters: str, mode: str | None) -> None:
    modes = {"sym6-10": (None, "symmetric"), "bior4.4": (None, "periodization", "symmetric")}
    if filters not in modes:
        raise ArgumentError(f"Filters {filters!r} are not known; there are {', '.join(FILTERS)}.")
    if mode not in modes[filters]:
        raise ArgumentError(f"Filters {filters!r} have no mode {mode!r}.")


def _split_2d(filters: str, mode: str | None) -> Callable[[Array], Array]:
    _check_filters(filters, mode)
    if filters == "sym6-10":
        return split_quad
    split, _ = _pair(filters, mode)

    def separable(x: Array) -> Array:
        low, high = split(x, -2)
        return np.stack([*split(low, -1), *split(high, -1)], axis=-3)

    return separable


def _merge_2d(filters: str, mode: str | None) -> Callable[[Array], Array]:
    _check_filters(filters, mode)
    if filters == "sym6-10":
        return merge_quad
    _, merge = _pair(filters, mode)

    def separable(q: Array) -> Array:
        low = merge(q[..., LL, :, :], q[..., HL, :, :], -1)
        high = merge(q[..., LH, :, :], q[..., HH, :, :], -1)
        return merge(low, high, -2)

    return separable
