"""Which parts of a chunk a selection touches, and which it covers.

Zarr hands partial reads and writes selections of every kind: integers, slices with steps, arrays of indices that
broadcast (`oindex`), or one array per axis (`vindex`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.arrays.chunk_bytes import Grid

__all__ = ["Selection"]

Bools = npt.NDArray[np.bool_]


class Selection:
    """A selection in a chunk. touched: numbers of the parts that it meets, ascending. shape: of what it selects."""

    def __init__(self, grid: Grid, selection: Any) -> None:
        self.grid = grid
        given = selection if isinstance(selection, tuple) else (selection,)
        self.key = (*given, *(slice(None),) * (len(grid.shape) - len(given)))
        self._axes = self._per_axis()
        self._mask = None if self._axes is not None else self._points()
        self.touched = self._touched()

    @property
    def shape(self) -> tuple[int, ...]:
        return np.broadcast_to(np.uint8(0), self.grid.shape)[self.key].shape

    def covers(self, part: int, shape: tuple[int, ...] | None = None) -> bool:
        """Whether all of the part is selected, or all of its first corner of that shape."""
        block = self.grid.block(part)
        if shape is not None:
            block = tuple(slice(b.start, min(b.stop, b.start + n)) for b, n in zip(block, shape, strict=True))
        if self._mask is not None:
            return bool(self._mask[block].all())
        assert self._axes is not None
        return all(bool(chosen[b].all()) for chosen, b in zip(self._axes, block, strict=True))

    @property
    def covers_all(self) -> bool:
        """Whether the whole chunk is selected."""
        if self._mask is not None:
            return bool(self._mask.all())
        assert self._axes is not None
        return all(bool(chosen.all()) for chosen in self._axes)

    def _per_axis(self) -> list[Bools] | None:
        """A mask for each axis, where the selection is their product; otherwise None."""
        axes = []
        rank = len(self.grid.shape)
        arrays = [k for k in self.key if isinstance(k, np.ndarray)]
        if len(self.key) != rank or any(k is Ellipsis or k is None for k in self.key):
            return None
        for axis, (key, size) in enumerate(zip(self.key, self.grid.shape, strict=True)):
            chosen = np.zeros(size, bool)
            if isinstance(key, np.ndarray):
                # As np.ix_ makes them; one array alone is its axis's choice whatever its shape.
                separate = len(arrays) == 1 or (key.ndim == rank and key.size == key.shape[axis])
                if not separate:
                    return None
                key = key.ravel()
            chosen[key] = True
            axes.append(chosen)
        return axes

    def _points(self) -> Bools:
        mask = np.zeros(self.grid.shape, bool)
        mask[self.key] = True
        return mask

    def _touched(self) -> list[int]:
        grid = self.grid
        if self._axes is None:
            assert self._mask is not None
            return [p for p in range(grid.parts) if self._mask[grid.block(p)].any()]
        if grid.parts == 1:  # most often; then this is a good part of what a small chunk takes
            return [0] if all(a.any() for a in self._axes) else []
        cells = [np.unique(np.flatnonzero(a) // c) for a, c in zip(self._axes, grid.cell, strict=True)]
        if not math.prod(len(c) for c in cells):
            return []
        return [int(p) for p in np.ravel_multi_index(np.ix_(*cells), grid.counts).ravel()]
