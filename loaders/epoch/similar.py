"""Groups of images of about the same height and width, so that little is padded where they share a batch.

All sizes of a store are one group at first. A group is divided where this saves the most padding, by height or by
width, as long as both parts fill some batches. So common aspect ratios get groups of their own, and rare ones share
one. It is a pure function of the sizes, and of how often each occurs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# On average, of a group in a pool; one of them is incomplete. More groups pad less, and make more incomplete batches.
# Images of any size, 20,000 in windows of 4,000, batches of 64 (tests/loaders/epoch/test_similar.py): with 8, 36 % is
# padding and batches have 62 samples on average; with 4, 22 % and 59; with 2, 15 % and 54.
FEWEST_BATCHES = 4

Share = tuple[int, int]
"""The part of an epoch that is divided into batches together, a pool, as (numerator, denominator)."""


def similar(
    shapes: np.ndarray, counts: np.ndarray, batch_size: int | None, max_positions: int | None, share: Share
) -> tuple[np.ndarray, np.ndarray]:
    """(group of each shape, int64 (m,); latent positions of a sample of its group when it is padded, int64 (m,)).

    shapes: int64 (m, k + 2): what must be the same in a group, then height and width; no two rows are the same. counts:
    int64 (m,), samples of each. batch_size, max_positions: one of them; no shape alone has more positions. A padded
    sample has no more either.
    """

    def fewest(positions: np.ndarray) -> np.ndarray:
        """Samples that a group of these positions must have."""
        size = batch_size if max_positions is None else np.maximum(max_positions // positions, 1)
        return np.asarray(-(-FEWEST_BATCHES * np.asarray(size, np.int64) * share[1] // max(1, share[0])))

    group, positions = np.empty(len(shapes), np.int64), np.empty(len(shapes), np.int64)
    which = np.unique(shapes[:, :-2], axis=0, return_inverse=True)[1].reshape(-1)
    waiting = [np.flatnonzero(which == number) for number in range(int(which.max(initial=-1)) + 1)]
    done = 0
    while waiting:
        own = waiting.pop()
        parts = _parted(shapes[own, -2:], counts[own], fewest, max_positions)
        if parts is None:
            group[own], positions[own] = done, shapes[own, -2:].max(axis=0).prod()
            done += 1
        else:
            waiting += [own[part] for part in parts]
    return group, positions


def _parted(
    sizes: np.ndarray, counts: np.ndarray, fewest: Callable[[np.ndarray], np.ndarray], most: int | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """The two parts, as row numbers, with the fewest padded positions; None where one group is better.

    sizes: int64 (m, 2). Where a padded sample has more than `most` positions, there are two parts however small.
    """
    whole = int(sizes.max(axis=0).prod())
    must = most is not None and whole > most
    best, found = np.iinfo(np.int64).max if must else whole * int(counts.sum()), None
    for axis in range(2):
        rows = np.argsort(sizes[:, axis], kind="stable")
        last = np.flatnonzero(np.diff(sizes[rows, axis]))  # of the first part
        until = np.cumsum(counts[rows])
        before = np.maximum.accumulate(sizes[rows]).prod(axis=1)[last]
        after = np.maximum.accumulate(sizes[rows[::-1]])[::-1].prod(axis=1)[last + 1]
        first, second = until[last], until[-1] - until[last]
        cost = first * before + second * after
        if not must:
            enough = (first >= fewest(before)) & (second >= fewest(after))
            cost, last = cost[enough], last[enough]
        if len(cost) and cost.min() < best:
            best, at = int(cost.min()), int(last[cost.argmin()]) + 1
            found = rows[:at], rows[at:]
    return found
