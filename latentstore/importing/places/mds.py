"""MosaicML Streaming: a folder with ``index.json`` and shards of the format MDS, version 2.

``index.json`` lists the shards: their columns, the encoding of each, how many samples they have, and their files with
their sizes. A shard is, in little-endian numbers of four bytes: how many samples it has; where each sample begins, and
where the last one ends; then its columns as JSON; then the samples. A sample is the lengths of its values whose
encoding has no fixed size, and then all its values in the order of the columns.
"""

from __future__ import annotations

import bz2
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.conversion.quarantine import Failure
from latentstore.importing.keys import Numbered, Unknown, require_count
from latentstore.importing.places.mds_values import decoder
from latentstore.importing.sample import MOST_BYTES, Part, Sample, Source, Value
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location
from latentstore.progress import counted

__all__ = ["INDEX", "is_mds", "list_mds"]

INDEX = "index.json"
KEY = "key"
MOST_SAMPLES = 1 << 24
"""Of a shard."""
MOST_NAME = 256
"""Characters of the name of a shard's file, or of a column."""


@dataclass(frozen=True)
class _Column:
    """size: bytes of each of its values, None where they differ."""

    name: str
    size: int | None
    decode: Callable[[bytes], Value]


@dataclass(frozen=True)
class _Shard:
    """compression: of its file, "" for none. bytes: of the shard when it is not compressed."""

    name: str
    compression: str
    bytes: int
    count: int
    columns: tuple[_Column, ...]


def is_mds(location: Location) -> bool:
    """Whether a folder holds shards of MosaicML Streaming."""
    return location.exists(INDEX) and b'"shards"' in location.read(INDEX)


def list_mds(location: Location, skipped: Sequence[str]) -> Source:
    """The samples of a folder of shards, in order. skipped: columns that are left out.

    The key of a sample is its column ``key`` if that is text or a whole number, and else its number. ArgumentError if
    the index is none, or a column holds what is not read, such as a pickle.
    """
    where = location.at(INDEX)
    try:
        table = json.loads(location.read(INDEX))
        if table["version"] != 2:
            raise ValueError(f"version {short(table['version'])}")
        shards = [_shard(one, skipped, where) for one in table["shards"]]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"{where} is no index of MosaicML Streaming, version 2 ({short(error)})") from error
    there = set(location.list())
    keys = Numbered(require_count(sum(shard.count for shard in shards), location.url))
    parts: list[Part] = []
    start = 0
    for shard in shards:
        named = any(column.name == KEY for column in shard.columns)
        own = keys[start : start + shard.count]
        parts.append(_Samples(location, shard, Unknown(shard.count) if named else own, start))
        start += shard.count
    passed = len(there - {INDEX} - {shard.name for shard in shards})
    return Source(location.url, "MosaicML Streaming", parts, (), {"file beside the shards": passed} if passed else {})


def _shard(said: Mapping[str, Any], skipped: Sequence[str], where: str) -> _Shard:
    if said["format"] != "mds":
        raise ArgumentError(f"{where}: its shards are of the format {short(said['format'])}; mds is read")
    names, encodings, sizes = said["column_names"], said["column_encodings"], said["column_sizes"]
    columns = []
    for name, encoding, size in zip(names, encodings, sizes, strict=True):
        good = isinstance(name, str) and isinstance(encoding, str) and len(name) < MOST_NAME
        if not good or not (size is None or whole(size, 0, 1 << 31)):
            raise TypeError("its columns")
        columns.append(_Column(name, size or None, _decoder(name, encoding, skipped, where)))
    compression = said.get("compression") or ""
    raw, zipped = said["raw_data"], said.get("zip_data") or {}
    name = (zipped if compression else raw)["basename"]
    plain = isinstance(name, str) and len(name) < MOST_NAME and not {"/", "\\", "\0"} & set(name) and name != ".."
    if not plain or not isinstance(compression, str):
        raise TypeError(f"the name {short(name)} of a shard")
    good = whole(said["samples"], 0, MOST_SAMPLES) and whole(raw["bytes"], 0, MOST_BYTES)
    if not good or 4 * (said["samples"] + 2) > raw["bytes"]:
        raise TypeError(f"the size of {name}: {short(said['samples'])} samples in {short(raw['bytes'])} bytes")
    return _Shard(name, compression.partition(":")[0], raw["bytes"], said["samples"], tuple(columns))


