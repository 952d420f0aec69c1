"""How the networks keep a plane of positions in memory.

It is kept as rows of all its channels, with a row of zeros above and below it and one zero at the end of each row,
which is also what stands before the next row. The neighbours of a position then lie at fixed distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Frame"]


@dataclass(frozen=True)
class Frame:
    """Where the positions of a plane of h x w lie among its rows, and which of them are padding."""

    height: int
    width: int

    @property
    def stride(self) -> int:
        return self.width + 1

    @property
    def first(self) -> int:
        return self.stride + 1

    @property
    def count(self) -> int:
        return self.height * self.stride

    @property
    def rows(self) -> int:
        return (self.height + 2) * self.stride + 2

    def offsets(self, side: int) -> npt.NDArray[np.int32]:
        """How far away the neighbours of a position lie, row by row."""
        reach = side // 2
        found = [y * self.stride + x for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
        return np.array(found, np.int32)

    def inner(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The positions of (rows, channels) as (h, w + 1, channels), a view; the last column is padding."""
        return x[self.first : self.first + self.count].reshape(self.height, self.stride, -1)

    def clear(self, x: npt.NDArray[Any]) -> None:
        """Sets the padding at the end of the rows to zero."""
        self.inner(x)[:, self.width :] = 0
