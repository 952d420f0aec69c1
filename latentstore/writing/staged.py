"""What the writers of all layouts share: the order of steps, bookkeeping, statistics, publishing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.codecs.load import codec_of
from latentstore.codecs.modality import Modality
from latentstore.loaders.columns import Column, require_free, same_names
from latentstore.loaders.manifest import ARTIFACT, FORMAT_VERSION
from latentstore.loaders.remote.location import Location
from latentstore.loaders.stats import Moments
from latentstore.writing.lock import Lock
from latentstore.writing.measure import measure
from latentstore.writing.spec import Sample, ShardSummary, StoreSpec, StoreSummary, settings_of
from latentstore.writing.staging import Staging

if TYPE_CHECKING:
    from types import TracebackType

    from latentstore.codecs.codec import Codec

Arrays = dict[str, np.ndarray]


class StagedWriter(ABC):
    """A store that is being written; `writing.open` shows how.

    It can be pickled; in another process it finds its artifact beside the growing store.

    published: resuming has found that the store is complete, so there is nothing to do. manifest: name of the file that
    makes the store one.
    """

    manifest: str

    def __init__(self, staging: Staging, spec: StoreSpec, published: bool = False) -> None:
        self.staging = staging
        self.spec = spec
        self.published = published
        self.url = staging.target.url
        self._lock: Lock | None = None

    @classmethod
    def begin(
        cls,
        url: str,
        spec: StoreSpec,
        *,
        resume: bool,
        overwrite: bool,
        storage_options: dict[str, Any] | None,
    ) -> Self:
        """See `writing.open.open_writer`."""
        staging = Staging.at(url, storage_options)
        lock = Lock(staging.partial)
        lock.acquire()
        try:
            if overwrite:
                staging.restore()
            manifest = cls.manifest_at(staging.target)
            settings = None if manifest is None else settings_of(manifest)
            published = staging.begin(spec, settings, resume=resume, overwrite=overwrite)
        except BaseException:
            lock.release()
            raise
        writer = cls(staging, spec, published)
        if published:
            lock.release()
        else:
            writer._lock = lock
        return writer

    @classmethod
    @abstractmethod
    def manifest_at(cls, target: Location) -> dict[str, Any] | None:
        """The manifest of the store published at `target`, not checked; None if there is no store."""

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
        if self._lock is not None:
            self._lock.release()

    def abort(self) -> None:
        """Throw away everything written so far."""
        self.check_lock()
        self.staging.abort()
        self._unlock()

    def check_lock(self) -> None:
        """StoreError if another run has taken this one for dead, and writes the store now."""
        if self._lock is not None:
            self._lock.check()

    def _unlock(self) -> None:
        """Remove what is left of the bookkeeping: the lock is last."""
        if self._lock is None:
            self.staging.partial.remove()
        else:
            self._lock.release()

    def done(self) -> dict[int, ShardSummary]:
        """The shards that are whole, by index: those with a summary, and an object of the size that it says."""
        found, sizes = {}, self._sizes()
        for index in self.staging.summaries():
            summary, _, arrays = self.staging.read_summary(index)
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

    def finish(self, shards: int) -> StoreSummary:
        """Check that the shards 0 to shards - 1 are there, write the metadata, and publish the store.

        StoreError names the first shard that is missing; ArgumentError names a key that two samples have.
        """
        self.check_lock()
        missing = sorted(set(range(shards)) - set(self.staging.summaries()))
        if missing:
            raise StoreError(
                f"{self.url} cannot be finished: {len(missing)} of {shards} shards are not written, "
                f"the first is shard {missing[0]}"
            )
        parts = [self.staging.read_summary(i) for i in range(shards)]
        summaries = [summary for summary, _, _ in parts]
        filled = [part for part in parts if part[0].count]
        if not filled:
            raise StoreError(f"{self.url} cannot be finished: not one sample could be stored")
        names = same_names((columns for _, columns, _ in filled), "the shards of the store")
        columns = {name: Column.concat(name, [c[name] for _, c, _ in filled]) for name in names}
        arrays = {name: np.concatenate([a[name] for _, _, a in filled]) for name in filled[0][2]}
        _check_unique(columns["key"].values(), self.url)
        self._complete(summaries, columns, arrays)
        total = StoreSummary(
            url=self.url,
            count=sum(s.count for s in summaries),
            shards=len(filled),
            bytes=sum(s.bytes for s in summaries),
            extent=sum(s.extent for s in summaries),
        )
        kinds = {name: column.kind for name, column in columns.items() if name != "key"}
        about = self._about(total, summaries)
        self.check_lock()
        self.staging.publish(self.manifest, self._manifest(about, kinds, [s for s in summaries if s.count], arrays))
        self.staging.wipe()
        self._unlock()
        self.published = True
        return total

    @property
    def codec(self) -> Codec:
        """The codec of the store."""
        return codec_of(self.spec.sha256, self.artifact)

    def artifact(self) -> bytes:
        """The artifact of the store."""
        return self.spec.artifact or self.staging.partial.read(ARTIFACT)

    def _about(self, total: StoreSummary, summaries: Sequence[ShardSummary]) -> dict[str, Any]:
        """What the manifest says in every layout, but for the fields."""
        codec = self.codec
        moments = Moments.total((s.moments for s in summaries), codec.channels)
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

    # ---- what a layout adds

    @abstractmethod
    def _write(self, index: int, samples: Sequence[Sample], columns: dict[str, Column]) -> Arrays:
        """Write the objects of a shard; the arrays that are to be kept with its summary."""

    @abstractmethod
    def _objects(self, index: int, summary: ShardSummary, arrays: Arrays) -> list[tuple[str, int]]:
        """(name, bytes) of the objects that make up shard `index`, by the names of `_sizes`."""

    @abstractmethod
    def _sizes(self) -> dict[str, int]:
        """Sizes of all shard objects there are."""

    @abstractmethod
    def _complete(self, summaries: list[ShardSummary], columns: dict[str, Column], arrays: Arrays) -> None:
        """Write everything but the manifest. This may be cut off anywhere, and is then run again.

        columns, arrays: of all samples; arrays are those of `_write` end to end, ``width`` and ``height`` among them.
        """

    @abstractmethod
    def _manifest(
        self, about: dict[str, Any], kinds: dict[str, str], summaries: list[ShardSummary], arrays: Arrays
    ) -> bytes:
        """The bytes of the manifest. kinds: of the fields, by name. summaries: of the shards that have samples."""


def _columns(samples: Sequence[Sample], modality: Modality, where: str) -> dict[str, Column]:
    """Keys and fields of samples; ArgumentError if they do not all have the same, or one has a name of a batch's."""
    names = same_names((s.fields for s in samples), where)
    require_free(names, modality, where)
    columns = {name: Column.of(name, [s.fields[name] for s in samples]) for name in names}
    columns["key"] = Column.of("key", [s.key for s in samples]) if samples else Column.flat("str", [])
    return columns


def _check_unique(keys: list[str], url: str) -> None:
    if len(set(keys)) < len(keys):
        seen: set[str] = set()
        twice = next(k for k in keys if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ArgumentError(f"{url}: key {twice!r} is used by more than one sample; keys must be unique")
