"""What there is to do so that a store holds what its source holds now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from latentstore.loaders.tensors.manifest import TensorMeta
from latentstore.progress import counted, megabytes
from latentstore.writing.tensors.joining import Copying, Full

__all__ = ["SyncPlan", "lies_in"]


@dataclass
class SyncPlan:
    """What `sync` does, or has done. Keys of samples that are new, whose file has changed, or whose file is gone.

    touched: files that had to be read because their time has changed, though their bytes have not. unchanged: all
    samples that stay, those among them. deleted: whether those whose file is gone are left out. again: why all samples
    are encoded anew, or None. version: of the store afterwards; with `dry_run`, of the store as it is, 0 for none.
    copied: what is copied of the shards of the version before.

    Of a store of latents, also: unreadable: entries that could not be read last time and have not changed since; they
    are not tried again. bytes_in: of the entries to encode, where the source tells.
    """

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    unchanged: int = 0
    touched: int = 0
    deleted: bool = False
    again: str | None = None
    version: int = 0
    unreadable: int = 0
    bytes_in: int = 0
    copied: Copying = field(default_factory=Copying)

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.encodes or (self.deleted and self.gone))

    @property
    def encodes(self) -> int:
        """Samples to encode."""
        return len(self.new) + len(self.changed)

    def expect_copies(self, base: TensorMeta, keys: Sequence[str], changed: Collection[str], full: Full) -> None:
        """Say what will be copied of the shards of the version `base`, for the samples that stay.

        keys: of its samples, in order. changed: of those that are replaced. full: see
        `latentstore.writing.tensors.rewrite.renewed`.
        """
        if self.is_needed and self.again is None:
            leaving = {*changed, *(self.gone if self.deleted else ())}
            gone = np.array([at for at, key in enumerate(keys) if key in leaving], np.int64)
            lost = np.bincount(np.searchsorted(base.starts, gone, "right") - 1, minlength=len(base.shards))
            self.copied = Copying.of(base, (np.diff(base.starts) - lost).tolist(), full)

    def __str__(self) -> str:
        gone = "left out" if self.deleted else "kept"
        parts = [
            f"{self.unchanged} unchanged" + (f" ({self.touched} of them read to make sure)" if self.touched else ""),
            f"{len(self.changed)} changed, {len(self.new)} new: {self.encodes} to encode"
            + (f", of {megabytes(self.bytes_in)}" if self.bytes_in else ""),
            f"{len(self.gone)} gone: {gone}",
        ]
        if self.unreadable:
            parts.append(f"{self.unreadable} could not be read before, and have not changed")
        some = self.copied
        if some.rewritten:
            parts.append(f"{counted(some.rewritten, 'shard')} to copy in part, of {megabytes(some.rewritten_bytes)}")
        if some.joined:
            parts.append(f"{some.joined} small shards to join into {some.into}, of {megabytes(some.joined_bytes)}")
        return "; ".join(parts) + (f"; all are encoded again: {self.again}" if self.again else "")


def lies_in(key: str, folders: Collection[str]) -> bool:
    """Whether what has this key lies in one of these folders, such as those that cannot be listed."""
    parts = key.split("/") if folders else []
    return any("/".join(parts[:i]) in folders for i in range(1, len(parts)))
