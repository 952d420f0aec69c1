"""Reading a Zarr store: its arrays, and where its blobs lie. The layout is in `loaders.zarr.layout`.

Objects and ranges are read without the package zarr. So a worker starts at once, and a batch takes a few large reads
instead of one request per sample.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.artifact.container import MAX_BYTES
from latentstore.codecs.errors import CorruptError, StoreError
from latentstore.loaders.manifest import FEW_SAMPLES, StoreMeta, parse_json
from latentstore.loaders.reader import Reader, by_block
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.zarr import layout
from latentstore.loaders.zarr.arrays import ZarrArrays
from latentstore.loaders.zarr.index import ShardIndex

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

MOST_BLOB_BYTES = 1 << 30
"""No group blob has so many."""


class ZarrReader(Reader):
    """What the Zarr stores of one and of many sizes have in common."""

    def __init__(self, location: Location, meta: StoreMeta) -> None:
        self.location = location
        self.meta = meta
        self.arrays = ZarrArrays(location)
        rows = meta.shard_samples
        self.starts = np.minimum(np.arange(-(-meta.count // rows) + 1, dtype=np.int64) * rows, meta.count)
        for name, field in meta.fields.items():
            if "array" not in field:
                raise CorruptError(f"{location.at(layout.ROOT)}: the manifest names no array for the field {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["location"], state["meta"])  # type: ignore[misc]

    def manifest_now(self) -> StoreMeta:
        """See `Reader.manifest_now`."""
        origin = self.location.origin
        return _manifest(origin, origin.read(layout.ROOT))

    def artifact(self) -> bytes:
        """See `Reader.artifact`."""
        size = self.arrays.expect("artifact", (None,)).shape[0]
        if size > MAX_BYTES:
            raise CorruptError(
                f"{self.location.at('artifact')}/zarr.json: {size} bytes, and an artifact has at most {MAX_BYTES}"
            )
        return self.arrays.numbers("artifact").tobytes()

    def expected_metadata(self, codec: Codec) -> dict[str, bytes]:
        """What each array's ``zarr.json`` has to be, by the array's name; codec: of the store.

        Plain Zarr goes by these files. This reader takes from them only what it needs.
        """
        count = self.meta.count
        found = {
            "key": layout.text_metadata(count),
            "artifact": self._as_it_says("artifact"),
            **self._own_metadata(codec),
        }
        for field in self.meta.fields.values():
            name = field["array"]
            if field["kind"] == "str":
                found[name] = layout.text_metadata(count)
            elif field["kind"] == "bytes":
                found[name] = self._as_it_says(name)
                found[f"{name}_offset"] = layout.numbers_metadata((count + 1,), "int64", [layout.EDGE])
            else:
                kind = "int64" if field["kind"] == "int" else "float64"
                found[name] = layout.numbers_metadata((count,), kind, [layout.SAMPLE])
        return found

    @abstractmethod
    def _own_metadata(self, codec: Codec) -> dict[str, bytes]:
        """`expected_metadata` of the arrays that hold the latents."""

    def _as_it_says(self, name: str) -> bytes:
        return layout.numbers_metadata(self.arrays.info(name).shape, "uint8", [layout.byte_axis(name)])

    def keys(self, indices: np.ndarray) -> list[str]:
        """See `Reader.keys`."""
        return self.arrays.text("key", indices, self.meta.count)

    def fields(self, indices: np.ndarray) -> dict[str, Any]:
        """See `Reader.fields`."""
        values: dict[str, Any] = {}
        count = self.meta.count
        for name, field in self.meta.fields.items():
            array = field["array"]
            if field["kind"] == "str":
                values[name] = self.arrays.text(array, indices, count)
            elif field["kind"] == "bytes":
                offset, data = self.arrays.numbers(f"{array}_offset", (count + 1,)), self.arrays.numbers(array)
                if (offset < 0).any() or (offset > len(data)).any() or (offset[1:] < offset[:-1]).any():
                    raise CorruptError(f"{self.location.at(f'{array}_offset')}: not the offsets of {array}")
                bounds = zip(offset[indices].tolist(), offset[indices + 1].tolist(), strict=True)
                values[name] = [data[a:b].tobytes() for a, b in bounds]
            else:
                kinds = "i" if field["kind"] == "int" else "f"
                values[name] = self.arrays.rows(array, indices, count, kinds)
        return values


class FixedReader(ZarrReader):
    """Samples of one size: array ``latent``, one sharding object per block.

    tail: the index of the last block as it is stored, if it has been read.
    """

    def __init__(self, location: Location, meta: StoreMeta, tail: bytes | None = None) -> None:
        super().__init__(location, meta)
        self._tables: dict[int, ShardIndex] = {}
        self._last_tail = tail

    def index(self, blocks: list[int]) -> dict[int, ShardIndex]:
        """The indexes of whole blocks. Each is read once; remote ones together."""
        absent = [b for b in blocks if b not in self._tables]
        if absent:
            size = layout.index_bytes(self.meta.shard_samples, self.meta.groups)
            last, tail = len(self.starts) - 2, self._last_tail
            found = {} if tail is None or last not in absent else {last: tail}
            unread = [b for b in absent if b not in found]
            if unread:
                ranges: list[tuple[str, int, int | None]] = [(layout.shard_name(b), -size, None) for b in unread]
                found.update(zip(unread, self._tails(unread, ranges), strict=True))
            for block in absent:
                self._tables[block] = self._table(block, found[block], layout.shard_name(block))
            if last in absent:
                self._last_tail = None
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

    def _table(self, block: int, tail: bytes, name: str) -> ShardIndex:
        where = self.location.at(name)
        first = int(self.starts[block])
        try:
            start, length = layout.decode_index(tail, self.meta.shard_samples, self.meta.groups, where)
        except CorruptError as error:
            self.location.forget(name)
            raise CorruptError(f"{error} (shard {block}, from key {self._key(first)!r})") from error
        count = int(self.starts[block + 1]) - first
        empty = np.flatnonzero((length[:count] == 0).any(axis=1))
        if len(empty):
            raise CorruptError(f"{where}: shard {block} lacks a chunk of {self._key(first + int(empty[0]))!r}")
        return ShardIndex(start[:count], length[:count])

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
            start[here], length[here] = tables[block].locate(rows, groups)
        return start, length

    def object_name(self, number: int) -> str:
        """See `Reader.object_name`."""
        return layout.shard_name(number)

    def _extent(self, block: int, groups: int) -> tuple[int, int]:
        return self.index([block])[block].extent(groups)

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

    def _own_metadata(self, codec: Codec) -> dict[str, bytes]:
        meta = self.meta
        assert meta.size is not None
        shape = (meta.count, *codec.latent_shape(*meta.size))
        serializer = layout.latent_codec(meta.codec, meta.sha256)
        return {layout.LATENT: layout.latent_metadata(shape, meta.shard_samples, meta.group_channels, serializer)}


class NativeReader(ZarrReader):
    """Samples of many sizes: ``blob_gK`` and ``offset``."""

    def __init__(self, location: Location, meta: StoreMeta) -> None:
        super().__init__(location, meta)
        self._offset: np.ndarray | None = None
        self._chunk: np.ndarray | None = None

    @property
    def offset(self) -> np.ndarray:
        """int64 (count + 1, groups)."""
        if self._offset is None:
            offset = self.arrays.numbers("offset", (self.meta.count + 1, self.meta.groups))
            ends = [self.arrays.expect(layout.blob_name(g), (None,)).shape[0] for g in range(self.meta.groups)]
            # within bounds first, so that no difference overflows
            good = (
                not offset[0].any() and (offset[-1] == ends).all() and (offset >= 0).all() and (offset <= ends).all()
            ) and bool(((lengths := np.diff(offset, axis=0)) > 0).all() and (lengths < MOST_BLOB_BYTES).all())
            if not good:
                raise CorruptError(f"{self.location.at('offset')}: not the offsets of {self.meta.count} samples")
            self._offset = offset
        return self._offset

    @property
    def chunk(self) -> np.ndarray:
        """int64 (groups,): bytes per chunk of each flat array."""
        if self._chunk is None:
            names = [layout.blob_name(g) for g in range(self.meta.groups)]
            infos = [self.arrays.expect(name, (None,)) for name in names]
            for name, info in zip(names, infos, strict=True):
                if info.rows < min(info.shape[0], layout.FLAT_BYTES // 2):
                    raise CorruptError(
                        f"{self.location.at(name)}/zarr.json: chunks of {info.rows} bytes, where an array of "
                        f"{info.shape[0]} bytes has larger ones"
                    )
            chunk = np.array([info.rows for info in infos], np.int64)
            if (self.offset[-1] >> 32 >= chunk).any():  # `objects` leaves 32 bits for the number of a chunk
                raise CorruptError(f"{self.location.at('offset')}: it points to more chunks than a store may have")
            self._chunk = chunk
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
        both = [self.arrays.numbers(name, (self.meta.count,))[indices] for name in ("height", "width")]
        return np.stack(both, axis=1).astype(np.int64)

    def _own_metadata(self, codec: Codec) -> dict[str, bytes]:
        count, groups = self.meta.count, self.meta.groups
        found = {
            "offset": layout.numbers_metadata((count + 1, groups), "int64", [layout.EDGE, "group"]),
            "height": layout.numbers_metadata((count,), "int32", [layout.SAMPLE]),
            "width": layout.numbers_metadata((count,), "int32", [layout.SAMPLE]),
        }
        for g, size in enumerate(self.offset[-1].tolist()):
            name = layout.blob_name(g)
            found[name] = layout.flat_metadata(name, size, layout.flat_chunk_bytes(size))
        return found


def open_zarr(location: Location, root: bytes) -> ZarrReader:
    """The reader of a Zarr store; StoreError if it is a Zarr group of something else. root: its ``zarr.json``."""
    meta = _manifest(location, root)
    tail = _check_count(location, meta, location.at(layout.ROOT)) if meta.count > FEW_SAMPLES else None
    return FixedReader(location, meta, tail) if meta.size else NativeReader(location, meta)


def _manifest(location: Location, root: bytes) -> StoreMeta:
    where = location.at(layout.ROOT)
    node = parse_json(root, where)
    attributes = node.get("attributes")
    attributes = attributes.get("latentstore") if isinstance(attributes, dict) else None
    if not isinstance(attributes, dict):
        kind, opened = ("array", "open it") if node.get("node_type") == "array" else ("group", "open its arrays")
        raise StoreError(
            f"{where}: a Zarr {kind}, but not a latentstore store (no attribute 'latentstore'): {opened} by zarr, or "
            "give the path of a store"
        )
    return StoreMeta.of(attributes, where)


def _check_count(location: Location, meta: StoreMeta, where: str) -> bytes | None:
    """CorruptError unless the last object of what `meta.count` samples take is there, and as large as they need.

    Later some arrays have an entry for each sample or each shard. Returns the index of the last shard where that was
    read: of remote stores of one size, which need it anyway.
    """
    tail = None
    if meta.size is None:
        rows = ZarrArrays(location).expect("offset", (meta.count + 1, meta.groups)).rows
        name, needed = f"offset/c/{meta.count // rows}/0", rows * meta.groups * 8 + 4
    else:
        name = layout.shard_name((meta.count - 1) // meta.shard_samples)
        needed = layout.index_bytes(meta.shard_samples, meta.groups)
    said = f"{where}: count is {meta.count} in shards of {meta.shard_samples} samples"
    try:
        if meta.size is None or location.local is not None:
            size = location.size(name)
        else:
            tail = location.read_ranges([(name, -needed, None)])[0]
            size = len(tail)
    except MissingError as error:
        raise CorruptError(f"{said}, but {error}") from error
    if size < needed:
        raise CorruptError(f"{said}, but {location.at(name)} has {size} bytes, fewer than the {needed} of its index")
    return tail
