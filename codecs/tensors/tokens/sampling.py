"""What a sample of arrays says of the values in each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.tensors.tokens.model import channels_of
from latentstore.codecs.tensors.values import Array

__all__ = ["MOST_SAMPLED", "by_channel", "some_of"]

MOST_SAMPLED = 1 << 22
"""A fit looks at so many values; more change little."""


def some_of(samples: Sequence[Array], axis: int) -> list[Array]:
    """Arrays from all over the sample that together have about `MOST_SAMPLED` values, or fewer; none is empty.

    Of very large arrays it is a part, with all channels along the axis.
    """
    given = [array for array in samples if array.size]
    total = sum(array.size for array in given)
    most = max(1, len(given) * MOST_SAMPLED // max(total, MOST_SAMPLED))
    return [_part(given[i * len(given) // most], axis) for i in range(min(most, len(given)))]


def _part(array: Array, axis: int) -> Array:
    """About `MOST_SAMPLED` values of an array, from its beginning; all if it has few more."""
    sides = list(array.shape)
    kept = axis % array.ndim if -array.ndim <= axis < array.ndim else None
    for i in range(len(sides)):
        others = math.prod(sides) // sides[i]
        if i != kept and others * sides[i] > 2 * MOST_SAMPLED:
            sides[i] = max(1, MOST_SAMPLED // others)
    return array[tuple(slice(side) for side in sides)]


def by_channel(arrays: Sequence[Array], axis: int, most: int) -> list[npt.NDArray[Any]]:
    """The values of each channel, flat; of all together, in a list of one, where the arrays differ in their channels.

    most: more channels than these are together, too. Without arrays the list is empty.
    """
    counts = {channels_of(array.shape, axis)[0] for array in arrays}
    if len(counts) != 1 or not 1 < next(iter(counts)) <= most:
        return [np.concatenate([array.reshape(-1) for array in arrays])] if arrays else []
    rows = [np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in arrays]
    return list(np.concatenate(rows, axis=1))
