"""Cutting the range of values into the intervals that tokens stand for."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
import numpy.typing as npt

from latentstore.codecs.tensors.tokens.tables import TOTAL

__all__ = ["MOST_TOKENS", "fit_intervals"]

MOST_TOKENS = 256

Interval = tuple[int, int]
"""Its first value, and the bits of a place in it."""


def fit_intervals(
    values: npt.NDArray[np.uint64], weights: npt.NDArray[np.float64], last: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """base int64 (t,) and extra uint8 (t,) of the intervals that code the values in fewest bits, 2 to 256 of them.

    Each holds 2^extra values from base on, a multiple of 2^extra, and together they hold all from 0 to `last`. Of all
    ways to cut the range by halving it, and its halves, and so on, it is the best for order-0 tables.

    values: rising, none twice, none above `last`. weights: how often each occurs.
    """
    where = values.tolist()
    sums = np.concatenate([[0.0], np.cumsum(weights)]).tolist()
    total = max(sums[-1], 1.0)
    # An interval costs its token at least one of the frequencies of its table, and the artifact some bytes.
    price = total / TOTAL * math.log2(math.e) + 16

    def best(base: int, bits: int, low: int, high: int) -> tuple[float, list[Interval]]:
        """Bits that the values low to before high take, which are those of an interval, and how it is cut."""
        weight = sums[high] - sums[low]
        whole = price + (weight * (bits + math.log2(total / weight)) if weight > 0 else 0.0)
        if bits == 0 or weight * bits <= price:
            return whole, [(base, bits)]
        middle = base + (1 << bits - 1)
        at = bisect_left(where, middle, low, high)
        cost, cut = best(base, bits - 1, low, at)
        if middle <= last:
            upper, more = best(middle, bits - 1, at, high)
            cost, cut = cost + upper, cut + more
        return (cost, cut) if cost < whole else (whole, [(base, bits)])

    bits = max(1, last.bit_length())
    while True:
        cut = best(0, bits, 0, len(where))[1]
        if len(cut) == 1:
            cut = [(0, bits - 1), (1 << bits - 1, bits - 1)]
        if len(cut) <= MOST_TOKENS:
            break
        price *= 1.3
    return np.array([base for base, _ in cut], np.int64), np.array([extra for _, extra in cut], np.uint8)
