"""The kernel's lapped transform in NumPy: the same float32 operations in the same order, so the same bits.

It is the oracle of the tests, and what runs where no kernel was built. Sections are those of docs/format-audio.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["coefficients", "quantised", "samples"]

Floats = npt.NDArray[np.float32]
Latent = npt.NDArray[np.int8]


def coefficients(places: Floats, mix: Floats, source: Latent, basis: Floats, inverse: Floats) -> Floats:
    """S6.5, but for the ends: places float32 ((r + 1) * hop, inputs) to float32 (c, r), times inverse."""
    hop = basis.shape[1] // 2
    instants = len(places) // hop - 1
    mixed = _mixed(mix, places.T)
    found = np.zeros((len(basis), instants), np.float32)
    with np.errstate(all="ignore"):
        for j in range(2 * hop):
            found += basis[:, j, None] * mixed[source, j::hop][:, :instants]
        return found * inverse[:, None]


def quantised(coefs: Floats, rounding: Floats) -> tuple[Latent, int]:
    """sign(x) * floor(|x| + rounding) limited to +-127, and how many values were limited."""
    with np.errstate(all="ignore"):
        size = np.abs(coefs) + rounding[:, None]
        fits = size < np.float32(128)
        symbols = np.where(fits, size, np.float32(127)).astype(np.int8)
    return np.where(np.signbit(coefs), -symbols, symbols), int(np.count_nonzero(~fits))


def samples(
    latent: Latent,
    span: tuple[int, int, int, int],
    mix: Floats,
    source: Latent,
    basis: Floats,
    fold: Floats,
    scale: Floats,
    delta: Floats,
) -> Floats:
    """S6.1 to S6.4: samples [start, stop) of a signal of t instants, of which latent begins with instant `first`.

    span: (first, t, start, stop).
    """
    first, t, start, stop = span
    hop = len(fold)
    begin, end = (start + hop // 2) // hop, (stop - 1 + hop // 2) // hop + 1  # blocks of places
    with np.errstate(all="ignore"):
        values = _values(latent, scale, delta)
        mixed = np.zeros((len(mix), end - begin, hop), np.float32)
        for half in (1, 0):  # what the instant before a block adds to it, then what its own adds
            here = slice(max(begin - half, first) - first, max(min(end - half, first + latent.shape[1]) - first, 0))
            for k in range(len(latent)):
                instants = here.start + np.flatnonzero(latent[k, here])
                mixed[source[k], instants + (first + half - begin)] += (
                    values[k, instants, None] * basis[k, half * hop : (half + 1) * hop]
                )
        _fold_ends(mixed, fold, begin == 0, end == t + 1)
        whole = _mixed(mix.T, mixed.reshape(len(mix), -1))
    skipped = start + hop // 2 - begin * hop
    return np.ascontiguousarray(whole[:, skipped : skipped + stop - start].T)


def _mixed(matrix: Floats, rows: Floats) -> Floats:
    """Row j is the sum over i, ascending, of matrix[j, i] * rows[i], beginning with 0."""
    out = np.zeros((len(matrix), rows.shape[1]), np.float32)
    with np.errstate(all="ignore"):
        for i, row in enumerate(rows):
            out += matrix[:, i, None] * row
    return out


def _values(latent: Latent, scale: Floats, delta: Floats) -> Floats:
    given = len(latent)
    size = np.abs(latent.astype(np.int32))
    less = np.where(size == 1, delta[:given, :1], delta[:given, 1:])
    values = (size.astype(np.float32) - less) * scale[:given, None]
    return np.where(size == 0, np.float32(0), np.where(latent < 0, -values, values))


def _fold_ends(mixed: Floats, fold: Floats, at_start: bool, at_end: bool) -> None:
    """S6.3, in place: mixed (inputs, blocks, hop), of which the first and the last block may be the signal's."""
    half = len(fold) // 2
    near, far = fold[half:], fold[half - 1 :: -1]  # by the distance j from the end of the signal
    if at_start:
        block = mixed[:, 0]
        block[:, half:] = near * block[:, half:] - far * block[:, half - 1 :: -1]
    if at_end:
        block = mixed[:, -1]
        block[:, half - 1 :: -1] = near * block[:, half - 1 :: -1] + far * block[:, half:]
