"""Many group blobs, as they lie in a few buffers: what is decoded in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Blobs"]


@dataclass(frozen=True, eq=False)
class Blobs:
    """n blobs: blob i is ``buffers[source[i]][start[i] : start[i] + length[i]]``.

    buffers: bytes, or other contiguous buffers of bytes. source: int32 (n,). start, length: int64 (n,).
    """

    buffers: Sequence[Any]
    source: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]

    @classmethod
    def whole(cls, buffers: Sequence[Any]) -> Blobs:
        """Each buffer is one blob."""
        length = np.array([len(buffer) for buffer in buffers], np.int64)
        return cls(buffers, np.arange(len(buffers), dtype=np.int32), np.zeros_like(length), length)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> memoryview:
        """The bytes of blob i."""
        start = int(self.start[i])
        return memoryview(self.buffers[self.source[i]]).cast("B")[start : start + int(self.length[i])]

    def take(self, rows: Any) -> Blobs:
        """Some of the blobs: a slice, or int64 (m,)."""
        return Blobs(self.buffers, self.source[rows], self.start[rows], self.length[rows])

    def arrays(self) -> tuple[list[Any], npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """buffers, source, start and length as the kernel takes them."""
        start, length = np.ascontiguousarray(self.start, np.int64), np.ascontiguousarray(self.length, np.int64)
        return list(self.buffers), np.ascontiguousarray(self.source, np.int32), start, length
