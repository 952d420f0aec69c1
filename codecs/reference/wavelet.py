"""The packet transform of images in NumPy: docs/format.md section 8.5 and, before it, the way there.

Levels of the 6/10 pair with half-sample symmetric extension. Both directions of a level are taken together, in
float32; the order of the operations is part of the format.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["bands_of", "planes_of"]

Floats = npt.NDArray[np.float32]

# Taps of the two antisymmetric steps; exact in binary.
LOW, HIGH = np.float32(-7 / 64), np.float32(-9 / 64)
HALF = np.float32(0.5)


def bands_of(planes: Floats, levels: int) -> Floats:
    """Planes (C, H, W) to their bands (4**levels, C, h, w), h = ceil(H / 2**levels) and w likewise.

    Sides are extended by reflection.
    """
    side = 1 << levels
    bands = planes[None]
    for axis in (2, 3):
        n = bands.shape[axis]
        places = np.arange(n + -n % side) % (2 * n)
        bands = np.take(bands, np.minimum(places, 2 * n - 1 - places), axis)
    for _ in range(levels):
        n, c, h, w = bands.shape  # a level splits all bands at once, as if they were channels
        parts = np.stack(_split(bands.reshape(n * c, h, w))).reshape(4, n, c, h // 2, w // 2)
        bands = parts.swapaxes(0, 1).reshape(4 * n, c, h // 2, w // 2)
    return bands


def planes_of(bands: Floats, size: tuple[int, int]) -> Floats:
    """The inverse: bands (4**levels, C, h, w) to planes (C, H, W) of this size."""
    while len(bands) > 1:
        n, c, h, w = bands.shape
        parts = bands.reshape(n // 4, 4, c, h, w).swapaxes(0, 1).reshape(4, n // 4 * c, h, w)
        bands = _merge(parts).reshape(n // 4, c, 2 * h, 2 * w)
    return bands[0, :, : size[0], : size[1]]


def _split(x: Floats) -> list[Floats]:
    """One level: (C, 2h, 2w) to LL, HL (high across), LH (high down), HH, each (C, h, w)."""
    a, b, c, d = x[:, 0::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 0::2], x[:, 1::2, 1::2]
    ll = ((a + d) + (b + c)) * HALF
    hl = ((a - d) - (b - c)) * HALF
    lh = ((a - d) + (b - c)) * HALF
    hh = ((a + d) - (b + c)) * HALF
    ll, hl, lh = _lift_low(ll, hl, lh, hh, LOW)
    hl, lh, hh = _lift_high(ll, hl, lh, hh, HIGH)
    return [ll, hl, lh, hh]


def _merge(bands: Floats) -> Floats:
    """The inverse of `_split`: (4, C, h, w) to (C, 2h, 2w)."""
    ll, hl, lh, hh = bands
    hl, lh, hh = _lift_high(ll, hl, lh, hh, -HIGH)
    ll, hl, lh = _lift_low(ll, hl, lh, hh, -LOW)
    x = np.empty((len(ll), 2 * ll.shape[1], 2 * ll.shape[2]), np.float32)
    x[:, 0::2, 0::2] = ((ll + hh) + (hl + lh)) * HALF
    x[:, 1::2, 1::2] = ((ll + hh) - (hl + lh)) * HALF
    x[:, 0::2, 1::2] = ((ll - hh) - (hl - lh)) * HALF
    x[:, 1::2, 0::2] = ((ll - hh) + (hl - lh)) * HALF
    return x


def _lift_low(ll: Floats, hl: Floats, lh: Floats, hh: Floats, c: np.float32) -> tuple[Floats, Floats, Floats]:
    """What is low in a direction changes by c times the differences of what is high in it."""
    return (
        (ll + c * (_across(hl, -1) + _down(lh, -1))) + (c * c) * _mixed(hh, -1),
        hl + c * _down(hh, -1),
        lh + c * _across(hh, -1),
    )


def _lift_high(ll: Floats, hl: Floats, lh: Floats, hh: Floats, c: np.float32) -> tuple[Floats, Floats, Floats]:
    """What is high in a direction changes by c times the differences of what is low in it."""
    return (
        hl + c * _across(ll, 1),
        lh + c * _down(ll, 1),
        (hh + c * (_across(lh, 1) + _down(hl, 1))) + (c * c) * _mixed(ll, 1),
    )


def _neighbour(x: Floats, axis: int, offset: int, sign: int) -> Floats:
    """x[n + offset] along an axis; past an end the value at the end, times sign: -1 of a band that is odd there."""
    n = x.shape[axis]
    places = np.arange(n) + offset
    inside = (places >= 0) & (places < n)
    factors = np.where(inside, 1, sign).astype(np.float32)
    shape = [1] * x.ndim
    shape[axis] = n
    return np.take(x, np.clip(places, 0, n - 1), axis) * factors.reshape(shape)


def _across(x: Floats, sign: int) -> Floats:
    return _neighbour(x, 2, -1, sign) - _neighbour(x, 2, 1, sign)


def _down(x: Floats, sign: int) -> Floats:
    return _neighbour(x, 1, -1, sign) - _neighbour(x, 1, 1, sign)


def _mixed(x: Floats, sign: int) -> Floats:
    """The difference down of the difference across, in the order that makes it the same for the transposed."""
    corner = {
        (down, across): _neighbour(_neighbour(x, 1, down, sign), 2, across, sign)
        for down in (-1, 1)
        for across in (-1, 1)
    }
    return (corner[-1, -1] + corner[1, 1]) - (corner[-1, 1] + corner[1, -1])
