"""Frequency tables of tokens: one for all values, and some for classes of channels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_CLASSED", "MOST_TABLES", "TOTAL", "fit_tables", "frequencies"]

TOTAL = 1 << 12
"""The sum of a table's frequencies."""
MOST_TABLES = 64
MOST_CLASSED = 1 << 13
"""More channels than these share one table."""
CLASSES = (2, 4, 8, 16, 32)
ROUNDS = 6

Floats = npt.NDArray[np.float64]


def frequencies(counts: Floats) -> npt.NDArray[np.int32]:
    """The frequencies of tokens that occurred so often, (t,): each at least 1, together `TOTAL`."""
    small = np.zeros(len(counts), bool)
    share = np.maximum(counts, 0) + 1e-9
    while True:  # what is rarer than a frequency of 1 says takes its part from the others
        left = TOTAL - int(small.sum())
        scaled = np.where(small, 1.0, share * left / share[~small].sum())
        if not (scaled < 1).any():
            break
        small |= scaled < 1
    freq = np.floor(scaled).astype(np.int32)
    order = np.argsort(freq - scaled, kind="stable")
    freq[order[: TOTAL - int(freq.sum())]] += 1
    return freq


def fit_tables(counts: Floats) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """freq int32 (tables, t) and the table of each channel, uint8 (c,), which is empty where one table serves all.

    counts: (c, t), how often each token occurred in each channel. Table 0 is that of all channels together. The number
    of classes is the one that takes the fewest bits, tables included.
    """
    tokens = counts.shape[1]
    pooled = frequencies(counts.sum(0))
    none = np.zeros(0, np.uint8)
    if not 1 < len(counts) <= MOST_CLASSED:
        return pooled[None], none
    best = _bits(counts, pooled[None]).sum(), pooled[None], none
    # from channels of low tokens to those of high ones
    order = np.argsort((counts @ np.arange(tokens)) / np.maximum(counts.sum(1), 1), kind="stable")
    for classes in CLASSES:
        if classes > len(counts):
            break
        table = np.empty(len(counts), np.int64)
        table[order] = np.arange(len(counts)) * classes // len(counts)
        for _ in range(ROUNDS):
            freq = np.stack([frequencies(counts[table == i].sum(0)) for i in range(classes)])
            bits = _bits(counts, freq)
            table = bits.argmin(1)
        cost = bits.min(1).sum() + classes * 10 * tokens
        if cost < best[0]:
            best = cost, np.concatenate([pooled[None], freq]), (1 + table).astype(np.uint8)
    return best[1], best[2]


def _bits(counts: Floats, freq: npt.NDArray[np.int32]) -> Floats:
    """(c, tables): what each channel takes by each table."""
    return counts @ (np.log2(TOTAL) - np.log2(freq)).T
