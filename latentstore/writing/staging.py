"""Where a store lies while it grows, and how it becomes visible at once.

Beside ``TARGET`` there is ``TARGET.partial`` with ``job.json`` (the settings), ``artifact.safetensors`` and ``parts/``
(a summary of each shard that is written). On a local disk the growing store is ``TARGET.partial/store``, and one rename
publishes it. Object stores cannot rename. There the shards get their final names at once, and the manifest, without
which no reader opens a store, is written last.

Where a store on an object store is overwritten, the new one grows in ``TARGET.partial/store`` too. Publishing then
removes the old one, its manifest first, and copies the new one, its manifest last. The object store copies by itself;
while it does, there is no store at the target.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentstore.codecs.errors import ArgumentError, CorruptError, StoreError
from latentstore.loaders.columns import Column, pack, unpack
from latentstore.loaders.manifest import ARTIFACT, PARTIAL
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.urls.place import is_bucket
from latentstore.loaders.stats import Moments
from latentstore.writing.lock import LOCK
from latentstore.writing.spec import ShardSummary, StoreSpec, differences

JOB = "job.json"
# Marker: the old store has been deleted, so a manifest found now belongs to the new one.
SWITCHING = "switching"


@dataclass
class Staging:
    """The places of one growing store.

    target: where the store will be. partial: the bookkeeping. store: where the store's files are written now.
    """

    target: Location
    partial: Location
    store: Location

    @classmethod
    def at(cls, url: str, storage_options: dict[str, Any] | None) -> Staging:
        """The places of the store that will be at `url`."""
        target = Location(url, storage_options)
        temp = None if target.local is None else f"{target.local}{PARTIAL}/tmp"
        partial = beside(target, temp)
        if target.local is None:
            return cls(target, partial, target)
        return cls(target, partial, Location(f"{target.local}{PARTIAL}/store", temp=temp))

    @property
    def in_place(self) -> bool:
        """Whether the shards are written where they will be read: on object stores, in a new store."""
        return self.store is self.target

    # ---- beginning

    def begin(self, spec: StoreSpec, published: dict[str, Any] | None, *, resume: bool, overwrite: bool) -> bool:
        """Make ready to write `spec`; True if the very same store is already published.

        published: the settings (`StoreSpec.settings`) of the store at the target; None if there is none.
        """
        pending = self._pending()
        if resume and pending is not None:
            self._place(pending["replaces"])
            if published == spec.settings() and self._switched():
                self.wipe()  # it was published, and stopped before tidying up
                return True
            self._check_same(pending["settings"], spec)
            return False
        if resume and published is not None and not overwrite:
            self._check_same(published, spec)
            return True
        if pending is not None and not overwrite:
            raise StoreError(
                f"{self.partial.url} holds an interrupted conversion: resume it, or start again by overwriting it",
                remedy="resume",
            )
        replaces = self._occupied()
        if replaces and not overwrite:
            raise StoreError(
                f"{self.target.url} already exists: choose another name, or overwrite it", remedy="overwrite"
            )
        if replaces and published is None:
            if pending is None or self.target.local is not None:
                raise StoreError(
                    f"{self.target.url} is not a latentstore store of this format, so it is not overwritten: "
                    "choose another name"
                )
            self.target.remove()  # what an interrupted run has put there; nobody can read it
            replaces = False
        self.wipe()
        self._place(replaces)
        if self.store.local is not None:
            self.store.path().mkdir(parents=True)
        self.partial.write(ARTIFACT, spec.artifact)
        job = {"settings": spec.settings(), "replaces": replaces}
        self.partial.write(JOB, json.dumps(job, ensure_ascii=False, indent=1).encode())
        return False

    def restore(self) -> None:
        """Put back the old store, where a run has moved it aside and was stopped just before its last step."""
        old = None if self.target.local is None else self.partial.path("old")
        if old is not None and old.exists() and not self.target.exists():
            old.rename(self.target.path())

    def _pending(self) -> dict[str, Any] | None:
        if not self.partial.exists(JOB):
            return None
        return json.loads(self.partial.read(JOB))

    def _place(self, replaces: bool) -> None:
        if self.target.local is None and replaces:
            self.store = Location(f"{self.partial.url}/store", self.target.storage_options)

    def _switched(self) -> bool:
        """Whether a store at the target is the new one."""
        if self.target.local is not None:
            return not self.store.exists()
        return self.in_place or self.partial.exists(SWITCHING)

    def wipe(self) -> None:
        """Remove all the bookkeeping, but not the lock: this may take long, and must keep other runs out."""
        if self.partial.local is None:
            names = {name.partition("/")[0] for name in self.partial.list()}
        else:
            names = {path.name for path in self.partial.path().glob("*")}
        for name in sorted(names):
            if not name.lstrip(".").startswith(LOCK):
                self.partial.remove(name)

    def _check_same(self, settings: dict[str, Any], spec: StoreSpec) -> None:
        differing = differences(settings, spec.settings())
        if differing:
            name, old, new = differing[0]
            raise StoreError(
                f"{self.target.url} was begun with other settings ({', '.join(d[0] for d in differing)}; {name} was "
                f"{old!r}, now {new!r}): resume it with the same settings, or start again by overwriting it",
                remedy="overwrite",
            )

    def _occupied(self) -> bool:
        if self.target.local is None:
            return bool(self.target.list())
        path = self.target.local
        return path.exists() and not (path.is_dir() and not any(path.iterdir()))

    # ---- summaries

    def write_summary(self, summary: ShardSummary, columns: dict[str, Column], arrays: dict[str, np.ndarray]) -> None:
        """Record that the shard ``summary.index`` is written; from then on it counts as done."""
        numbers = [summary.index, summary.count, summary.bytes, summary.extent]
        notes = np.frombuffer(json.dumps(summary.notes, ensure_ascii=False).encode(), np.uint8)
        own = {"numbers": np.array(numbers, np.int64), **summary.moments.to_arrays()}
        self.partial.write(part_name(summary.index), pack(columns, {**own, "notes": notes, **arrays}))

    def summaries(self) -> list[int]:
        """Indexes of the shards recorded, ascending."""
        return sorted(int(Path(name).stem) for name in self.partial.list("parts"))

    def read_summary(self, index: int) -> tuple[ShardSummary, dict[str, Column], dict[str, np.ndarray]]:
        """What `write_summary` was given."""
        name = part_name(index)
        columns, arrays = unpack(self.partial.read(name), self.partial.at(name))
        if "numbers" not in arrays:
            raise CorruptError(f"{self.partial.at(name)} is not the summary of a shard")
        index, count, size, extent = (int(v) for v in arrays.pop("numbers"))
        notes = json.loads(arrays.pop("notes").tobytes())
        sums = arrays.get("moments_sums")
        channels = 0 if sums is None or sums.ndim != 2 else sums.shape[1]
        moments = Moments.of_arrays(arrays, channels, self.partial.at(name))
        arrays = {key: array for key, array in arrays.items() if key not in moments.to_arrays()}
        summary = ShardSummary(index, count, size, extent, moments, notes)
        return summary, columns, arrays

    def forget_summary(self, index: int) -> None:
        """A shard does not count as done any more."""
        self.partial.remove(part_name(index))

    # ---- end

    def publish(self, manifest: str, data: bytes) -> None:
        """Write the manifest and make the store visible. May be cut off anywhere, and then run again."""
        if self.target.local is None and not self.in_place:
            self.target.remove(manifest)
            self.partial.write(SWITCHING, b"")
            self.target.remove()
            self.store.copy([name for name in self.store.list() if name != manifest], self.target)
            self.target.write(manifest, data)
            return
        self.store.write(manifest, data)
        if self.target.local is not None:
            target, store = self.target.local, self.store.path()
            try:
                if target.is_dir() and not any(target.iterdir()):
                    target.rmdir()
                elif target.exists():  # begin() made sure that this may be replaced
                    target.rename(self.partial.path("old"))
                store.rename(target)
                _sync_folder(target.parent)
            except OSError as error:
                raise StoreError(f"{store} could not be renamed to {target}: {error.strerror}") from error

    def abort(self) -> None:
        """Remove everything that is not published, but not the lock."""
        if self.in_place and self.partial.exists(JOB):
            self.target.remove()
        self.wipe()


def beside(target: Location, temp: str | None) -> Location:
    """The folder of the bookkeeping. temp: see `Location`. ArgumentError if there can be none."""
    if is_bucket(target.url):
        raise ArgumentError(f"{target.url} is a whole bucket: name a folder in it, such as {target.url}/x.store")
    return Location(target.url + PARTIAL, target.storage_options, temp)


def part_name(index: int) -> str:
    return f"parts/{index:06d}.npz"


def _sync_folder(path: Path) -> None:
    """Make a rename survive a power cut (POSIX: the folder itself must be synced)."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
