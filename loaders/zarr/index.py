"""Where the blobs of a shard lie, and strings, in little memory: a store may have ten million samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class ShardIndex:
    """Where each blob of a shard begins and ends.

    In shards as latentstore writes them, the blobs of a group lie end to end. Then one number of 32 bits says where
    each begins, and the next one where it ends. Shards of other writers, and those of 4 GiB and more, take two numbers
    of 64 bits a blob.

    start, length: int64 (samples, groups).
    """

    def __init__(self, start: np.ndarray, length: np.ndarray) -> None:
        self.base = int(start.min())
        end = start + length
        self.last = end.max(axis=0)  # int64 (groups,): where each group ends
        packed = bool((end[:-1] == start[1:]).all()) and int(end.max()) - self.base < 1 << 32
        self._edges = np.concatenate([start, end[-1:]]) - self.base
        self._edges = self._edges.astype(np.uint32 if packed else np.int64)
        self._length = None if packed else length

    def locate(self, rows: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """(start, length), int64 (n, groups) each, of the first groups of samples, by their rows in the shard."""
        start = self._edges[rows, :groups].astype(np.int64)
        if self._length is not None:
            return start + self.base, self._length[rows, :groups]
        return start + self.base, self._edges[rows + 1, :groups] - start

    def extent(self, groups: int) -> tuple[int, int]:
        """Where the first groups begin, and where they end."""
        return int(self._edges[:-1, :groups].min()) + self.base, int(self.last[:groups].max())


@dataclass(frozen=True)
class Strings:
    """Strings, end to end. data: in UTF-8. offsets: int64 or uint32 (n + 1,), where each begins, then the end."""

    data: bytes
    offsets: np.ndarray

    @classmethod
    def of(cls, values: list[str]) -> Strings:
        """The strings of a list."""
        parts = [value.encode() for value in values]
        return cls.joined(b"".join(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64))

    @classmethod
    def joined(cls, data: bytes, offsets: np.ndarray) -> Strings:
        """The strings that lie end to end in `data`, in little memory. offsets: int64 (n + 1,)."""
        return cls(data, offsets.astype(np.uint32 if offsets[-1] < 1 << 32 else np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: np.ndarray) -> list[str]:
        """The strings of `rows`, int64 (n,)."""
        data, begin, end = self.data, self.offsets[rows].tolist(), self.offsets[rows + 1].tolist()
        return [data[a:b].decode() for a, b in zip(begin, end, strict=True)]
