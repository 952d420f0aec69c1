"""Reading a WebDataset store by its index files. The layout is in `loaders.webdataset.layout`."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.artifact.container import MAX_BYTES
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import CorruptError, StoreError
from latentstore.loaders.columns import Column
from latentstore.loaders.manifest import ARTIFACT, FEW_SAMPLES, MOST, StoreMeta, is_file_name, read_json
from latentstore.loaders.reader import Reader, by_block
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.webdataset import layout

LEAST_BYTES = 1024
"""A sample takes so many bytes of a tar, or more: a header and a blob."""


class WdsReader(Reader):
    """One block per tar. An index file is read when a sample of its tar is first asked for."""

    def __init__(self, location: Location, meta: StoreMeta) -> None:
        self.location = location
        self.meta = meta
        where = location.at(layout.MANIFEST)
        shards = meta.attributes.get("shards")
        if not isinstance(shards, list) or not all(isinstance(shard, dict) for shard in shards):
            raise CorruptError(f"{where}: its list of tars is damaged (shards is {short(shards)})")
        for number, shard in enumerate(shards):
            for key in ("bytes", "crc32c", "index_crc32c", "count"):
                if not whole(shard.get(key), 0, MOST):
                    raise CorruptError(
                        f"{where}: its list of tars is damaged ({key!r} of tar {number} is {short(shard.get(key))}, "
                        "expected a whole number)"
                    )
            if not is_file_name(shard.get("name")) or not shard["name"].endswith(".tar"):
                raise CorruptError(f"{where}: lists tars that are not files beside it: {short(shard.get('name'))}")
            if shard["count"] * LEAST_BYTES > shard["bytes"]:
                raise CorruptError(
                    f"{where}: tar {shard['name']!r} is said to hold {shard['count']} samples in {shard['bytes']} bytes"
                )
        self.tars = [str(shard["name"]) for shard in shards]
        self.tar_bytes, self.tar_crc32c, self._index_crc32c, counts = (
            [int(shard[key]) for shard in shards] for key in ("bytes", "crc32c", "index_crc32c", "count")
        )
        if min(counts, default=0) < 1 or sum(counts) != meta.count:
            raise CorruptError(f"{where}: its tars hold {sum(counts)} samples, and it says {meta.count}")
        self.starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
        self._tables: dict[int, layout.TarIndex] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["location"], state["meta"])  # type: ignore[misc]

    def manifest_now(self) -> StoreMeta:
        """See `Reader.manifest_now`."""
        return _manifest(self.location.origin)

    def artifact(self) -> bytes:
        """See `Reader.artifact`."""
        size = self.location.size(ARTIFACT)
        if size > MAX_BYTES:
            raise CorruptError(f"{self.location.at(ARTIFACT)}: {size} bytes, and an artifact has at most {MAX_BYTES}")
        return self.location.read(ARTIFACT)

    def index(self, blocks: list[int]) -> dict[int, layout.TarIndex]:
        """The indexes of some tars. Each is read once; remote ones together."""
        absent = [b for b in blocks if b not in self._tables]
        if absent:
            names = [layout.index_name(self.tars[b]) for b in absent]
            for block, name, data in zip(
                absent, names, self.location.read_ranges([(n, 0, None) for n in names]), strict=True
            ):
                self._tables[block] = self._table(block, name, data)
        return {b: self._tables[b] for b in blocks}

    def _table(self, block: int, name: str, data: bytes) -> layout.TarIndex:
        count, tar = int(self.starts[block + 1] - self.starts[block]), self.tars[block]
        if crc32c(data) != self._index_crc32c[block]:
            self.location.forget(name)
            raise CorruptError(f"{self.location.at(name)}: damaged, or the index of another tar than {tar}")
        table = layout.decode_index(data, count, self.meta.groups, self.location.at(name))
        if table.tar_bytes != self.tar_bytes[block]:
            raise CorruptError(
                f"{self.location.at(name)}: the index of a tar of {table.tar_bytes} bytes, "
                f"but {tar} has {self.tar_bytes[block]}"
            )
        # On object stores a request per tar would be spent on this; there a short tar shows when it is read.
        if self.location.local is not None:
            span = f"samples {table.columns['key'].values()[0]!r} and on"
            try:
                size = self.location.size(tar)
            except MissingError as error:
                raise MissingError(f"{error}: shard {block}, {span}") from error
            if size != table.tar_bytes:
                raise StoreError(
                    f"{self.location.at(tar)} is cut short or was changed: {size} bytes, "
                    f"its index says {table.tar_bytes} (shard {block}, {span})"
                )
        return table

    def locate(self, indices: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Reader.locate`."""
        start, length = np.empty((len(indices), groups), np.int64), np.empty((len(indices), groups), np.int64)
        runs = by_block(self.blocks(indices))
        tables = self.index([block for block, _ in runs])
        for block, here in runs:
            rows, table = indices[here] - self.starts[block], tables[block]
            bounds = table.bounds[rows, : groups + 1]
            start[here] = table.start[rows, None] + bounds[:, :-1]
            length[here] = bounds[:, 1:] - bounds[:, :-1]
        return start, length

    def object_name(self, number: int) -> str:
        """See `Reader.object_name`."""
        return self.tars[number]

    def _extent(self, block: int, groups: int) -> tuple[int, int]:
        table = self.index([block])[block]
        return int((table.start + table.bounds[:, 0]).min()), int((table.start + table.bounds[:, groups]).max())

    def block_ranges(self, block: int, groups: int) -> list[list[tuple[str, int, int]]]:
        """See `Reader.block_ranges`: one range. A sample's groups lie together in a tar, so all of them are read."""
        begin, end = self._extent(block, groups)
        return [[(self.tars[block], begin, end)]]

    def block_bases(self, block: int, groups: int) -> list[tuple[int, int]]:
        """See `Reader.block_bases`."""
        return [(0, self._extent(block, groups)[0])] * groups

    def keys(self, indices: np.ndarray) -> list[str]:
        """See `Reader.keys`."""
        return self._column("key", "str", indices)

    def fields(self, indices: np.ndarray) -> dict[str, Any]:
        """See `Reader.fields`."""
        return {name: self._column(name, kind, indices) for name, kind in self.meta.kinds.items()}

    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """See `Reader.sizes`."""
        sizes = np.empty((len(indices), 2), np.int64)
        for block, here in by_block(self.blocks(indices)):
            rows, table = indices[here] - self.starts[block], self.index([block])[block]
            sizes[here, 0], sizes[here, 1] = table.height[rows], table.width[rows]
        return sizes

    def _column(self, name: str, kind: str, indices: np.ndarray) -> Any:
        numbers = kind in ("int", "float")
        out: Any = (
            np.empty(len(indices), np.int64 if kind == "int" else np.float64) if numbers else [None] * len(indices)
        )
        for block, here in by_block(self.blocks(indices)):
            rows, table = indices[here] - self.starts[block], self.index([block])[block]
            if kind == "bytes":
                values: Any = self._bytes(block, table, name, rows)
            else:
                values = self._of(table, block, name, kind).take(rows)
            if numbers:
                out[here] = values
            else:
                for at, value in zip(here.tolist(), values, strict=True):
                    out[at] = value
        return out

    def _bytes(self, block: int, table: layout.TarIndex, name: str, rows: np.ndarray) -> list[bytes]:
        if name not in table.at:
            raise self._lacks(block, name)
        pairs = table.at[name][rows].tolist()
        return self.location.read_ranges([(self.tars[block], a, a + n) for a, n in pairs])

    def _of(self, table: layout.TarIndex, block: int, name: str, kind: str) -> Column:
        column = table.columns.get(name)
        if column is None or column.kind != kind:
            raise self._lacks(block, name)
        return column

    def _lacks(self, block: int, name: str) -> CorruptError:
        index = layout.index_name(self.tars[block])
        return CorruptError(f"{self.location.at(index)}: has no field {name!r} of the kind that the manifest says")


def open_wds(location: Location) -> WdsReader:
    """The reader of a WebDataset store."""
    reader = WdsReader(location, _manifest(location))
    if reader.meta.count > FEW_SAMPLES:
        largest = int(np.argmax(reader.tar_bytes))
        size = location.size(reader.tars[largest])
        if size != reader.tar_bytes[largest]:
            raise CorruptError(
                f"{location.at(layout.MANIFEST)}: tar {reader.tars[largest]!r} is said to have "
                f"{reader.tar_bytes[largest]} bytes, and it has {size}"
            )
    return reader


def _manifest(location: Location) -> StoreMeta:
    return StoreMeta.of(read_json(location, layout.MANIFEST), location.at(layout.MANIFEST))
