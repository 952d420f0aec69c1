"""What every data set of a store can do: its shards, its keys, its fields, and the bytes of its samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentstore.codecs.arguments import require_indices
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.loaders.faults.changed import still_there
from latentstore.loaders.reader import BlockReader
from latentstore.loaders.remote.fetch import Fetcher


class ShardedDataset:
    """A store, opened. `LatentDataset` and `TensorDataset` are made of it.

    Indices are whole numbers (n,), each from 0 to len - 1, in any order, repeats allowed. A mask, bool (len,), stands
    for the samples where it is True, and None for all. `_indices` checks them here, once. What is called from here, and
    the reader, take them as they are.

    url: of the store.
    """

    def __init__(self, reader: BlockReader, fetcher: Fetcher) -> None:
        self._blocks = reader
        self._fetcher = fetcher
        self.url = reader.location.url

    @property
    def shard_starts(self) -> np.ndarray:
        """int64 (shards+1,): the first sample of each shard, then the number of samples."""
        return self._blocks.starts

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that stand for the content of the store, wherever it lies."""
        return self._blocks.digest

    @property
    def is_local(self) -> bool:
        """Whether the store is files of this machine, mapped into memory as needed."""
        return self._blocks.location.local is not None

    def __len__(self) -> int:
        return int(self._blocks.starts[-1])

    def where(self, index: int) -> str:
        """The shard and the key of sample `index`, for messages."""
        key = self._blocks.keys(np.array([index], np.int64))[0]
        return f"{self._blocks.location.at(self._blocks.shard_of(index))}, {key!r} (sample {index})"

    def fetch(self, indices: np.ndarray) -> Blobs:
        """The blobs of samples, not decoded: of each sample all its groups, or the fields that are opened.

        They come from mapped files, from shards in memory (`load_shards`), or over the network.
        """
        with still_there(self._blocks):
            return self._fetcher.fetch(self._indices(indices))

    def shard_bytes(self, shards: list[int]) -> list[int]:
        """The bytes that `load_shards` reads of each shard."""
        with still_there(self._blocks):
            return self._fetcher.block_bytes(self._shards(shards))

    def load_shards(self, shards: list[int]) -> None:
        """Read whole shards into memory, of the groups or fields that are opened, and keep them until `drop_shards`.

        Each shard is one range, of a remote store in parts of 8 MB or more that come side by side. Reading its samples
        then uses no network.
        """
        with still_there(self._blocks):
            self._fetcher.load(self._shards(shards))

    def drop_shards(self, shards: list[int]) -> None:
        """Forget shards that `load_shards` read."""
        self._fetcher.drop(self._shards(shards))

    def keys(self, indices: np.ndarray | None = None) -> list[str]:
        """The samples' keys."""
        return self._blocks.keys(self._indices(indices))

    def fields(self, indices: np.ndarray | None = None) -> dict[str, Any]:
        """The samples' fields by name: int64 or float64 (n,), or a list of str or bytes."""
        return self._blocks.fields(self._indices(indices))

    def _indices(self, indices: np.ndarray | None) -> np.ndarray:
        return require_indices(indices, len(self), "sample", self.url)

    def _shards(self, shards: list[int]) -> list[int]:
        found: list[int] = require_indices(shards, len(self.shard_starts) - 1, "shard", self.url).tolist()
        return found


def python_value(value: Any) -> Any:
    """A number of NumPy as Python's; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value
