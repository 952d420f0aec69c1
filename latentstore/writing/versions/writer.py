"""Writing a new version of a store of latents: shards that no version has yet, then a manifest that names them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.loaders.columns import Column, pack
from latentstore.loaders.remote.client import UnansweredError
from latentstore.loaders.stats import Moments
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.latents import FIELD, LatentField
from latentstore.loaders.tensors.manifest import Shard, TensorMeta
from latentstore.writing.sharded import Arrays, ShardWriter, require_unique
from latentstore.writing.spec import Sample, ShardSummary, StoreSpec, StoreSummary, differences, settings_of
from latentstore.writing.staging import Staging, part_name
from latentstore.writing.tensors.joining import Copying, Full
from latentstore.writing.tensors.rewrite import renewed
from latentstore.writing.versions.kept import Kept
from latentstore.writing.versions.session import LatentSession, Refusal

if TYPE_CHECKING:
    from types import TracebackType

# What the manifest of a version says elsewhere, or what its shards say.
_ELSEWHERE = {"format_version", "artifact_sha256", "count", "blob_bytes", "source"}


class VersionWriter(ShardWriter):
    """Writes one version. Its shards get their final names at once; no reader sees them before the manifest, which is
    written last.

    token: with which the names of its shards begin. first: the number of the first shard of this run; an interrupted
    run has written those before it. kinds: of the fields of the version that this one begins with. copied: what was
    copied of the shards of that version, once this one is published.
    """

    keeps_sources = True

    def __init__(self, staging: Staging, spec: StoreSpec, published: bool = False) -> None:
        super().__init__(staging, spec, published)
        self.token, self.first = "", 0
        self._adopted: list[int] | None = None
        self.kinds: dict[str, str] = {}
        self.copied = Copying()
        self._session: LatentSession | None = None
        self._dropped: list[str] = []

    @classmethod
    def begin(
        cls, url: str, spec: StoreSpec, *, resume: bool, overwrite: bool, storage_options: dict[str, Any] | None
    ) -> Self:
        """See `writing.open.open_writer`: the first version of a store, or one that replaces all that it holds."""
        session = LatentSession(url, storage_options)
        published = session.newest()
        if published is not None and not overwrite:
            about = None if published.alone is None else _settings(published)
            differing = [] if about is None else differences(about, spec.settings())
            if not resume:
                raise StoreError(
                    f"{session.target.url} already exists: choose another name, overwrite it, or bring it up to date "
                    "with sync",
                    remedy="overwrite",
                )
            if about is None or differing:
                said = ", ".join(name for name, _, _ in differing) or "it is a store of tensors"
                raise StoreError(
                    f"{session.target.url} is published with other settings ({said}): bring it up to date with sync, "
                    "or overwrite it",
                    remedy="overwrite",
                )
            return cls(_staging(session), spec, published=True)

        def refusal(before: Mapping[str, Any]) -> str:
            return ", ".join(name for name, _, _ in differences(before, spec.settings()))

        session.begin_version(
            spec.settings(), spec.artifact, refusal, replace=overwrite, resume=resume, discard=overwrite
        )
        return cls._of(session, spec)

    @classmethod
    def begin_next(
        cls, url: str, spec: StoreSpec, refusal: Refusal, *, replace: bool, storage_options: dict[str, Any] | None
    ) -> Self:
        """The version that comes after the published one, or the first one. replace: it has none of its samples.
        refusal: see `LatentSession.begin_version`; an interrupted run that is refused is thrown away."""
        session = LatentSession(url, storage_options)
        # such a run does not go by the numbers of its shards, so `begin` must not go on with it
        settings = {**spec.settings(), "adopts": True}
        session.begin_version(settings, spec.artifact, refusal, replace=replace, resume=True, discard=True)
        return cls._of(session, spec)

    @classmethod
    def _of(cls, session: LatentSession, spec: StoreSpec) -> Self:
        writer = cls(_staging(session), spec)
        writer._session, writer._lock, writer.token = session, session.lock, session.token
        writer.kinds = {} if session.base is None else session.base.kinds
        return writer

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "token": self.token, "first": self.first, "kinds": self.kinds}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.token, self.first, self.kinds = state["token"], state["first"], state["kinds"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the lock back. On an error nothing else is deleted: what is written stays for resuming."""
        if self._session is not None:
            self._end(isinstance(error, UnansweredError))

    def abort(self) -> None:
        """See `ShardWriter.abort`. The published version stays as it is."""
        self.check_lock()
        self._of_driver.discard()
        self._end()

    def _end(self, unanswered: bool = False) -> None:
        self._of_driver.end(unanswered)
        self._session = self._lock = None

    @property
    def _of_driver(self) -> LatentSession:
        assert self._session is not None, "only the driver publishes"
        return self._session

    @property
    def base(self) -> TensorMeta | None:
        """The version that this one begins with; None for none."""
        return self._of_driver.base

    # ---- shards

    def done(self) -> dict[int, ShardSummary]:
        """See `ShardWriter.done`. A run that has adopted shards makes all of its own, also one whose number a listing
        shows late, which is of the interrupted run."""
        return super().done() if self._adopted is None else {}

    def adopt(self, is_wanted: Callable[[str, str], bool]) -> list[tuple[ShardSummary, list[str]]]:
        """The shards of an interrupted run that this one goes on with, and their keys; its other shards are removed.

        is_wanted: given the key of a sample, and what it was made of, says whether this version is to have it so. A
        shard is kept where this is true of all its samples. This run's shards get numbers behind theirs. Where a
        listing lagged, the interrupted run may have made samples twice; the first shard that has them is kept.
        """
        seen, adopted = set[str](), list[int]()
        found, done, sizes = list[tuple[ShardSummary, list[str]]](), self.done(), self._sizes()
        numbers = self.staging.summaries()
        for number in numbers:
            summary, name = done.get(number), self._object(number)
            if summary is not None and summary.count and name in sizes:
                _, tail = self._of_driver.read_tail(name.removeprefix(f"{layout.SHARDS}/"), sizes[name], self._parts())
                keys, sources = tail.columns["key"].values(), tail.columns[layout.SOURCE].values()
                if all(map(is_wanted, keys, sources)) and seen.isdisjoint(keys):
                    seen.update(keys)
                    found.append((summary, keys))
                    adopted.append(number)
                    continue
            if name in sizes:
                self.staging.store.remove(name)
            self.staging.forget_summary(number)
        self.first, self._adopted = 1 + max(numbers, default=-1), adopted
        return found

    def write_shard(self, index: int, samples: Sequence[Sample], notes: Sequence[dict[str, Any]] = ()) -> ShardSummary:
        """See `ShardWriter.write_shard`."""
        return replace(super().write_shard(self.first + index, samples, notes), index=index)

    def _write(self, index: int, samples: Sequence[Sample], columns: dict[str, Column]) -> Arrays:
        parts = len(self._parts())
        if not samples:
            return {"object": np.zeros((1, 2), np.int64), "parts": np.zeros((1, parts), np.int64)}
        lengths = np.array([[len(blob) for blob in sample.groups] for sample in samples], np.int64)
        own = {name: self._as_before(name, column) for name, column in columns.items()}
        own[layout.SOURCE] = Column.of(layout.SOURCE, [sample.source for sample in samples])
        if self.spec.size is None:
            own[layout.HEIGHT] = Column.of(layout.HEIGHT, [sample.height for sample in samples])
            own[layout.WIDTH] = Column.of(layout.WIDTH, [sample.width for sample in samples])
        tail = layout.encode_tail(layout.Tail(own, {}, lengths))
        blobs = [sample.groups[group] for group in range(parts) for sample in samples]
        self.staging.store.write(self._object(index), [*blobs, tail])
        size = int(lengths.sum()) + len(tail)
        return {"object": np.array([[size, len(tail)]], np.int64), "parts": lengths.sum(axis=0, keepdims=True)}

    def _as_before(self, name: str, column: Column) -> Column:
        """The column in the kind that the field has in the store: whole numbers are floats there if others are."""
        if column.kind == "int" and self.kinds.get(name) == "float":
            return Column("float", column.data.astype(np.float64))
        return column

    def _object(self, number: int) -> str:
        return layout.shard_name(f"{self.token}-0000-{number:06d}")

    def _parts(self) -> list[str]:
        codec = self.codec
        return LatentField({"channels": codec.channels, "group_channels": codec.group_channels}).parts(FIELD)

    def _objects(self, index: int, summary: ShardSummary, arrays: Arrays) -> list[tuple[str, int]]:
        return [(self._object(index), int(arrays["object"][0, 0]))] if summary.count else []

    def _sizes(self) -> dict[str, int]:
        return self.staging.store.list(layout.SHARDS)

    # ---- the end

    def drop(self, keys: Iterable[str]) -> None:
        """Leave out samples of the version that this one begins with."""
        self._dropped += keys

    def finish(self, shards: int) -> StoreSummary:
        """See `ShardWriter.finish`. Samples of the version before stay, but for those that were dropped or that are
        written again; small shards of theirs are joined. If nothing has changed, there is no new version."""
        session, base, codec = self._of_driver, self.base, self.codec
        self.check_lock()
        own = range(self.first, self.first + shards)
        missing = sorted(set(own) - set(self.staging.summaries()))
        missing = [number for number in missing if not self.staging.partial.exists(part_name(number))]  # it may lag
        if missing:
            raise StoreError(
                f"{self.url} cannot be finished: {len(missing)} of {shards} shards are not written, the first is shard "
                f"{missing[0] - self.first}"
            )
        written = [_Written.of(self, number) for number in (*(self._adopted or ()), *own)]
        written = [one for one in written if one.summary.count]
        keys = [key for one in written for key in one.columns["key"].values()]
        require_unique(keys, self.url)
        kinds = self._kinds(written)
        kept = Kept.of(session.target, base, codec)
        gone = kept.among([*keys, *self._dropped])
        moments = Moments.total([kept.moments_without(gone), *(one.summary.moments for one in written)], codec.channels)
        extent = kept.extent_without(gone) + sum(one.summary.extent for one in written)
        old = () if base is None else base.shards
        if base is not None and (written or gone):
            old, self.copied = renewed(session, base, set(gone), Full.of_latents(self.spec))
        every = (*old, *(one.shard for one in written))
        if not every:
            raise StoreError(f"{self.url}: all samples would be left out; a store has at least one")
        total = StoreSummary(
            url=self.url,
            count=sum(shard.count for shard in every),
            shards=len(every),
            bytes=sum(sum(shard.fields) for shard in every),
            extent=extent,
        )
        about = {name: value for name, value in self._about(total, moments).items() if name not in _ELSEWHERE}
        if base is None or every != base.shards or about["classes"] != _about(base)["classes"]:
            self._publish(about, kinds, every, moments)
        session.tidy()
        self._end()
        self.published = True
        return total

    def _publish(
        self, about: dict[str, Any], kinds: dict[str, str], shards: tuple[Shard, ...], moments: Moments
    ) -> None:
        session = self._of_driver
        now = session.newest()
        if self.base is not None and (now is None or now.version != self.base.version):
            raise StoreError(f"{self.url} was changed by another run meanwhile; run it again", remedy="resume")
        version = 1 + (0 if now is None else now.version)
        session.target.write(layout.coder_name(self.spec.sha256), self.artifact())
        session.target.write(layout.moments_name(version), pack({}, moments.to_arrays()))
        session.publish(
            TensorMeta.make(
                version=version,
                fields={FIELD: LatentField(about), **kinds},
                coders={FIELD: self.spec.sha256},
                encoders={},
                shards=shards,
                source=self.spec.source,
                session=session.token,
            )
        )

    def _kinds(self, written: Sequence[_Written]) -> dict[str, str]:
        """The kinds of the fields of all samples. ArgumentError if they differ."""
        every = [self.kinds] if self.base is not None else []
        every += [
            {name: self._as_before(name, column).kind for name, column in one.columns.items() if name != "key"}
            for one in written
        ]
        for kinds in every[1:]:
            if kinds != every[0]:
                odd = sorted({name for name, _ in kinds.items() ^ every[0].items()})
                raise ArgumentError(
                    f"{self.url}: samples have different fields: {', '.join(odd)} of some is missing in others, or of "
                    "another type; make the store anew by overwriting it"
                )
        return every[0] if every else {}


@dataclass(frozen=True)
class _Written:
    """A shard of this session, and what the manifest will say of it."""

    summary: ShardSummary
    columns: dict[str, Column]
    shard: Shard

    @classmethod
    def of(cls, writer: VersionWriter, number: int) -> _Written:
        summary, columns, arrays = writer.staging.read_summary(number)
        size, tail = arrays["object"][0].tolist()
        name = writer._object(number).removeprefix(f"{layout.SHARDS}/")
        return cls(summary, columns, Shard(name, summary.count, size, tail, tuple(arrays["parts"][0].tolist())))


def _staging(session: LatentSession) -> Staging:
    return Staging(session.target, session.partial, session.target)


def _about(version: TensorMeta) -> Mapping[str, Any]:
    assert version.alone is not None
    return version.alone.about


def _settings(version: TensorMeta) -> dict[str, Any]:
    """`StoreSpec.settings` of a published version."""
    own = {**_about(version), "artifact_sha256": version.coders[FIELD], "source": version.source}
    return settings_of(own)
