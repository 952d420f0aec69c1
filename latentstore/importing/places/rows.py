"""Arrays whose first axis counts the samples: of Zarr, and of one file.

All arrays of a Zarr group, or of a file, that have as many rows are fields. An array ``key`` or ``keys`` of text or
whole numbers names the samples; else they are numbered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import ArgumentError, SignalError, StoreError
from latentstore.conversion.quarantine import Failure
from latentstore.importing.files.npy import plain
from latentstore.importing.files.read import read_tensors, require_size
from latentstore.importing.keys import Numbered, require_count
from latentstore.importing.sample import MOST_BYTES, PART_BYTES, UNNAMED, Part, Sample, Source, Value
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.zarr_store import tried, zarr_store
from latentstore.sources.item import text_of, unique_keys

__all__ = ["list_file", "list_zarr"]

KEYS = ("key", "keys")
PART_ROWS = 4096


def list_zarr(location: Location) -> Source:
    """The rows of the arrays of a Zarr array or group. StoreError if it cannot be opened; ArgumentError if there is no
    array of samples, or it is not clear which it is."""
    import zarr

    try:
        store = zarr_store(location)
        node = tried(location, lambda: zarr.open(store, mode="r"))
        arrays: dict[str, Any] = {UNNAMED: node}
        if isinstance(node, zarr.Group):
            arrays = tried(location, lambda: dict(sorted(node.arrays())))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise StoreError(f"the source {location.url} cannot be opened as Zarr: {error}") from error
    if "latentstore" in node.attrs:
        raise ArgumentError(f"the source {location.url} is a store of latents already; `latentstore.open` reads it")
    counts = {array.shape[0] for array in arrays.values() if array.ndim > 1}
    if len(counts) != 1:
        has = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
        raise ArgumentError(
            f"the source {location.url} holds {has}: arrays of one length, whose first axis counts the samples, are "
            "expected; give the URL of the array itself"
        )
    count = require_count(counts.pop(), location.url)
    columns = {name: array for name, array in arrays.items() if array.ndim and array.shape[0] == count}
    for name, array in columns.items():
        chunk = math.prod(array.chunks) * array.dtype.itemsize
        if max(_row_bytes(array), chunk) > MOST_BYTES:
            raise ArgumentError(
                f"the source {location.at(name)}: a row of it has {_row_bytes(array)} bytes and a chunk {chunk}; at "
                f"most {MOST_BYTES} are read"
            )
    apart = len(arrays) - len(columns)
    key = next((one for one in KEYS if one in columns), None)
    keys = Numbered(count) if key is None else _keys(location, columns.pop(key))
    return _rows(location, "Zarr", columns, keys, {"array of another length": apart} if apart else {})


def list_file(location: Location, name: str) -> Source:
    """The rows of the arrays of one file; those of a ``.npy`` or ``.safetensors`` file are mapped where it is local.

    ArgumentError says why there are none.
    """
    where, extension = location.at(name), name.rpartition(".")[2].lower()
    mapped = extension in ("npy", "safetensors")
    data = memoryview(location.map(name)) if mapped else None  # type: ignore[arg-type]
    try:
        if data is None:
            require_size(location.size(name))
            data = memoryview(location.read(name))
        arrays = {n: array for n, array in read_tensors(extension, data).items() if isinstance(array, np.ndarray)}
        if not arrays or len({len(array) for array in arrays.values()}) > 1:
            has = ", ".join(f"{n} {array.shape}" for n, array in arrays.items()) or "no array"
            raise SignalError(
                f"it holds {has}; a file that is a source by itself has arrays of one length, whose first axis counts "
                "the samples; give the folder, where each file is a sample"
            )
    except SignalError as error:
        raise ArgumentError(f"the source {where} cannot be read: {error}") from error
    count = require_count(len(next(iter(arrays.values()))), where)
    key = next((n for n in KEYS if n in arrays), None)
    keys = Numbered(count) if key is None else _keys(location, arrays.pop(key))
    return _rows(location, f".{extension} file", arrays, keys, {}, name)


def _keys(location: Location, array: Any) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "iuUOT":
        raise ArgumentError(f"the source {location.url}: its keys are {array.dtype} {array.shape}; text is expected")
    if array.shape[0] * array.dtype.itemsize > MOST_BYTES:
        raise ArgumentError(
            f"the source {location.url}: its keys have more than {MOST_BYTES} bytes, which are not read"
        )
    values = tried(location, lambda: array[:].tolist())
    return unique_keys((text_of(str(value)), "") for value in values)


def _rows(
    location: Location, kind: str, columns: Mapping[str, Any], keys: Sequence[str], passed: Mapping[str, int],
    name: str = "",
) -> Source:  # fmt: skip
    row_bytes = max(1, sum(_row_bytes(array) for array in columns.values()))
    # whole chunks are read, since zarr decodes no part of one
    chunk = max((array.chunks[0] for array in columns.values() if hasattr(array, "chunks")), default=1)
    shard = max((array.shards[0] for array in columns.values() if getattr(array, "shards", None)), default=1)
    rows = max(1, min(PART_ROWS, PART_BYTES // row_bytes))
    if chunk * row_bytes <= 8 * PART_BYTES:
        rows = -(-rows // chunk) * chunk
    if shard > rows and shard * row_bytes <= 8 * PART_BYTES:
        rows = shard
    parts = [_Rows(location, name, columns, start, keys[start : start + rows]) for start in range(0, len(keys), rows)]
    return Source(location.at(name), kind, parts, (), passed)


def _row_bytes(array: Any) -> int:
    return int(array.dtype.itemsize) * math.prod(array.shape[1:])


class _Rows(Part):
    """Rows of some arrays that follow each other."""

    def __init__(
        self, location: Location, name: str, columns: Mapping[str, Any], start: int, keys: Sequence[str]
    ) -> None:
        self.keys, self._columns, self._start = keys, columns, start
        self._location, self._name = location, name

    def read(self, rows: Sequence[int]) -> list[Sample | Failure]:
        """See `Part.read`."""
        first, last = self._start + rows[0], self._start + rows[-1] + 1
        where = self._location.at(self._name)
        try:
            blocks = {
                name: tried(self._location, lambda array=array: np.asarray(array[first:last]))  # type: ignore[misc]
                for name, array in self._columns.items()
            }
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{where}: rows {first} to {last - 1} cannot be read: {short(error)}") from error
        return [
            Sample(
                self.keys[row],
                f"{where}[{self._start + row}]",
                {name: _value(block[self._start + row - first]) for name, block in blocks.items()},
            )
            for row in rows
        ]


def _value(row: Any) -> Value:
    if isinstance(row, str | bytes):
        return row
    return plain(np.asarray(row))
