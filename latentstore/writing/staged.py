"""What the writers of stores that grow beside their place share: the order of steps, bookkeeping, publishing."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np

from latentstore.codecs.errors import StoreError
from latentstore.loaders.columns import Column, same_names
from latentstore.loaders.remote.location import Location
from latentstore.loaders.stats import Moments
from latentstore.writing.lock import Lock
from latentstore.writing.sharded import Arrays, ShardWriter, require_unique
from latentstore.writing.spec import ShardSummary, StoreSpec, StoreSummary, settings_of
from latentstore.writing.staging import Staging


class StagedWriter(ShardWriter):
    """A store that grows beside its place (`writing.staging`). manifest: name of the file that makes the store one."""

    manifest: str

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

    def abort(self) -> None:
        """Throw away everything written so far."""
        self.check_lock()
        self.staging.abort()
        self._unlock()

    def _unlock(self) -> None:
        """Remove what is left of the bookkeeping: the lock is last."""
        if self._lock is None:
            self.staging.partial.remove()
        else:
            self._lock.release()

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
        require_unique(columns["key"].values(), self.url)
        self._complete(summaries, columns, arrays)
        total = StoreSummary(
            url=self.url,
            count=sum(s.count for s in summaries),
            shards=len(filled),
            bytes=sum(s.bytes for s in summaries),
            extent=sum(s.extent for s in summaries),
        )
        kinds = {name: column.kind for name, column in columns.items() if name != "key"}
        about = self._about(total, Moments.total((s.moments for s in summaries), self.codec.channels))
        self.check_lock()
        self.staging.publish(self.manifest, self._manifest(about, kinds, [s for s in summaries if s.count], arrays))
        self.staging.wipe()
        self._unlock()
        self.published = True
        return total

    # ---- what a layout adds

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
