"""What the entropy coder knows before each symbol: docs/format.md section 6, in plain Python and NumPy.

Whole planes are taken at once where all values are known, and one position at a time where they are not; the
tests hold the two against each other and against the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

RADIUS = 31
ESCAPE = 63
SYMBOLS = 64
LEVELS = 4
BUCKETS = 64
LARGEST_MAGNITUDE = 15
LARGEST_CROSS = 32767

Ints = npt.NDArray[np.int32]
Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Channel:
    """How one channel of one model forms its contexts (docs/format.md section 7.4 says the ranges)."""

    own: tuple[int, ...]
    bias: int
    cross: Ints
    predicted: bool
    signed_own: tuple[int, ...]
    signed_cross: Ints
    table: list[list[int]]


class Neighbours(NamedTuple):
    """The values around a position that are decoded before it: numbers, or planes of them."""

    left: Any
    up: Any
    up_left: Any
    up_right: Any
    left2: Any


class Codes(NamedTuple):
    """How a plane is coded: its residuals, the context (level, bucket) of each, and its symbol."""

    residual: Ints
    level: Ints
    bucket: Ints
    symbol: Ints


# section 6.1


def neighbours(rows: Rows, y: int, x: int) -> Neighbours:
    """The neighbours of position (y, x), of which only those before it in coding order are looked at."""
    row, above = rows[y], rows[y - 1] if y else None
    left = row[x - 1] if x else above[0] if above else 0
    left2 = row[x - 2] if x > 1 else left
    if above is None:
        return Neighbours(left, left, left, left, left2)
    up = above[x]
    up_left = above[x - 1] if x else up
    up_right = above[x + 1] if x + 1 < len(above) else up
    return Neighbours(left, up, up_left, up_right, left2)


def neighbour_planes(plane: Ints) -> Neighbours:
    """The neighbours of every position of a plane."""
    left = np.zeros_like(plane)
    left[:, 1:] = plane[:, :-1]
    left[1:, 0] = plane[:-1, 0]
    left2 = left.copy()
    left2[:, 2:] = plane[:, :-2]
    up = left.copy()
    up[1:] = plane[:-1]
    up_left, up_right = up.copy(), up.copy()
    up_left[1:, 1:] = plane[:-1, :-1]
    up_right[1:, :-1] = plane[:-1, 1:]
    return Neighbours(left, up, up_left, up_right, left2)


# section 6.2


def magnitudes(residual: Ints) -> Ints:
    """What contexts see of residuals."""
    return np.minimum(np.abs(residual), LARGEST_MAGNITUDE)


def cross_contexts(channel: Channel, shape: tuple[int, int], earlier: Sequence[Ints]) -> Ints:
    """What the magnitudes of the earlier channels of the group add to the contexts of a plane."""
    total = np.zeros(shape, np.int32)
    for plane, (here, around) in zip(earlier, channel.cross.tolist(), strict=False):
        eight = sum(_shifted(plane, dy, dx) for dy in range(3) for dx in range(3)) - plane
        total += 4 * plane * here + eight * around
    return np.minimum(total, LARGEST_CROSS)


def context_of(channel: Channel, cross: Any, near: Neighbours) -> Any:
    """The context, a number or a plane of them."""
    own = channel.own
    return (
        channel.bias
        + cross
        + own[0] * near.left
        + own[1] * near.up
        + own[2] * near.up_left
        + own[3] * near.up_right
        + own[4] * near.left2
    )


def bucket_of(context: int) -> int:
    """The bucket of a context: four to an octave, linear within it."""
    context = max(context, 4)
    octave = context.bit_length() - 1
    return min(4 * (octave - 2) + (context >> octave - 2 & 3), BUCKETS - 1)


def bucket_planes(context: Ints) -> Ints:
    """`bucket_of` for a plane."""
    context = np.maximum(context, 4)
    octave = np.frexp(context.astype(np.float64))[1] - 1
    return np.minimum(4 * (octave - 2) + (context >> octave - 2 & 3), BUCKETS - 1)


# section 6.3


def cross_predictions(channel: Channel, shape: tuple[int, int], earlier: Sequence[Ints]) -> Ints:
    """What the values of the earlier channels of the group add to the predictions of a plane."""
    total = np.zeros(shape, np.int32)
    for plane, weights in zip(earlier, channel.signed_cross.tolist(), strict=False):
        for place, weight in enumerate(weights):
            if weight:
                total += weight * _shifted(plane, *divmod(place, 3))
    return total


def prediction_of(channel: Channel, cross: Any, near: Neighbours) -> Any:
    """The prediction in 1/1024, a number or a plane of them."""
    own = channel.signed_own
    return cross + own[0] * near.left + own[1] * near.up + own[2] * near.up_left + own[3] * near.up_right


def rounded(prediction: int) -> tuple[int, int, int]:
    """A prediction in 1/1024 as (whole value, level of the fraction, sign of coded residuals)."""
    whole = min(max(prediction + 512 >> 10, -127), 127)
    fraction = prediction - 1024 * whole
    return whole, min(abs(fraction) >> 7, LEVELS - 1), -1 if fraction < 0 else 1


def _rounded_planes(prediction: Ints) -> tuple[Ints, Ints, Ints]:
    whole = np.clip(prediction + 512 >> 10, -127, 127)
    fraction = prediction - 1024 * whole
    return whole, np.minimum(np.abs(fraction) >> 7, LEVELS - 1), np.where(fraction < 0, -1, 1)


def _shifted(plane: Ints, dy: int, dx: int) -> Ints:
    """Every position's neighbour one row up, at or down (dy 0, 1, 2), and so for columns; edges repeat."""
    height, width = plane.shape
    extended = np.pad(plane, 1, mode="edge")
    return extended[dy : dy + height, dx : dx + width]


# section 6.4


def code_plane(channel: Channel, value: Ints, earlier_values: Sequence[Ints], earlier: Sequence[Ints]) -> Codes:
    """How the values of a plane are coded; earlier: magnitudes of the earlier channels' residuals."""
    shape = (value.shape[0], value.shape[1])
    residual, level, sign = value, np.zeros_like(value), np.ones_like(value)
    if channel.predicted:
        cross = cross_predictions(channel, shape, earlier_values)
        whole, level, sign = _rounded_planes(prediction_of(channel, cross, neighbour_planes(value)))
        residual = value - whole
    near = neighbour_planes(magnitudes(residual))
    bucket = bucket_planes(context_of(channel, cross_contexts(channel, shape, earlier), near))
    coded = sign * residual
    symbol = np.where(np.abs(coded) <= RADIUS, coded + RADIUS, ESCAPE)
    return Codes(residual, level, bucket, symbol)
