"""Checks what a store says of its latents beside other fields: sizes, sums and statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.stats import Moments, mean_std
from latentstore.loaders.tensors.dataset import TensorDataset

__all__ = ["LatentSums"]


class LatentSums:
    """What is found of one field of latents, shard by shard, against what the store says."""

    def __init__(self, dataset: TensorDataset, name: str) -> None:
        self.name, self._reader, self._latents = name, dataset.reader, dataset.latents[name]
        self._scales = self._latents.codec.scales(self._latents.quality)
        self._where = f"{dataset.url}, field {name!r}"
        self._every = self._shard = np.zeros((2, self._latents.channels))
        self._positions = self._extent = 0

    def check_artifact(self) -> list[str]:
        """Whether the artifact that lies in the store is the one that the manifest names."""
        self._latents.reader.artifact()
        return []

    def add(self, indices: np.ndarray, latents: Sequence[np.ndarray]) -> None:
        """Latents of a shard, which were decoded. indices: int64 (n,), of their samples."""
        ds: LatentDataset = self._latents
        steps = ds.step_codes(ds.reader.fields(indices))
        codes = np.zeros(len(indices), np.int64) if steps is None else steps
        parts = [Moments.of(one[None], code[None]) for one, code in zip(latents, codes, strict=True)]
        self._shard = self._shard + Moments.total(parts, ds.channels).scaled(self._scales)
        self._positions += sum(one[0].size for one in latents)
        self._extent += int(self._reader.sizes_of(self.name, indices).prod(axis=1).sum())

    def check_sizes(self, indices: np.ndarray, where: str) -> list[str]:
        """Whether the signals of a shard have the size that the manifest says. where: the shard."""
        size = self._latents.size
        if size is None or (self._reader.sizes_of(self.name, indices) == size).all():
            return []
        return [f"{where}, field {self.name!r}: its sizes are not the one that the manifest says"]

    def check_shard(self, block: int, where: str) -> list[str]:
        """The sums at the end of a shard whose latents were all added. where: the shard."""
        said, found = self._reader.moments_of(block)[self.name], self._shard
        self._every, self._shard = self._every + found, np.zeros_like(found)
        if np.allclose(said, found, rtol=1e-6, atol=1e-6):
            return []
        return [f"{where}, field {self.name!r}: its sums are not those of its latents"]

    def check_store(self) -> list[str]:
        """What the manifest says, once all shards are found to be whole."""
        meta, problems = self._latents.reader.meta, []
        if meta.extent != self._extent:
            problems.append(f"{self._where}: extent is {meta.extent} in the manifest, and {self._extent} was found")
        found = mean_std(self._every, self._positions)
        least = 1e-4 * max(found[1])
        for name, stored, computed in zip(("mean", "std"), (meta.mean, meta.std), found, strict=True):
            if not np.allclose(stored, computed, rtol=1e-4, atol=least):
                problems.append(f"{self._where}: the {name} in the manifest is not that of its latents")
        return problems