def _decoder(name: str, encoding: str, skipped: Sequence[str], where: str) -> Callable[[bytes], Value]:
    if name in skipped:
        return bytes
    try:
        return decoder(encoding)
    except SignalError as error:
        raise ArgumentError(f"{where}: the column {name!r} {error}; leave the field {name!r} out") from error


class _Samples(Part):
    """The samples of one shard. start: the number of the first."""

    def __init__(self, location: Location, shard: _Shard, keys: Sequence[str], start: int) -> None:
        self.keys = keys
        self._location, self._shard, self._start = location, shard, start

    def read(self, rows: Sequence[int]) -> list[Sample | Failure]:
        """See `Part.read`."""
        name = self._shard.name
        try:
            data = self._content()
            bounds = np.frombuffer(data, "<u4", self._shard.count + 1, 4).tolist()
            if int.from_bytes(data[:4], "little") != self._shard.count or max(bounds) > len(data):
                raise SignalError("the number of its samples is not that of the index")
        except (SignalError, ValueError) as error:
            reason = str(error) if isinstance(error, SignalError) else "it is cut short"
            many = counted(len(rows), "sample")
            return [Failure.of(name, name, f"the shard cannot be read, so its {many} are left out: {reason}")]
        found: list[Sample | Failure] = []
        for row in rows:
            try:
                found.append(self._sample(row, data[bounds[row] : bounds[row + 1]]))
            except SignalError as error:
                found.append(self._failed(row, str(error)))
        return found

    def _path(self, row: int) -> str:
        return f"{self._shard.name}[{row}]"

    def _failed(self, row: int, reason: str) -> Failure:
        return Failure.of(self.keys[row] or f"{self._start + row}", self._path(row), reason)

    def _sample(self, row: int, data: bytes) -> Sample:
        columns, at = self._shard.columns, 0
        lengths = []
        for column in columns:
            if column.size is None:
                lengths.append(int.from_bytes(data[at : at + 4], "little"))
                at += 4
            else:
                lengths.append(column.size)
        if at + sum(lengths) != len(data):
            raise SignalError(f"its values have {at + sum(lengths)} bytes by their lengths, and {len(data)} are there")
        values: dict[str, Value] = {}
        for column, length in zip(columns, lengths, strict=True):
            try:
                values[column.name] = column.decode(data[at : at + length])
            except SignalError as error:
                raise SignalError(f"its column {column.name!r} {error}") from error
            at += length
        key = values.pop(KEY, self.keys[row])
        if not isinstance(key, str | int):
            raise SignalError(f"its column 'key' is {type(key).__name__}; text or a whole number names a sample")
        return Sample(str(key), self._path(row), values)

    def _content(self) -> bytes:
        shard = self._shard
        try:
            data = self._location.read(shard.name)
        except MissingError as error:
            raise SignalError("the file is not there") from error
        if shard.compression:
            data = _inflated(data, shard.compression, shard.bytes)
        if len(data) != shard.bytes:
            raise SignalError(f"it has {len(data)} bytes, and the index says {shard.bytes}")
        return data


def _inflated(data: bytes, compression: str, size: int) -> bytes:
    """The bytes of a shard. No more than one byte above `size` are made."""
    try:
        if compression == "gz":
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, size + 1)
        if compression == "bz2":
            return bz2.BZ2Decompressor().decompress(data, size + 1)
        if compression == "zstd":
            return _zstd(data, size)
    except (zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise SignalError(f"it cannot be unpacked ({short(error)})") from error
    raise SignalError(f"it is compressed by {compression[:20]!r}; gz, bz2, zstd and none are read")


def _zstd(data: bytes, size: int) -> bytes:
    from numcodecs.zstd import Zstd

    # numcodecs takes as much memory as the frame claims
    claimed = _zstd_size(data)
    if claimed != size:
        raise SignalError(f"it claims {claimed} bytes, and the index says {size}")
    return bytes(Zstd().decode(data))


def _zstd_size(data: bytes) -> int | None:
    """The size of the content that the header of a frame claims (RFC 8878, 3.1.1.1)."""
    if len(data) < 18 or data[:4] != b"\x28\xb5\x2f\xfd":
        return None
    flags = data[4]
    width = (1 if flags & 0x20 else 0, 2, 4, 8)[flags >> 6]
    at = 5 + (0 if flags & 0x20 else 1) + (0, 1, 2, 4)[flags & 3]
    claimed = int.from_bytes(data[at : at + width], "little")
    return None if not width else claimed + 256 if width == 2 else claimed
