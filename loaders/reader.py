"""What the reader of every store layout can answer.

Which block (shard) holds a sample? Where does each group of each sample lie? In which object is that? Every question is
asked for many samples at once. `loaders.remote.fetch` turns the answers into bytes, in the same way for all layouts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from latentstore.loaders.manifest import StoreMeta
from latentstore.loaders.remote.location import Location


class BlockReader(ABC):
    """The reader of one store. Sample indices are int64 (n,), each from 0 to the count - 1; they are not checked here.

    location: where the store is. starts: int64 (blocks + 1,), the first sample of each block, then the number of
    samples. A block is what is written and read together: a shard. A sample has several blobs: one of each group of
    channels, in stores of latents; one of each field that is asked for, in stores of tensors (`loaders.tensors`). Both
    are called groups here. Offsets count from the beginning of a block's object; in Zarr stores of many sizes, from the
    beginning of the group's flat array.
    """

    location: Location
    starts: np.ndarray

    @property
    @abstractmethod
    def digest(self) -> str:
        """32 hexadecimal digits that stand for the content of the store, as its manifest was when it was opened."""

    @property
    def cached_as(self) -> str:
        """32 hexadecimal digits under which the cache keeps what is read: objects of one name are then the same."""
        return self.digest

    @abstractmethod
    def digest_now(self) -> str:
        """The digest of the manifest as the store has it now, read again."""

    @abstractmethod
    def locate(self, indices: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """(start, length), int64 (n, groups) each, of the first groups of the samples."""

    def objects(
        self, indices: np.ndarray, start: np.ndarray, length: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(object, offset, whole), each (n, groups), of blobs that `locate` found.

        object: int64, a number that `object_name` knows. offset: int64, where in the object the blob begins. whole:
        bool, whether the blob ends in the same object; else it goes on in the next one. As a rule a block is an object.
        """
        blocks = np.broadcast_to(self.blocks(indices)[:, None], start.shape)
        return blocks, start, np.ones(start.shape, bool)

    @abstractmethod
    def object_name(self, number: int) -> str:
        """The name of an object."""

    @abstractmethod
    def block_ranges(self, block: int, groups: int) -> list[list[tuple[str, int, int]]]:
        """The (object's name, begin, end) to read for the first groups of a whole block.

        One list per buffer; the pieces of a list, end to end, are the buffer.
        """

    @abstractmethod
    def block_bases(self, block: int, groups: int) -> list[tuple[int, int]]:
        """For each group: which buffer of `block_ranges` holds it, and at which offset (of `locate`) that begins."""

    @abstractmethod
    def keys(self, indices: np.ndarray) -> list[str]:
        """The keys of the samples."""

    @abstractmethod
    def fields(self, indices: np.ndarray) -> dict[str, Any]:
        """The samples' fields by name: int64 or float64 (n,), or lists of str or bytes."""

    def blocks(self, indices: np.ndarray) -> np.ndarray:
        """int64 (n,): the block of each sample."""
        return np.searchsorted(self.starts, indices, side="right") - 1

    def shard_of(self, index: int) -> str:
        """The object that holds sample `index`'s first group, for messages."""
        one = np.array([index], np.int64)
        start, length = self.locate(one, 1)
        return self.object_name(int(self.objects(one, start, length)[0][0, 0]))


class Reader(BlockReader):
    """The reader of a store of latents. meta: the manifest. field_said: which field of a store has them, for messages,
    where it has others."""

    meta: StoreMeta
    field_said = ""

    @property
    def digest(self) -> str:
        """See `BlockReader.digest`."""
        return self.meta.digest

    def digest_now(self) -> str:
        """See `BlockReader.digest_now`."""
        return self.manifest_now().digest

    @abstractmethod
    def manifest_now(self) -> StoreMeta:
        """The manifest as the store has it now, read again."""

    @abstractmethod
    def artifact(self) -> bytes:
        """The artifact stored with the data."""

    @abstractmethod
    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """int64 (n, 2): height and width of images; of audio, 1 and the number of samples."""


def by_block(blocks: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(block, positions of it in `blocks`) for every block there is, ascending."""
    order = np.argsort(blocks, kind="stable")
    names, first = np.unique(blocks[order], return_index=True)
    bounds = [*first.tolist(), len(order)]
    return [(block, order[bounds[i] : bounds[i + 1]]) for i, block in enumerate(names.tolist())]
