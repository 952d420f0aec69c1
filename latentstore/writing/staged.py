"""What both store writers share: checking and measuring samples, bookkeeping, statistics, publishing."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from latentstore.codecs.errors import ArgumentError, LatentstoreError, StoreError
from latentstore.codecs.load import codec_of
from latentstore.codecs.modality import modality_of
from latentstore.loaders.columns import Column, same_names
from latentstore.loaders.manifest import FORMAT_VERSION
from latentstore.loaders.remote.location import Location
from latentstore.loaders.stats import Moments
from latentstore.writing.lock import Lock
from latentstore.writing.spec import Sample, ShardSummary, StoreSpec, StoreSummary
from latentstore.writing.staging import ARTIFACT, Staging

if TYPE_CHECKING:
    from types import TracebackType

    from latentstore.codecs import Codec

RESERVED = {"key", "latent"}


class StagedWriter(ABC):
    """A store being written, see `writing.spec`.

    Pickles; in another process it finds its artifact beside the growing store.

    published: `begin` found, on resuming, that the store is complete; there is nothing to do.
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
        """See `writing.spec.open_writer`."""
        staging = Staging.at(url, storage_options)
        lock = Lock(staging.partial)
        lock.acquire()
        try:
            if overwrite:
                staging.restore()
            settings = cls.settings_at(staging.target)
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
    def settings_at(cls, target: Location) -> str | None:
        """The settings of the store published at `target`: "" if it does not say, None if there is no
        store."""

    def __getstate__(self) -> dict[str, Any]:
        # The artifact lies beside the growing store; it need not travel with every task.
        return {"staging": self.staging, "settings": self.spec.to_json(), "published": self.published}

    def __setstate__(self, state: dict[str, Any]) -> None:
        spec = StoreSpec.from_json(state["settings"])
        self.__init__(state["staging"], spec, state["published"])  # type: ignore[misc]

    def __enter__(self) -> Self:
        if self._lock is not None:
            self._lock.beat()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the lock back. Nothing else is deleted on an error: what is written waits for ``resume``."""
        if self._lock is not None:
            self._lock.release()

    def abort(self) -> None:
        """Throw away everything written so far."""
        if self._lock is not None:
            self._lock.rest()
        self.staging.abort()

    def done(self) -> dict[int, ShardSummary]:
        """Shards already written whole: those whose summary is there and whose object has the size it
        says."""
        found, sizes = {}, self._sizes()
        for index in self.staging.summaries():
            summary, _, arrays = self.staging.read_summary(index)
            if all(sizes.get(name) == size for name, size in self._objects(index, summary, arrays)):
                found[index] = summary
        return found

    def write_shard(self, index: int, samples: Sequence[Sample], notes: Sequence[dict[str, Any]] = ()) -> ShardSummary:
        """Write shard `index` (0-based, in source order): at most ``spec.shard_samples`` samples.

        notes: JSON objects to keep with the shard, which `done` gives back. Decodes every blob once: for the
        statistics, and so that no blob that cannot be read is ever stored.
        """
        if len(samples) > self.spec.shard_samples:
            raise ArgumentError(
                f"shard {index} was given {len(samples)} samples, but shards are of {self.spec.shard_samples}"
            )
        where = f"shard {index}"
        names = same_names((s.fields for s in samples), where)
        reserved = sorted(RESERVED & set(names))
        if reserved:
            raise ArgumentError(f"{where}: a field cannot be called {reserved[0]!r}; rename that column")
        columns = {name: Column.of(name, [s.fields[name] for s in samples]) for name in names}
        columns["key"] = Column.of("key", [s.key for s in samples]) if samples else Column._flat("str", [])
        summary = self._measure(index, samples, notes)
        sizes = {
            "width": np.array([s.width for s in samples], np.int64),
            "height": np.array([s.height for s in samples], np.int64),
        }
        arrays = self._write(index, samples, columns)
        self.staging.write_summary(summary, columns, {**sizes, **arrays})
        return summary

    def finish(self, shards: int) -> StoreSummary:
        """Check that shards 0 to shards-1 are there, write the metadata, publish.

        StoreError names the first shard that is missing; ArgumentError a key that two samples have.
        """
        missing = sorted(set(range(shards)) - set(self.staging.summaries()))
        if missing:
            raise StoreError(
                f"{self.url} cannot be finished: {len(missing)} of {shards} shards are not written, "
                f"the first is shard {missing[0]}"
            )
        parts = [self.staging.read_summary(i) for i in range(shards)]
        summaries = [part[0] for part in parts]
        count = sum(s.count for s in summaries)
        if count == 0:
            raise StoreError(f"{self.url} cannot be finished: not one sample could be stored")
        columns = _join([(s, c) for s, c, _ in parts])
        arrays = {
            name: np.concatenate([a[name] for s, _, a in parts if s.count])
            for name in next(a for s, _, a in parts if s.count)
        }
        _check_unique(columns["key"].values(), self.url)
        self._complete(summaries, columns, arrays)
        manifest = self._manifest(self._attributes(summaries, columns), summaries)
        self.staging.publish(self.manifest, manifest)
        if self._lock is not None:
            self._lock.rest()
        self.staging.partial.remove()
        self.published = True
        used = sum(1 for s in summaries if s.count)
        total, pixels = sum(s.bytes for s in summaries), sum(s.pixels for s in summaries)
        return StoreSummary(self.url, count, used, total, pixels)

    # ---- what a layout adds

    @abstractmethod
    def _write(self, index: int, samples: Sequence[Sample], columns: dict[str, Column]) -> dict[str, np.ndarray]:
        """Write the shard's objects; returns arrays to keep with its summary (``object_bytes`` among
        them)."""

    @abstractmethod
    def _objects(self, index: int, summary: ShardSummary, arrays: dict[str, np.ndarray]) -> list[tuple[str, int]]:
        """(name, bytes) of the objects that make shard `index`, as `_sizes` names them."""

    @abstractmethod
    def _sizes(self) -> dict[str, int]:
        """Sizes of all shard objects there are."""

    @abstractmethod
    def _complete(
        self, summaries: list[ShardSummary], columns: dict[str, Column], arrays: dict[str, np.ndarray]
    ) -> None:
        """Write all but the manifest. May be cut off anywhere, and then run again."""

    @abstractmethod
    def _manifest(self, attributes: dict[str, Any], summaries: list[ShardSummary]) -> bytes:
        """The bytes of the manifest."""

    # ---- shared steps

    def _codec(self) -> Codec:
        artifact = self.spec.artifact
        return codec_of(self.spec.sha256, lambda: artifact or self.staging.partial.read(ARTIFACT))

    def _artifact(self) -> bytes:
        return self.spec.artifact or self.staging.partial.read(ARTIFACT)

    def _measure(self, index: int, samples: Sequence[Sample], notes: Sequence[dict[str, Any]]) -> ShardSummary:
        """Decode every blob, in chunks of samples, for exact sums over the int8 codes."""
        spec, codec = self.spec, self._codec()
        moments = []
        for first, run in _runs(samples):
            height, width = run[0].height, run[0].width
            if spec.size is not None and (height, width) != spec.size:
                raise ArgumentError(
                    f"shard {index}, {run[0].key}: {height}x{width} pixels in a store of {spec.size[0]}x{spec.size[1]}"
                )
            h, w = codec.latent_shape(height, width)[1:]
            latents = np.empty((len(run) * spec.groups, spec.group_channels, h, w), np.int8)
            blobs = [blob for s in run for blob in s.groups]
            if len(blobs) != len(latents):
                raise ArgumentError(f"shard {index}, {run[0].key}: a sample has {spec.groups} group blobs")
            lengths = np.array([len(b) for b in blobs], np.int64)
            source, start = np.arange(len(blobs), dtype=np.int32), np.zeros(len(blobs), np.int64)
            try:
                codec.read_groups(blobs, source, start, lengths, latents)
            except LatentstoreError as error:
                if error.index is None:
                    raise
                at = error.index // spec.groups + first
                raise type(error)(f"shard {index}, {samples[at].key}: {error}") from error
            moments.append(Moments.of(latents.reshape(len(run), spec.channels, h * w), _steps(spec.mode, run, index)))
        total = sum(len(blob) for s in samples for blob in s.groups)
        pixels = sum(s.width * s.height for s in samples)
        return ShardSummary(index, len(samples), total, pixels, Moments.total(moments, spec.channels), list(notes))

    def _attributes(self, summaries: list[ShardSummary], columns: dict[str, Column]) -> dict[str, Any]:
        """What the manifest says of the store, the same in every layout."""
        spec = self.spec
        moments = Moments.total((s.moments for s in summaries), spec.channels)
        mean, std = moments.mean_std(self._codec().scales(spec.quality))
        return {
            "format_version": FORMAT_VERSION,
            "codec": spec.codec,
            "artifact_sha256": spec.sha256,
            "count": sum(s.count for s in summaries),
            "size": None if spec.size is None else list(spec.size),
            "mode": spec.mode,
            "quality": spec.quality,
            "channels": spec.channels,
            "group_channels": spec.group_channels,
            "blob_bytes": sum(s.bytes for s in summaries),
            "pixels": sum(s.pixels for s in summaries),
            "source": spec.source,
            "classes": None if spec.classes is None else list(spec.classes),
            "fields": {name: column.kind for name, column in sorted(columns.items()) if name != "key"},
            "stats": {"mean": mean, "std": std},
            "settings": json.loads(spec.to_json()),
        }


def _steps(mode: str, run: Sequence[Sample], index: int) -> np.ndarray:
    """int64 (n,): the step codes of samples, 0 where they have none; ArgumentError where a field is missing."""
    modality = modality_of(mode)
    for sample in run:
        for name in modality.fields:
            if not isinstance(sample.fields.get(name), int):
                raise ArgumentError(
                    f"shard {index}, {sample.key}: {modality.name} needs the field {name!r}, a whole number"
                )
    return np.array([sample.fields.get("step", 0) if modality.fields else 0 for sample in run], np.int64)


def _runs(samples: Sequence[Sample], pixels: int = 1 << 24) -> list[tuple[int, list[Sample]]]:
    """(first, samples) of stretches of one size, each of about `pixels` pixels at most: bounds the memory."""
    runs: list[tuple[int, list[Sample]]] = []
    for i, sample in enumerate(samples):
        size = (sample.height, sample.width)
        if runs:
            last = runs[-1][1]
            area = (len(last) + 1) * size[0] * size[1]
            if (last[0].height, last[0].width) == size and area <= pixels:
                last.append(sample)
                continue
        runs.append((i, [sample]))
    return runs


def _join(parts: list[tuple[ShardSummary, dict[str, Column]]]) -> dict[str, Column]:
    filled = [(s, c) for s, c in parts if s.count]
    names = same_names((c for _, c in filled), "the shards of the store")
    return {name: Column.concat(name, [c[name] for _, c in filled]) for name in names}


def _check_unique(keys: list[str], url: str) -> None:
    if len(set(keys)) < len(keys):
        seen: set[str] = set()
        twice = next(k for k in keys if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ArgumentError(f"{url}: key {twice!r} is used by more than one sample; keys must be unique")
