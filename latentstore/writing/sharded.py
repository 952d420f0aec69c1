"""What the writers of all layouts share: writing one whole shard, in any thread, process or machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.load import codec_of
from latentstore.codecs.modality import Modality
from latentstore.loaders.columns import Column, require_free, same_names
from latentstore.loaders.manifest import ARTIFACT, FORMAT_VERSION
from latentstore.loaders.remote.client import MissingError, UnansweredError
from latentstore.loaders.stats import Moments
from latentstore.writing.lock import Lock
from latentstore.writing.measure import measure
from latentstore.writing.spec import Sample, ShardSummary, StoreSpec, StoreSummary
from latentstore.writing.staging import Staging

if TYPE_CHECKING:
    from types import TracebackType

    from latentstore.codecs.codec import Codec

Arrays = dict[str, np.ndarray]


class ShardWriter(ABC):
    """A store that is being written, shard by shard; `writing.open` shows how.

    It can be pickled; in another process it finds its artifact beside the growing store.

    published: resuming has found that the store is complete, so there is nothing to do. keeps_sources: whether samples
    are stored with what they were made of (`Sample.source`).
    """

    keeps_sources = False

    def __init__(self, staging: Staging, spec: StoreSpec, published: bool = False) -> None:
        self.staging = staging
        self.spec = spec
        self.published = published
        self.url = staging.target.url
        self._lock: Lock | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The artifact lies beside the growing store, so it need not travel with every task.
        return {"staging": self.staging, "spec": replace(self.spec, artifact=b""), "published": self.published}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["staging"], state["spec"], state["published"])  # type: ignore[misc]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the lock back. On an error nothing else is deleted: what is written stays for resuming."""
        if self._lock is None:
            return
        if isinstance(error, UnansweredError):
            self._lock.abandon()
        else:
            self._lock.release()

    def check_lock(self) -> None:
        """StoreError if another run has taken this one for dead, and writes the store now."""
        if self._lock is not None:
            self._lock.check()

    def done(self) -> dict[int, ShardSummary]:
        """The shards that are whole, by index: those with a summary, and an object of the size that it says."""
        found, sizes = {}, self._sizes()
        for index in self.staging.summaries():
            try:
                summary, _, arrays = self.staging.read_summary(index)
            except MissingError:  # a listing may have what was removed a moment ago
                continue
            if all(sizes.get(name) == size for name, size in self._objects(index, summary, arrays)):
                found[index] = summary
        return found

    def write_shard(self, index: int, samples: Sequence[Sample], notes: Sequence[dict[str, Any]] = ()) -> ShardSummary:
        """Write shard `index`, counted from 0 in the order of the source: at most ``spec.shard_samples`` samples.

        notes: JSON objects that are kept with the shard, for whoever asks `done`. Every blob is decoded once: for the
        statistics, and so that no blob that cannot be read is ever stored. ArgumentError, or CorruptError, naming the
        shard and the key.
        """
        where = f"shard {index}"
        self.check_lock()
        if len(samples) > self.spec.shard_samples:
            raise ArgumentError(
                f"{where}: {len(samples)} samples are given, and a shard of this store has at most "
                f"{self.spec.shard_samples}"
            )
        columns = _columns(samples, self.codec.modality, where)
        moments = measure(self.codec, self.spec.size, samples, where)
        sizes = {
            "width": np.array([s.width for s in samples], np.int64),
            "height": np.array([s.height for s in samples], np.int64),
        }
        blob_bytes = sum(len(blob) for s in samples for blob in s.groups)
        extent = sum(s.width * s.height for s in samples)
        summary = ShardSummary(index, len(samples), blob_bytes, extent, moments, list(notes))
        arrays = self._write(index, samples, columns)
        self.staging.write_summary(summary, columns, {**sizes, **arrays})
        return summary

    @abstractmethod
    def finish(self, shards: int) -> StoreSummary:
        """Publish the store, of the shards 0 to shards - 1. In the driver, once."""

    @abstractmethod
    def abort(self) -> None:
        """Throw away everything written so far."""

    @property
    def codec(self) -> Codec:
        """The codec of the store."""
        return codec_of(self.spec.sha256, self.artifact)

    def artifact(self) -> bytes:
        """The artifact of the store."""
        return self.spec.artifact or self.staging.partial.read(ARTIFACT)

    def _about(self, total: StoreSummary, moments: Moments) -> dict[str, Any]:
        """What the manifest says in every layout, but for the fields. moments: of all latents."""
        codec = self.codec
        mean, std = moments.mean_std(codec.scales(self.spec.quality))
        return {
            "format_version": FORMAT_VERSION,
            "modality": codec.modality.name,
            **self.spec.settings(),
            "channels": codec.channels,
            "group_channels": codec.group_channels,
            "count": total.count,
            "extent": total.extent,
            "blob_bytes": total.bytes,
            "stats": {"mean": mean, "std": std},
        }

    @abstractmethod
    def _write(self, index: int, samples: Sequence[Sample], columns: dict[str, Column]) -> Arrays:
        """Write the objects of a shard; the arrays that are to be kept with its summary."""

    @abstractmethod
    def _objects(self, index: int, summary: ShardSummary, arrays: Arrays) -> list[tuple[str, int]]:
        """(name, bytes) of the objects that make up shard `index`, by the names of `_sizes`."""

    @abstractmethod
    def _sizes(self) -> dict[str, int]:
        """Sizes of all shard objects there are."""


def _columns(samples: Sequence[Sample], modality: Modality, where: str) -> dict[str, Column]:
    """Keys and fields of samples; ArgumentError if they do not all have the same, or one has a name of a batch's."""
    names = same_names((s.fields for s in samples), where)
    require_free(names, modality, where)
    columns = {name: Column.of(name, [s.fields[name] for s in samples]) for name in names}
    columns["key"] = Column.of("key", [s.key for s in samples]) if samples else Column.flat("str", [])
    return columns


def require_unique(keys: list[str], url: str) -> None:
    """ArgumentError naming a key that two samples have."""
    if len(set(keys)) < len(keys):
        seen: set[str] = set()
        twice = next(k for k in keys if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ArgumentError(f"{url}: key {twice!r} is used by more than one sample; keys must be unique")
