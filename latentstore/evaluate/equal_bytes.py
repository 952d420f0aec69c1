"""Finds the setting of another codec whose file is nearest to a wanted number of bytes."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["nearest_bytes"]

# A file this near, as a share of the wanted bytes, ends the search.
CLOSE = 0.005


def nearest_bytes(encode: Callable[[int], bytes], low: int, high: int, wanted: int) -> tuple[int, bytes]:
    """The level from `low` to `high` whose file is nearest to `wanted` bytes, and that file; files grow with levels."""
    best = low, encode(low)
    if len(best[1]) >= wanted:
        return best
    while low < high and abs(len(best[1]) - wanted) > CLOSE * wanted:
        middle = (low + high + 1) // 2
        made = middle, encode(middle)
        best = min(best, made, key=lambda pair: abs(len(pair[1]) - wanted))
        if len(made[1]) <= wanted:
            low = middle
        else:
            high = middle - 1
    return best
