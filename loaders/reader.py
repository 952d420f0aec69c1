"""What every store layout offers its reader, and what the manifest says.

A layout is read through few questions, all vectorised: which block (shard) holds a sample, where each group
of each sample lies, which object that is. `loaders.fetch` turns the answers into bytes, the same for all
layouts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from latentstore.codecs.errors import CorruptError, StoreError, UnsupportedVersionError
from latentstore.loaders.remote import Location
from latentstore.loaders.staged_writer import FORMAT_VERSION


@dataclass(frozen=True)
class StoreMeta:
    """The manifest, checked. size: (height, width) or None. fields: kind by name. attributes: all that it
    says."""

    codec: str
    sha256: str
    count: int
    size: tuple[int, int] | None
    quality: int
    channels: int
    group_channels: int
    shard_samples: int
    classes: list[str] | None
    mean: np.ndarray
    std: np.ndarray
    attributes: dict[str, Any]

    @property
    def groups(self) -> int:
        return self.channels // self.group_channels

    @classmethod
    def of(cls, attributes: dict[str, Any], where: str) -> StoreMeta:
        """From the manifest's object; CorruptError or UnsupportedVersionError naming `where`."""
        version = attributes.get("format_version")
        if version != FORMAT_VERSION:
            raise UnsupportedVersionError(
                f"{where}: store format {version!r}; this version of latentstore reads {FORMAT_VERSION}"
            )
        try:
            size, stats = attributes["size"], attributes["stats"]
            meta = cls(
                codec=str(attributes["codec"]),
                sha256=str(attributes["artifact_sha256"]),
                count=int(attributes["count"]),
                size=None if size is None else (int(size[0]), int(size[1])),
                quality=int(attributes["quality"]),
                channels=int(attributes["channels"]),
                group_channels=int(attributes["group_channels"]),
                shard_samples=int(attributes["settings"]["shard_samples"]),
                classes=attributes["classes"],
                mean=np.array(stats["mean"], np.float32),
                std=np.array(stats["std"], np.float32),
                attributes=attributes,
            )
            dict(attributes["fields"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CorruptError(f"{where}: the description of the store is damaged ({error!r})") from error
        if not (
            meta.count > 0
            and meta.shard_samples > 0
            and meta.channels > 0
            and meta.group_channels > 0
            and meta.channels % meta.group_channels == 0
            and meta.mean.shape == meta.std.shape == (meta.channels,)
        ):
            raise CorruptError(f"{where}: the description of the store contradicts itself")
        return meta


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
        """int64 (n, 2): height and width of the pictures."""

    def blocks(self, indices: np.ndarray) -> np.ndarray:
        """int64 (n,): the block of each sample."""
        return np.searchsorted(self.starts, indices, side="right") - 1

    def shard_of(self, index: int) -> str:
        """The object that holds sample `index`'s first group, for messages."""
        one = np.array([index], np.int64)
        start, length = self.locate(one, 1)
        return self.object_name(int(self.objects(one, start, length)[0][0, 0]))

    def stray(self, name: str) -> StoreError:
        return StoreError(f"{self.location.at(name)} is missing, though the store says that it has it")


def by_block(blocks: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(block, positions of it in `blocks`) for every block there is, ascending."""
    order = np.argsort(blocks, kind="stable")
    names, first = np.unique(blocks[order], return_index=True)
    bounds = [*first.tolist(), len(order)]
    return [(block, order[bounds[i] : bounds[i + 1]]) for i, block in enumerate(names.tolist())]
