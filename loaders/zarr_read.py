"""Reading a Zarr store: its arrays and where its blobs lie. The layout is in `loaders.zarr_layout`.

Reads objects and ranges by itself, without zarr: a worker starts in no time, and a batch is a few large reads
instead of a request per sample.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from latentstore.codecs.errors import CorruptError, StoreError
from latentstore.loaders import zarr_layout as layout
from latentstore.loaders.reader import Reader, StoreMeta, by_block
from latentstore.loaders.remote import Location, MissingError


@dataclass(frozen=True)
class ArrayInfo:
    """What an array's ``zarr.json`` says. rows: length of a chunk along the first axis. dtype: None for
    strings."""

    shape: tuple[int, ...]
    rows: int
    dtype: np.dtype | None

    @classmethod
    def of(cls, metadata: dict[str, Any], where: str) -> ArrayInfo:
        """CorruptError naming `where` if it is not an array that `loaders.zarr_layout` writes."""
        try:
            kind = metadata["data_type"]
            dtype = None if kind == "string" else np.dtype(kind).newbyteorder("<")
            shape = tuple(int(n) for n in metadata["shape"])
            rows = int(metadata["chunk_grid"]["configuration"]["chunk_shape"][0])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CorruptError(f"{where}: not the metadata of an array ({error!r})") from error
        if not shape or min(shape) < 0 or rows < 1:
            raise CorruptError(f"{where}: an array of shape {shape} in chunks of {rows} rows")
        return cls(shape, rows, dtype)


class ZarrArrays:
    """The ordinary arrays of a store: read a chunk at a time, checked by its CRC-32C, kept."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._infos: dict[str, ArrayInfo] = {}
        self._whole: dict[str, np.ndarray] = {}
        self._text: dict[tuple[str, int], list[str]] = {}

    def info(self, name: str) -> ArrayInfo:
        """The array's metadata."""
        if name not in self._infos:
            file = f"{name}/zarr.json"
            self._infos[name] = ArrayInfo.of(read_json(self.location, file), self.location.at(file))
        return self._infos[name]

    def numbers(self, name: str) -> np.ndarray:
        """A whole array of numbers."""
        if name not in self._whole:
            info = self.info(name)
            blocks = [self._block(name, info, i) for i in range(-(-info.shape[0] // info.rows))]
            whole = np.concatenate(blocks) if len(blocks) > 1 else blocks[0] if blocks else np.zeros(0)
            self._whole[name] = whole[: info.shape[0]]
        return self._whole[name]

    def text(self, name: str, indices: np.ndarray) -> list[str]:
        """Rows of an array of strings."""
        chunk, row = np.divmod(indices, self.info(name).rows)
        blocks = {c: self._strings(name, c) for c in np.unique(chunk).tolist()}
        return [blocks[c][r] for c, r in zip(chunk.tolist(), row.tolist(), strict=True)]

    def _block(self, name: str, info: ArrayInfo, number: int) -> np.ndarray:
        data, where = self._read(name, number, len(info.shape))
        shape = (info.rows, *info.shape[1:])
        if info.dtype is None or len(data) != int(np.prod(shape, dtype=object)) * info.dtype.itemsize:
            raise CorruptError(f"{where}: not a chunk of shape {shape} and type {info.dtype}")
        return np.frombuffer(data, info.dtype).reshape(shape)

    def _strings(self, name: str, number: int) -> list[str]:
        found = self._text.get((name, number))
        if found is None:
            data, where = self._read(name, number, 1)
            found = layout.decode_text(data, where)
            if len(found) != self.info(name).rows:
                raise CorruptError(f"{where}: {len(found)} strings, {self.info(name).rows} expected")
            self._text[name, number] = found
        return found

    def _read(self, name: str, number: int, rank: int) -> tuple[bytes, str]:
        chunk = f"{name}/c/{number}" + "/0" * (rank - 1)
        where = self.location.at(chunk)
        return layout.check_crc(self.location.read(chunk), where), where


class ZarrReader(Reader):
    """What the Zarr stores of one and of many sizes have in common."""

    def __init__(self, location: Location, meta: StoreMeta) -> None:
        self.location = location
        self.meta = meta
        self.arrays = ZarrArrays(location)

    def artifact(self) -> bytes:
        """See `Reader.artifact`."""
        return self.arrays.numbers("artifact").tobytes()

    def lengths(self) -> dict[str, int]:
        """How many values each array with one value per sample says it has, by name."""
        fields = self.meta.attributes["fields"].values()
        names = ["key", *(field["array"] for field in fields if field["kind"] != "bytes")]
        lengths = {name: self.arrays.info(name).shape[0] for name in names}
        offsets = [f"{field['array']}_offset" for field in fields if field["kind"] == "bytes"]
        return {**lengths, **{name: self.arrays.info(name).shape[0] - 1 for name in offsets}}

    def keys(self, indices: np.ndarray) -> list[str]:
        """See `Reader.keys`."""
        return self.arrays.text("key", indices)

    def fields(self, indices: np.ndarray) -> dict[str, Any]:
        """See `Reader.fields`."""
        values: dict[str, Any] = {}
        for name, field in self.meta.attributes["fields"].items():
            array = field["array"]
            if field["kind"] == "str":
                values[name] = self.arrays.text(array, indices)
            elif field["kind"] == "bytes":
                offset = self.arrays.numbers(f"{array}_offset")
                data = self.arrays.numbers(array)
                bounds = zip(offset[indices].tolist(), offset[indices + 1].tolist(), strict=True)
                values[name] = [data[a:b].tobytes() for a, b in bounds]
            else:
                values[name] = self.arrays.numbers(array)[indices]
        return values


class FixedReader(ZarrReader):
    """Pictures of one size: array ``latent``, one sharding object per block."""

    def __init__(self, location: Location, meta: StoreMeta) -> None:
        super().__init__(location, meta)
        rows = meta.shard_samples
        self.starts = np.minimum(np.arange(-(-meta.count // rows) + 1, dtype=np.int64) * rows, meta.count)
        self._tables: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["location"], state["meta"])  # type: ignore[misc]

    def index(self, blocks: list[int]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """(start, length), int64 (samples, groups), of whole blocks; read once each, remote ones together."""
        absent = [b for b in blocks if b not in self._tables]
        if absent:
            size = layout.index_bytes(self.meta.shard_samples, self.meta.groups)
            names = [layout.shard_name(b) for b in absent]
            tails = self._tails(absent, [(name, -size, None) for name in names])
            for block, name, tail in zip(absent, names, tails, strict=True):
                self._tables[block] = self._table(block, tail, name)
        return {b: self._tables[b] for b in blocks}

    def _tails(self, absent: list[int], ranges: list[tuple[str, int, int | None]]) -> list[bytes]:
        try:
            return self.location.read_ranges(ranges)
        except MissingError:
            for block, item in zip(absent, ranges, strict=True):
                try:
                    self.location.read_ranges([item])
                except MissingError as error:
                    first, last = int(self.starts[block]), int(self.starts[block + 1]) - 1
                    span = f"samples {first} ({self._key(first)!r}) to {last} ({self._key(last)!r})"
                    raise MissingError(f"{error}: shard {block}, {span}") from error
            raise

    def _table(self, block: int, tail: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
        where = self.location.at(name)
        first = int(self.starts[block])
        try:
            start, length = layout.decode_index(tail, self.meta.shard_samples, self.meta.groups, where)
        except CorruptError as error:
            raise CorruptError(f"{error} (shard {block}, from key {self._key(first)!r})") from error
        count = int(self.starts[block + 1]) - first
        empty = np.flatnonzero((length[:count] == 0).any(axis=1))
        if len(empty):
            raise CorruptError(
                f"{where}: shard {block} lacks a chunk of {self._key(first + int(empty[0]))!r}"
            )
        return start[:count], length[:count]

    def _key(self, index: int) -> str:
        """The key for a message; "?" if the keys are damaged too."""
        try:
            return self.keys(np.array([index]))[0]
        except (StoreError, CorruptError):
            return "?"

    def locate(self, indices: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Reader.locate`."""
        start, length = np.empty((len(indices), groups), np.int64), np.empty((len(indices), groups), np.int64)
        runs = by_block(self.blocks(indices))
        tables = self.index([block for block, _ in runs])
        for block, here in runs:
            rows = indices[here] - self.starts[block]
            table_start, table_length = tables[block]
            start[here] = table_start[rows, :groups]
            length[here] = table_length[rows, :groups]
        return start, length

    def objects(
        self, indices: np.ndarray, start: np.ndarray, length: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Reader.objects`."""
        blocks = np.broadcast_to(self.blocks(indices)[:, None], start.shape)
        return blocks, start, np.ones(start.shape, bool)

    def object_name(self, number: int) -> str:
        """See `Reader.object_name`."""
        return layout.shard_name(number)

    def _extent(self, block: int, groups: int) -> tuple[int, int]:
        start, length = self.index([block])[block]
        return int(start[:, :groups].min()), int((start + length)[:, :groups].max())

    def block_ranges(self, block: int, groups: int) -> list[list[tuple[str, int, int]]]:
        """See `Reader.block_ranges`: one range, since groups lie one after the other."""
        begin, end = self._extent(block, groups)
        return [[(layout.shard_name(block), begin, end)]]

    def block_bases(self, block: int, groups: int) -> list[tuple[int, int]]:
        """See `Reader.block_bases`."""
        return [(0, self._extent(block, groups)[0])] * groups

    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """See `Reader.sizes`."""
        assert self.meta.size is not None
        return np.broadcast_to(np.array(self.meta.size, np.int64), (len(indices), 2))


class NativeReader(ZarrReader):
    """Pictures of many sizes: ``blob_gK`` and ``offset``."""

    def __init__(self, location: Location, meta: StoreMeta) -> None:
        super().__init__(location, meta)
        rows = meta.shard_samples
        self.starts = np.minimum(np.arange(-(-meta.count // rows) + 1, dtype=np.int64) * rows, meta.count)
        self._offset: np.ndarray | None = None
        self._chunk: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["location"], state["meta"])  # type: ignore[misc]

    @property
    def offset(self) -> np.ndarray:
        """int64 (count + 1, groups)."""
        if self._offset is None:
            offset = self.arrays.numbers("offset")
            good = offset.shape == (self.meta.count + 1, self.meta.groups) and bool(
                (np.diff(offset, axis=0) > 0).all()
            )
            if not good:
                raise CorruptError(
                    f"{self.location.at('offset')}: not the offsets of {self.meta.count} samples"
                )
            self._offset = offset
        return self._offset

    @property
    def chunk(self) -> np.ndarray:
        """int64 (groups,): bytes per chunk of each flat array."""
        if self._chunk is None:
            names = [layout.blob_name(g) for g in range(self.meta.groups)]
            self._chunk = np.array([self.arrays.info(name).rows for name in names], np.int64)
        return self._chunk

    def locate(self, indices: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Reader.locate`."""
        start = self.offset[indices, :groups]
        return start, self.offset[indices + 1, :groups] - start

    def objects(
        self, indices: np.ndarray, start: np.ndarray, length: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Reader.objects`: object number = group << 32 | chunk."""
        groups = start.shape[1]
        chunk, offset = np.divmod(start, self.chunk[:groups])
        whole = offset + length <= self.chunk[:groups]
        return (np.arange(groups, dtype=np.int64) << 32) | chunk, offset, whole

    def object_name(self, number: int) -> str:
        """See `Reader.object_name`."""
        return f"{layout.blob_name(number >> 32)}/c/{number & 0xFFFFFFFF}"

    def block_ranges(self, block: int, groups: int) -> list[list[tuple[str, int, int]]]:
        """See `Reader.block_ranges`: one buffer per group, of one range, or more where it crosses chunks."""
        first, last = self.starts[block], self.starts[block + 1]
        buffers = []
        for g in range(groups):
            begin, end, size = int(self.offset[first, g]), int(self.offset[last, g]), int(self.chunk[g])
            pieces = []
            for c in range(begin // size, (end - 1) // size + 1):
                name = self.object_name(g << 32 | c)
                pieces.append((name, max(0, begin - c * size), min(size, end - c * size)))
            buffers.append(pieces)
        return buffers

    def block_bases(self, block: int, groups: int) -> list[tuple[int, int]]:
        """See `Reader.block_bases`."""
        return [(g, int(self.offset[self.starts[block], g])) for g in range(groups)]

    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """See `Reader.sizes`."""
        both = [self.arrays.numbers("height")[indices], self.arrays.numbers("width")[indices]]
        return np.stack(both, axis=1).astype(np.int64)


def open_zarr(location: Location) -> ZarrReader:
    """The reader of a Zarr store; StoreError if there is none, or none yet."""
    root = read_json(location, layout.ROOT)
    attributes = root.get("attributes", {}).get("latentstore")
    where = location.at(layout.ROOT)
    if not isinstance(attributes, dict):
        raise StoreError(f"{where}: a Zarr group, but not a latentstore store (no attribute 'latentstore')")
    meta = StoreMeta.of(attributes, where)
    return FixedReader(location, meta) if meta.size else NativeReader(location, meta)


def read_json(location: Location, name: str) -> dict[str, Any]:
    """A JSON object; CorruptError naming the file if it is not one."""
    try:
        value = json.loads(location.read(name))
    except ValueError as error:
        raise CorruptError(f"{location.at(name)}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise CorruptError(f"{location.at(name)}: not a JSON object")
    return value
