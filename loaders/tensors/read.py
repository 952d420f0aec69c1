"""Reading a store with versions: where the parts of its samples lie, its keys and its other fields."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.columns import Column
from latentstore.loaders.faults.changed import still_there
from latentstore.loaders.manifest import read_json
from latentstore.loaders.reader import BlockReader, by_block
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.manifest import TensorMeta
from latentstore.loaders.zarr.index import ShardIndex, Strings


class VersionReader(BlockReader):
    """Reads some of the fields that have blobs, of one version of a store; it has all the others.

    meta: its manifest. names: the fields whose blobs are read. channels: of latents, how many of the first are read;
    None for all. columns: of each field the positions of its blobs among those of a sample, which are the "groups" of
    `BlockReader`.
    """

    def __init__(self, location: Location, meta: TensorMeta, names: Sequence[str], channels: int | None = None) -> None:
        self.location, self.meta, self.names, self.channels = location, meta, list(names), channels
        self.starts = meta.starts
        self.columns: dict[str, range] = {}
        self._picked: list[int] = []
        for name in self.names:
            parts, field = meta.parts_of(name), meta.latents.get(name)
            parts = parts if field is None else parts[: field.groups_of(channels)]
            self.columns[name] = range(len(self._picked), len(self._picked) + len(parts))
            self._picked += parts
        # of the fields of latents, opened or not
        self._own_columns = {k: v for name, field in meta.latents.items() for k, v in field.columns(name).items()}
        self._beside = [name for name, field in meta.latents.items() if not field.is_alone]
        self._known: dict[int, _Known] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "meta": self.meta, "names": self.names, "channels": self.channels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def groups(self) -> int:
        """How many blobs of a sample are read."""
        return len(self._picked)

    @property
    def digest(self) -> str:
        """See `BlockReader.digest`."""
        return self.meta.digest

    @property
    def cached_as(self) -> str:
        """See `BlockReader.cached_as`. No two shards of one name differ, so what did not change is not fetched again
        after a sync."""
        coders = " ".join(sorted(self.meta.coders.values()))
        return hashlib.sha256(f"versions {coders}".encode()).hexdigest()[:32]

    def digest_now(self) -> str:
        """See `BlockReader.digest_now`."""
        return read_manifest(self.location.origin).digest

    # ---- shards

    def _shards(self, blocks: Sequence[int]) -> list[_Known]:
        """What is known of shards; the tails of those that are new are read together."""
        absent = [block for block in blocks if block not in self._known]
        if absent:
            shards = [self.meta.shards[block] for block in absent]
            # counted from the end, as what the cache keeps
            with still_there(self):
                tails = self.location.read_ranges([(layout.shard_name(s.name), -s.tail, None) for s in shards])
            fresh = {block: self._read(block, tail) for block, tail in zip(absent, tails, strict=True)}
            with self._lock:
                self._known = {**self._known, **fresh}
        known = self._known
        return [known[block] for block in blocks]

    def _read(self, block: int, data: bytes) -> _Known:
        shard = self.meta.shards[block]
        name = layout.shard_name(shard.name)
        where = self.location.at(name)
        try:
            tail = layout.decode_tail(data, self.meta.parts, where)
            if tail.count != shard.count or tuple(tail.lengths.sum(axis=0).tolist()) != shard.fields:
                raise CorruptError(f"{where}: its index is not the one that the manifest was made with")
            kinds = {**self.meta.kinds, **self._own_columns, "key": "str"}
            for column, kind in kinds.items():
                if column not in tail.columns or tail.columns[column].kind != kind:
                    raise CorruptError(f"{where}: it lacks the field {column!r} of kind {kind}")
            for field in self._beside:
                sizes, sums = tail.shapes.get(field), tail.moments.get(field)
                channels = self.meta.latents[field].about["channels"]
                if sizes is None or sizes.shape[1] != 2 or sums is None or sums.shape[1] != channels:
                    raise CorruptError(f"{where}: it lacks the sizes or the sums of the latents {field!r}")
        except CorruptError:
            self.location.forget(name)
            raise
        return _Known(tail, shard.fields, self._picked)

    def locate(self, indices: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """See `BlockReader.locate`."""
        start, length = np.empty((len(indices), groups), np.int64), np.empty((len(indices), groups), np.int64)
        runs = by_block(self.blocks(indices))
        for (block, here), known in zip(runs, self._shards([block for block, _ in runs]), strict=True):
            if known.index is not None:
                start[here], length[here] = known.index.locate(indices[here] - self.starts[block], groups)
        return start, length

    def object_name(self, number: int) -> str:
        """See `BlockReader.object_name`."""
        return layout.shard_name(self.meta.shards[number].name)

    def block_ranges(self, block: int, groups: int) -> list[list[tuple[str, int, int]]]:
        """See `BlockReader.block_ranges`: fields that lie side by side are one range."""
        return self.ranges_of(block, range(groups))

    def block_bases(self, block: int, groups: int) -> list[tuple[int, int]]:
        """See `BlockReader.block_bases`."""
        return self.bases_of(block, range(groups))

    def ranges_of(self, block: int, groups: range) -> list[list[tuple[str, int, int]]]:
        """`block_ranges` of some of the groups."""
        name = self.object_name(block)
        return [[(name, begin, end)] for begin, end, _ in self._runs(block, groups)]

    def bases_of(self, block: int, groups: range) -> list[tuple[int, int]]:
        """`block_bases` of some of the groups."""
        found = [(0, 0)] * len(groups)
        for buffer, (begin, _, members) in enumerate(self._runs(block, groups)):
            for group in members:
                found[groups.index(group)] = buffer, begin
        return found

    def _runs(self, block: int, groups: range) -> list[tuple[int, int, list[int]]]:
        """(begin, end, groups) of the ranges of a shard that hold the groups."""
        ends = np.cumsum(self.meta.shards[block].fields).tolist()
        order = sorted(groups, key=lambda group: self._picked[group])
        runs: list[tuple[int, int, list[int]]] = []
        for group in order:
            field = self._picked[group]
            begin, end = (ends[field - 1] if field else 0), ends[field]
            if runs and runs[-1][1] == begin:
                runs[-1] = (runs[-1][0], end, [*runs[-1][2], group])
            else:
                runs.append((begin, end, [group]))
        return runs

    # ---- keys, fields, shapes

    def keys(self, indices: np.ndarray) -> list[str]:
        """See `BlockReader.keys`."""
        return list(self.column("key", indices))

    def sources(self, indices: np.ndarray) -> list[str]:
        """What each sample was made of: see `layout.SOURCE`."""
        return list(self.column(layout.SOURCE, indices))

    def fields(self, indices: np.ndarray) -> dict[str, Any]:
        """See `BlockReader.fields`: those that have no blobs."""
        return {name: self.column(name, indices) for name in self.meta.kinds}

    def column(self, name: str, indices: np.ndarray) -> Any:
        """The values of a column of the shards: an array of numbers, or a list of str or bytes."""
        runs = by_block(self.blocks(indices))
        parts = [
            known.take(name, indices[here] - self.starts[block])
            for (block, here), known in zip(runs, self._shards([block for block, _ in runs]), strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            kind = {**self.meta.kinds, **self._own_columns}.get(name, "str")
            return np.zeros(0, np.int64 if kind == "int" else np.float64) if kind in ("int", "float") else []
        back = np.argsort(np.concatenate([here for _, here in runs]))
        if isinstance(parts[0], np.ndarray):
            return np.concatenate(parts)[back]
        flat = [value for part in parts for value in part]
        return [flat[i] for i in back.tolist()]

    def shapes(self, name: str) -> list[np.ndarray | None]:
        """Of each shard the shapes of a field: see `Tail.shapes`. All tails are read."""
        return [known.shapes[name] for known in self._shards(range(len(self.meta.shards)))]

    def shapes_of(self, block: int) -> Mapping[str, np.ndarray | None]:
        """Of one shard the shapes by field: see `Tail.shapes`."""
        return self._shards([block])[0].shapes

    def sizes_of(self, name: str, indices: np.ndarray) -> np.ndarray:
        """int64 (n, 2): the sizes of what latents beside other fields are of: see `Reader.sizes`."""
        found = np.empty((len(indices), 2), np.int64)
        runs = by_block(self.blocks(indices))
        for (block, here), known in zip(runs, self._shards([block for block, _ in runs]), strict=True):
            sizes = known.shapes[name]
            assert sizes is not None  # `_read` has looked
            found[here] = sizes if len(sizes) == 1 else sizes[indices[here] - self.starts[block]]
        return found

    def moments_of(self, block: int) -> Mapping[str, np.ndarray]:
        """Of one shard the sums over its latents by field: see `Tail.moments`."""
        return self._shards([block])[0].moments


class _Known:
    """What is kept of a shard, in little memory."""

    def __init__(self, tail: layout.Tail, sizes: Sequence[int], picked: Sequence[int]) -> None:
        begins = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
        ends = np.cumsum(tail.lengths, axis=0)
        start = ends - tail.lengths + begins
        self.index = ShardIndex(start[:, picked], tail.lengths[:, picked]) if picked else None
        self.shapes, self.moments = tail.shapes, tail.moments
        self._columns: dict[str, Column | Strings] = {
            name: Strings.joined(column.data.tobytes(), column.offsets)
            if column.kind == "str" and column.offsets is not None
            else column
            for name, column in tail.columns.items()
        }

    def take(self, name: str, rows: np.ndarray) -> Any:
        """Values of a column."""
        return self._columns[name].take(rows)


def read_manifest(location: Location) -> TensorMeta:
    """The manifest of the newest version of the store at `location`."""
    return TensorMeta.of(read_json(location, layout.MANIFEST), location.at(layout.MANIFEST))


def known_sources(location: Location, meta: TensorMeta) -> dict[str, str]:
    """By key what each sample of a version was made of: see `layout.SOURCE`."""
    reader, every = VersionReader(location, meta, []), np.arange(meta.count)
    return dict(zip(reader.keys(every), reader.sources(every), strict=True))


def read_coder(location: Location, sha256: str) -> bytes:
    """The bytes of a coder, as its SHA-256 says; CorruptError if they are others."""
    name = layout.coder_name(sha256)
    data = location.read(name)
    if hashlib.sha256(data).hexdigest() != sha256:
        location.forget(name)
        raise CorruptError(f"{location.at(name)}: damaged (its SHA-256 is another one); copy the store again")
    return data
