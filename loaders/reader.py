"""What every store layout offers its reader, and what the manifest says.

A layout is read through few questions, all vectorised: which block (shard) holds a sample, where each group
of each sample lies, which object that is. `loaders.remote.fetch` turns the answers into bytes, the same for all
layouts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from latentstore.loaders.manifest import StoreMeta
from latentstore.loaders.remote.location import Location


class Reader(ABC):
    """One store, read. starts: int64 (blocks+1,), the first sample of each block, then the count.

    A block is what is written and read together: a shard. Offsets are within a block's object ("native" Zarr
    stores: within the flat array of the group).
    """

    meta: StoreMeta
    location: Location
    starts: np.ndarray

    @abstractmethod
    def artifact(self) -> bytes:
        """The artifact stored with the data."""

    @abstractmethod
    def locate(self, indices: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """(start, length), int64 (n, groups) each, of the first groups of the samples."""

    @abstractmethod
    def objects(
        self, indices: np.ndarray, start: np.ndarray, length: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(object, offset, whole), each (n, groups): a number that `object_name` knows, where in it the blob
        begins, and whether all of it lies in there (else it goes on in the next object)."""

    @abstractmethod
    def object_name(self, number: int) -> str:
        """The name of an object."""

    @abstractmethod
    def block_ranges(self, block: int, groups: int) -> list[list[tuple[str, int, int]]]:
        """Byte ranges to read for the first groups of a whole block: one list (pieces end to end) per
        buffer."""

    @abstractmethod
    def block_bases(self, block: int, groups: int) -> list[tuple[int, int]]:
        """For each group: which of `block_ranges`' buffers holds it, and the offset (as of `locate`) it
        begins at."""

    @abstractmethod
    def keys(self, indices: np.ndarray) -> list[str]:
        """The keys of the samples."""

    @abstractmethod
    def fields(self, indices: np.ndarray) -> dict[str, Any]:
        """The samples' fields: arrays of numbers, lists of str or bytes."""

    @abstractmethod
    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """int64 (n, 2): height and width of the images."""

    def blocks(self, indices: np.ndarray) -> np.ndarray:
        """int64 (n,): the block of each sample."""
        return np.searchsorted(self.starts, indices, side="right") - 1

    def shard_of(self, index: int) -> str:
        """The object that holds sample `index`'s first group, for messages."""
        one = np.array([index], np.int64)
        start, length = self.locate(one, 1)
        return self.object_name(int(self.objects(one, start, length)[0][0, 0]))


def by_block(blocks: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(block, positions of it in `blocks`) for every block there is, ascending."""
    order = np.argsort(blocks, kind="stable")
    names, first = np.unique(blocks[order], return_index=True)
    bounds = [*first.tolist(), len(order)]
    return [(block, order[bounds[i] : bounds[i + 1]]) for i, block in enumerate(names.tolist())]
