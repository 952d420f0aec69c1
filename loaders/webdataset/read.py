"""Reading a WebDataset store by its index files. The layout is in `loaders.webdataset.layout`."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import CorruptError, StoreError
from latentstore.loaders.columns import Column
from latentstore.loaders.manifest import ARTIFACT, StoreMeta, read_json
from latentstore.loaders.reader import Reader, by_block
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.webdataset import layout


class WdsReader(Reader):
    """One block per tar. An index file is read when a sample of its tar is first asked for."""

    def __init__(self, location: Location, meta: StoreMeta) -> None:
        self.location = location
        self.meta = meta
        where = location.at(layout.MANIFEST)
        try:
            shards = meta.attributes["shards"]
            self.tars = [str(s["name"]) for s in shards]
            self.tar_bytes = [int(s["bytes"]) for s in shards]
            self.tar_crc32c = [int(s["crc32c"]) for s in shards]
            self._index_crc32c = [int(s["index_crc32c"]) for s in shards]
            counts = [int(s["count"]) for s in shards]
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"{where}: its list of tars is damaged ({error!r})") from error
        if any("/" in tar or not tar.endswith(".tar") for tar in self.tars):
            raise CorruptError(f"{where}: lists tars that are not files beside it")
        if min(counts, default=0) < 1 or sum(counts) != meta.count:
            raise CorruptError(f"{where}: its tars hold {sum(counts)} samples, and it says {meta.count}")
        self.starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
        self._tables: dict[int, layout.TarIndex] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["location"], state["meta"])  # type: ignore[misc]

    def artifact(self) -> bytes:
        """See `Reader.artifact`."""
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

    def objects(
        self, indices: np.ndarray, start: np.ndarray, length: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Reader.objects`."""
        blocks = np.broadcast_to(self.blocks(indices)[:, None], start.shape)
        return blocks, start, np.ones(start.shape, bool)

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
                values = self._of(table, block, name).take(rows)
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

    def _of(self, table: layout.TarIndex, block: int, name: str) -> Column:
        if name not in table.columns:
            raise self._lacks(block, name)
        return table.columns[name]

    def _lacks(self, block: int, name: str) -> CorruptError:
        index = layout.index_name(self.tars[block])
        return CorruptError(f"{self.location.at(index)}: has no field {name!r}, though the store says so")


def open_wds(location: Location) -> WdsReader:
    """The reader of a WebDataset store."""
    manifest = read_json(location, layout.MANIFEST)
    return WdsReader(location, StoreMeta.of(manifest, location.at(layout.MANIFEST)))
