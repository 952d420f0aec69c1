"""The ordinary arrays of a Zarr store, numbers and strings, read without the package zarr.

The layout is in `loaders.zarr.layout`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.manifest import read_json
from latentstore.loaders.remote.location import Location
from latentstore.loaders.zarr import layout


@dataclass(frozen=True)
class ArrayInfo:
    """What an array's ``zarr.json`` says. rows: length of a chunk along the first axis. dtype: None for strings."""

    shape: tuple[int, ...]
    rows: int
    dtype: np.dtype | None

    @classmethod
    def of(cls, metadata: dict[str, Any], where: str) -> ArrayInfo:
        """CorruptError naming `where` if it is not an array as `loaders.zarr.layout` describes them."""
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
