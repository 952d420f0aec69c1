"""Where a store lies while it grows, and how it becomes visible at once.

Beside ``TARGET`` there is ``TARGET.partial`` with ``job.json`` (the settings), ``artifact.safetensors`` and
``parts/`` (one summary per shard written). Locally the growing store itself is ``TARGET.partial/store`` and
publishing is one rename. Object stores cannot rename: there the shards go to their final names and the
manifest, without which no reader opens a store, is written last.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from latentstore.codecs.errors import CorruptError, StoreError
from latentstore.loaders.columns import Column, pack, unpack
from latentstore.loaders.remote import Location
from latentstore.loaders.writer import ShardSummary, StoreSpec

ARTIFACT = "artifact.safetensors"


@dataclass
class Staging:
    """target: where the store will be. partial: the bookkeeping. store: where its files are written now."""

    target: Location
    partial: Location
    store: Location

    @classmethod
    def at(cls, url: str, storage_options: dict[str, Any] | None) -> Staging:
        target = Location(url, storage_options)
        temp = None if target.local is None else f"{target.local}.partial/tmp"
        partial = Location(f"{target.url}.partial", storage_options, temp)
        if target.local is None:
            return cls(target, partial, target)
        return cls(target, partial, Location(f"{target.local}.partial/store", temp=temp))

    # ---- beginning

    def begin(
        self, spec: StoreSpec, manifest: str, published: str | None, *, resume: bool, overwrite: bool
    ) -> bool:
        """Make ready to write `spec`; True if the very same store is already published.

        manifest: name of the file that makes a store. published: the settings (`StoreSpec.to_json`) of the
        store at the target, "" if a store of unknown settings is there, None if none is.
        """
        pending = self._pending()
        if resume and pending is not None:
            if published == spec.to_json() and not (self.target.local and self.store.exists()):
                self.partial.remove()  # published, but stopped before tidying up
                return True
            self._check_same(pending, spec)
            if pending["overwrite"] and not self.summaries():
                self._clear(manifest)
            return False
        if resume and published is not None and not overwrite:
            self._check_same({"spec": json.loads(published or "{}")}, spec)
            return True
        if pending is not None and not overwrite:
            raise StoreError(
                f"{self.partial.url} holds an interrupted conversion: go on with --resume, "
                "or start again with --overwrite"
            )
        if self._occupied():
            if not overwrite:
                raise StoreError(f"{self.target.url} already exists: choose another name, or say --overwrite")
            if published is None and not (pending is not None and pending["overwrite"]):
                raise StoreError(
                    f"{self.target.url} is not a latentstore store, so --overwrite does not touch it: "
                    "choose another name"
                )
        self.partial.remove()
        if self.store.local is not None:
            self.store.path().mkdir(parents=True)
        self.partial.write(ARTIFACT, spec.artifact)
        job = {"spec": json.loads(spec.to_json()), "overwrite": overwrite}
        self.partial.write("job.json", json.dumps(job, ensure_ascii=False, indent=1).encode())
        if overwrite:
            self._clear(manifest)
        return False

    def _pending(self) -> dict[str, Any] | None:
        if not self.partial.exists("job.json"):
            return None
        return json.loads(self.partial.read("job.json"))

    def _check_same(self, pending: dict[str, Any], spec: StoreSpec) -> None:
        old, new = pending["spec"], json.loads(spec.to_json())
        differing = [f.name for f in fields(spec) if f.name != "artifact" and old.get(f.name) != new[f.name]]
        if differing:
            name = differing[0]
            raise StoreError(
                f"{self.target.url} was begun with other settings ({', '.join(differing)}; {name} was "
                f"{old.get(name)!r}, now {new[name]!r}): resume with the same ones, "
                "or start again with --overwrite"
            )

    def _occupied(self) -> bool:
        if self.target.local is None:
            return bool(self.target.list())
        path = self.target.local
        return path.exists() and not (path.is_dir() and not any(path.iterdir()))

    def _clear(self, manifest: str) -> None:
        """Make room on an object store; its manifest goes first, so nobody opens what is left meanwhile."""
        if self.target.local is None:
            self.target.remove(manifest)
            self.target.remove()

    # ---- summaries

    def write_summary(
        self, summary: ShardSummary, columns: dict[str, Column], arrays: dict[str, np.ndarray]
    ) -> None:
        """Record that shard ``summary.index`` is written; after this it counts as done."""
        numbers = [summary.index, summary.count, summary.bytes, summary.pixels, summary.positions]
        notes = np.frombuffer(json.dumps(summary.notes, ensure_ascii=False).encode(), np.uint8)
        own = {"numbers": np.array(numbers, np.int64), "sums": summary.sums, "squares": summary.squares}
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
        index, count, size, pixels, positions = (int(v) for v in arrays.pop("numbers"))
        notes = json.loads(arrays.pop("notes").tobytes())
        sums, squares = arrays.pop("sums"), arrays.pop("squares")
        summary = ShardSummary(index, count, size, pixels, positions, sums, squares, notes)
        return summary, columns, arrays

    # ---- end

    def publish(self, manifest: str, data: bytes) -> None:
        """Write the manifest and make the store visible."""
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
        self.partial.remove()

    def abort(self) -> None:
        """Remove all that is not published."""
        if self.target.local is None and self.partial.exists("job.json"):
            self.target.remove()
        self.partial.remove()


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
