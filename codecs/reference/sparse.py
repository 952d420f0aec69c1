"""The sparse form of groups: docs/format.md sections 5.6 and 6.5, in plain Python and NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from latentstore.codecs.reference.contexts import (
    ESCAPE,
    RADIUS,
    Channel,
    Codes,
    Ints,
    Neighbours,
    bucket_planes,
    magnitudes,
)
from latentstore.codecs.reference.model import Coder, Int8s

NOT_SEEN, SEEN = 1, 2
LARGEST_CONTEXT = 65535
# (rows up, columns to the right) of the positions that say whether one is taken, lowest bit first
NEAR = [(0, -1), (0, -2), (1, 2), (1, 1), (1, 0), (1, -1), (1, -2), (2, 1), (2, 0), (2, -1)]


class Events(Protocol):
    """What a sparse group is read from."""

    def taken(self, empty: int) -> bool:
        """Whether the next position is taken, where the frequency of those that are not is `empty`."""

    def symbol(self, lane: int, table: int) -> int:
        """The next symbol of a lane."""

    def escape(self) -> int:
        """The next value that is spelled out."""


# section 5.6


def is_better(coder: Coder, model: int, latent: Int8s) -> bool:
    """Whether a writer takes the sparse form."""
    return coder.plain[model] and 3 * np.count_nonzero(latent.any(0)) < latent[0].size


def decode_sparse(coder: Coder, model: int, events: Events, shape: tuple[int, int]) -> Int8s:
    """The latent int8 (channels, height, width) of a sparse group."""
    taken = np.zeros(shape, bool)
    for y, x in np.ndindex(shape):
        taken[y, x] = events.taken(coder.empty[model][near_context(taken, y, x)])
    values = np.zeros((coder.channels, *shape), np.int32)
    places = np.argwhere(taken).tolist()
    for k, channel in enumerate(coder.models[model]):
        cross = cross_plane(channel, magnitudes(values[:k]), shape)
        for y, x in places:
            # of the channel itself only what is decoded already is looked at: the rest is still zero
            near = Neighbours(*(_outside_zero(values[k], y, x, *step) for step in BEFORE))
            bucket = int(bucket_planes(np.array(sparse_context(channel, cross[y, x], near))))
            level = SEEN if values[:k, y, x].any() else NOT_SEEN
            symbol = events.symbol(0, channel.table[level][bucket])
            values[k, y, x] = events.escape() if symbol == ESCAPE else symbol - RADIUS
    return values.astype(np.int8)


# section 6.5

# (rows down, columns to the right) of the neighbours: left, up, up_left, up_right and left2
BEFORE = [(0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2)]


def near_context(taken: npt.NDArray[np.bool_], y: int, x: int) -> int:
    """Which positions near (y, x) are taken, of those before it."""
    height, width = taken.shape
    total = 0
    for bit, (up, right) in enumerate(NEAR):
        row, column = y - up, x + right
        if 0 <= row < height and 0 <= column < width and taken[row, column]:
            total |= 1 << bit
    return total


def _outside_zero(plane: Ints, y: int, x: int, down: int, right: int) -> int:
    """The magnitude at a neighbour of (y, x)."""
    row, column = y + down, x + right
    inside = 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]
    return min(abs(int(plane[row, column])), 15) if inside else 0


def cross_plane(channel: Channel, earlier: Ints, shape: tuple[int, int]) -> Ints:
    """What the magnitudes of the earlier channels (p, h, w) add to the contexts of a plane."""
    total = np.zeros(shape, np.int32)
    for plane, (here, around) in zip(earlier, channel.cross.tolist(), strict=False):
        eight = sum(_moved(plane, down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)) - plane
        total += 4 * plane * here + eight * around
    return total


def sparse_context(channel: Channel, cross: Any, near: Neighbours) -> Any:
    """The context, a number or a plane of them."""
    total = max(channel.bias, 4) + cross + sum(w * value for w, value in zip(channel.own, near, strict=True))
    return np.minimum(total, LARGEST_CONTEXT)


def _moved(plane: Ints, down: int, right: int) -> Ints:
    """Every position's neighbour, zero outside the plane."""
    height, width = plane.shape
    extended = np.pad(plane, 2)
    return extended[2 + down : 2 + down + height, 2 + right : 2 + right + width]


def code_sparse(coder: Coder, model: int, latent: Int8s) -> list[tuple[Channel, Ints, Codes]]:
    """Every channel of a latent with its values and how they are coded; only taken positions are."""
    values = latent.astype(np.int32)
    result = []
    for k, channel in enumerate(coder.models[model]):
        size = magnitudes(values[k])
        near = Neighbours(*(_moved(size, *step) for step in BEFORE))
        cross = cross_plane(channel, magnitudes(values[:k]), latent.shape[1:])
        level = np.where(values[:k].any(0), SEEN, NOT_SEEN)
        symbol = np.where(np.abs(values[k]) <= RADIUS, values[k] + RADIUS, ESCAPE)
        bucket = bucket_planes(sparse_context(channel, cross, near))
        result.append((channel, values[k], Codes(values[k], level, bucket, symbol)))
    return result


def position_events(coder: Coder, model: int, taken: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(frequency, start) of what says of each position, in the order of rows, whether it is taken."""
    events = []
    for y, x in np.ndindex(taken.shape):
        empty = coder.empty[model][near_context(taken, y, x)]
        events.append(((1 << coder.precision) - empty, empty) if taken[y, x] else (empty, 0))
    return events


def value_events(
    coder: Coder, coded: Sequence[tuple[Channel, Ints, Codes]], taken: npt.NDArray[np.bool_]
) -> tuple[list[tuple[int, int]], bytes]:
    """(frequency, start) of the symbols of taken positions, channel after channel, and the escapes."""
    events, escapes = [], b""
    for channel, value, codes in coded:
        table = np.array(channel.table)[codes.level, codes.bucket][taken]
        symbol = np.where(coder.freq_array[table, codes.symbol[taken]] == 0, ESCAPE, codes.symbol[taken])
        escapes += value[taken][symbol == ESCAPE].astype(np.int8).tobytes()
        for t, s in zip(table.tolist(), symbol.tolist(), strict=True):
            events.append((coder.freq[t][s], coder.start[t][s]))
    return events, escapes
