"""A data set in memory for tests of the loader, and what its batches hold."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.codecs.modality import IMAGE
from latentstore.loaders import LatentDataset

CHANNELS, SIDE = 3, 2


class Memory(LatentDataset):
    """Answers like `LatentDataset` and its reader; sample i is full of i modulo 100.

    name: of its content. first: number of the first key.
    """

    codec: Any = SimpleNamespace(
        scales=lambda quality: lambda step: np.array([2.0, 0.5, 1.0, 9.0], np.float32),
        decoder=lambda name: None,
        latent_shape=lambda height, width: (CHANNELS, height // 8, width // 8),
    )
    shard_starts = is_local = latent_shape = None
    modality = IMAGE
    quality, channels, classes = 50, CHANNELS, None
    stats = (np.array([1.0, 0.0, -2.0], np.float32), np.array([4.0, 0.0, 0.5], np.float32))

    def __init__(
        self, *shard_sizes: int, local: bool = True, size: tuple[int, int] | None = (16, 16), name: str = "memory",
        first: int = 0,
    ) -> None:  # fmt: skip
        self.meta = SimpleNamespace(
            kinds={"label": "int", "caption": "str"}, digest=name, codec="codec", sha256="0" * 64
        )
        self.url = name
        self.first = first
        self.shard_starts = np.cumsum([0, *shard_sizes])
        self.is_local, self.size = local, size
        self.latent_shape = None if size is None else (CHANNELS, SIDE, SIDE)
        self.reader = self
        self.broken: int | None = None
        self.held: list[int] = []
        self.most_held = 0
        self.loads: list[int] = []
        self.reads = 0
        self.lock = threading.Lock()

    @property
    def digest(self) -> str:
        return str(self.meta.digest)

    def digest_now(self) -> str:
        return self.digest

    def __len__(self) -> int:
        return int(self.shard_starts[-1])

    def read_latents(self, indices: np.ndarray, out: np.ndarray | None = None) -> Any:
        with self.lock:
            self.reads += 1
        if self.broken in indices:
            raise CorruptError(f"shard 7, key 'k{self.broken}': broken")
        if not self.is_local:
            shards = set((np.searchsorted(self.shard_starts, indices, side="right") - 1).tolist())
            assert shards <= set(self.held), "a shard was used that is not in memory"
        if self.size is None:
            return [np.full((CHANNELS, 1 + i % 3, 2), i % 100, np.int8) for i in indices.tolist()]
        out = np.empty((len(indices), *self.latent_shape), np.int8) if out is None else out
        out[...] = (indices % 100).astype(np.int8)[:, None, None, None]
        return out

    def shard_bytes(self, shards: list[int]) -> list[int]:
        return [int(self.shard_starts[shard + 1] - self.shard_starts[shard]) for shard in shards]

    def load_shards(self, shards: list[int]) -> None:
        with self.lock:
            self.held += shards
            self.loads += shards
            self.most_held = max(self.most_held, len(self.held))

    def drop_shards(self, shards: list[int]) -> None:
        with self.lock:
            self.held = [shard for shard in self.held if shard not in shards]

    def manifest_now(self) -> Any:
        return self.meta

    def fields(self, indices: np.ndarray) -> dict[str, Any]:
        return {"label": indices % 5, "caption": [f"c{i}" for i in indices.tolist()]}

    def step_codes(self, fields: dict[str, Any]) -> None:
        return None

    def sizes(self, indices: np.ndarray | None = None) -> np.ndarray:
        indices = np.arange(len(self)) if indices is None else indices
        return np.stack([8 * (1 + indices % 3), np.full(len(indices), 16)], axis=1)

    def where(self, index: int) -> str:
        return f"{self.url}, sample {index}"

    def keys(self, indices: np.ndarray) -> list[str]:
        return [f"k{i + self.first}" for i in indices.tolist()]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("lock", "codec")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, lock=threading.Lock())


def keys(batches: Iterable[dict[str, Any]]) -> list[list[str]]:
    return [batch["key"] for batch in batches]


def flat(batches: Iterable[dict[str, Any]]) -> list[int]:
    return [int(key[1:]) for batch in batches for key in batch["key"]]
