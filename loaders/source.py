"""What a `LatentLoader` reads: one store, or a mixture of several (`loaders.mixture`)."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.batch import Collate
from latentstore.loaders.epoch.order import EpochOrder, SampleOrder
from latentstore.loaders.epoch.schedule import MixedOrder
from latentstore.loaders.remote.readahead import ReadAhead
from latentstore.loaders.sharded import ShardedDataset
from latentstore.loaders.stats import Stats
from latentstore.loaders.tensors.latents import FIELD

if TYPE_CHECKING:
    import torch

    from latentstore.codecs.neural.decoder import Decoder
    from latentstore.loaders.dataset import LatentDataset
    from latentstore.loaders.training.augment import Augment


class Ahead(Protocol):
    """The shards in memory that a pass needs now or next; see `loaders.remote.readahead.ReadAhead`."""

    def need(self, windows: list[int]) -> None: ...
    def expect(self, windows: list[int]) -> None: ...
    def passed(self, windows: list[int]) -> None: ...
    def close(self) -> bool: ...


class BatchMaker(Protocol):
    """Makes the batch of some samples; see `loaders.batch.Collate`."""

    def __call__(self, indices: np.ndarray, epoch: int) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Wanted:
    """What batches are to hold; see `LatentLoader`. grouped: see `Collate`. seed: of random changes. variants: see
    `TensorCollate`."""

    output: str
    dtype: torch.dtype | None
    decoder: str | Decoder
    grouped: str | None
    augment: Augment | None
    seed: int
    variants: Mapping[str, Sequence[str]] | None = None

    def collate(self, ds: LatentDataset, number: int = 0, stats: Stats | None = None) -> Collate:
        """What makes such batches of latents. number: of the store among several: samples of two stores that have
        the same number are not changed alike. stats: see `Collate`."""
        changes = None if self.augment is None else self.augment.on(ds, (self.seed + number) % (1 << 64))
        return Collate(ds, self.output, self.dtype, self.decoder, changes, self.grouped, stats)


class Source(ABC):
    """What a loader reads. Samples have numbers, from 0 on.

    url: of the store, or of several, for messages. pads: whether batches are padded, since lengths differ. separate:
    whether a batch has samples of one store only.
    """

    url: str
    pads: bool
    separate: bool

    @abstractmethod
    def order(self, kind: str, seed: int, slot: int) -> SampleOrder | MixedOrder:
        """The order of samples; kind: one of `loaders.epoch.order.ORDERS`. slot: how many samples of one store stand
        together, where a batch has samples of one store only."""

    @abstractmethod
    def collate(self, wanted: Wanted) -> BatchMaker:
        """What makes batches; see `Collate`."""

    @abstractmethod
    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """int64 (n, 2): height and width of images; of audio, 1 and the number of samples."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What tells it from others, as small JSON."""

    @abstractmethod
    def ahead(self, order: Any, spans: list[tuple[int, int]], ahead: bool, memory: int) -> Ahead:
        """What reads shards for one pass over `order`, of an epoch; spans, memory: see `ReadAhead`."""


class OneStore(Source):
    """One store. latents: its fields of latents by name."""

    separate = False

    def __init__(self, ds: ShardedDataset, latents: Mapping[str, LatentDataset]) -> None:
        self.ds, self.url, self.latents = ds, ds.url, dict(latents)

    @abstractmethod
    def collate(self, wanted: Wanted, number: int = 0, stats: Mapping[str, Stats] | None = None) -> BatchMaker:
        """See `Source.collate`. number, stats: of a store of a mixture, see `Wanted.collate`; stats are by field."""

    def order(self, kind: str, seed: int, slot: int) -> SampleOrder:
        """See `Source.order`."""
        return SampleOrder(shard_sizes(self.ds), kind, seed)

    def identity(self) -> dict[str, Any]:
        """See `Source.identity`."""
        ds, sizes = self.ds, shard_sizes(self.ds)
        return {
            "samples": sum(sizes),
            "shards": len(sizes),
            "shard_sizes": hashlib.sha256(np.array(sizes, "<i8").tobytes()).hexdigest()[:16],
            "first_and_last_key": ds.keys(np.array([0, len(ds) - 1])) if len(ds) else [],
            "store": ds.digest,
        }

    def ahead(self, order: EpochOrder, spans: list[tuple[int, int]], ahead: bool, memory: int) -> ReadAhead:
        """See `Source.ahead`."""
        return ReadAhead(self.ds, order, spans, ahead, memory)


class LatentStore(OneStore):
    """One store of latents."""

    def __init__(self, ds: LatentDataset) -> None:
        super().__init__(ds, {FIELD: ds})
        self.pads = ds.modality.pads and ds.size is None

    def collate(self, wanted: Wanted, number: int = 0, stats: Mapping[str, Stats] | None = None) -> Collate:
        """See `OneStore.collate`."""
        if wanted.variants is not None:
            raise ArgumentError(f"variants are fields of tensors, and {self.url} holds latents")
        return wanted.collate(self.latents[FIELD], number, (stats or {}).get(FIELD))

    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """See `Source.sizes`."""
        return self.latents[FIELD].reader.sizes(indices)


def shard_sizes(ds: ShardedDataset) -> tuple[int, ...]:
    """Samples of each shard."""
    return tuple(np.diff(ds.shard_starts).tolist())
