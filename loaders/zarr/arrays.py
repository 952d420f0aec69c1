"""The ordinary arrays of a Zarr store, numbers and strings, read without the package zarr.

The layout is in `loaders.zarr.layout`.
"""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.errors import CorruptError
from latentstore.loaders.manifest import MOST, read_json
from latentstore.loaders.reader import by_block
from latentstore.loaders.remote.location import Location
from latentstore.loaders.zarr import layout
from latentstore.loaders.zarr.index import Strings

DTYPES = {name: np.dtype(name).newbyteorder("<") for name in ("uint8", "int32", "int64", "float64")}
"""Types of numbers that a store holds, by the names that Zarr has for them."""
MOST_AXES = 4
_KINDS = {"i": "whole numbers", "u": "whole numbers", "f": "floating-point numbers", "U": "strings"}


@dataclass(frozen=True)
class ArrayInfo:
    """What an array's ``zarr.json`` says. rows: length of a chunk along the first axis. dtype: None for strings."""

    shape: tuple[int, ...]
    rows: int
    dtype: np.dtype | None

    @property
    def kind(self) -> str:
        """NumPy's letter for the type."""
        return "U" if self.dtype is None else self.dtype.kind

    @classmethod
    def of(cls, metadata: dict[str, Any], where: str) -> ArrayInfo:
        """CorruptError naming `where` if it is not an array as `loaders.zarr.layout` describes them."""
        try:
            kind, shape = metadata["data_type"], metadata["shape"]
            rows = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
            dtype = None if kind == "string" else DTYPES[kind]
        except (KeyError, TypeError, IndexError) as error:
            raise CorruptError(f"{where}: not the metadata of an array ({repr(error)[:200]})") from error
        if not isinstance(shape, list) or not 1 <= len(shape) <= MOST_AXES or not all(whole(n, 0, MOST) for n in shape):
            raise CorruptError(f"{where}: shape is {short(shape)}, expected 1 to {MOST_AXES} whole numbers")
        if not whole(rows, 1, MOST):
            raise CorruptError(f"{where}: chunk_shape begins with {short(rows)}, expected 1 row or more")
        return cls(tuple(shape), rows, dtype)


def fits(low: int, high: int, kind: np.iinfo) -> bool:
    """Whether whole numbers from `low` to `high` can be of this kind."""
    return bool(kind.min <= low and high <= kind.max)


class ZarrArrays:
    """The ordinary arrays of a store: read a chunk at a time, checked by its CRC-32C, kept.

    Threads that need the same one at the same time read it once.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._infos: dict[str, ArrayInfo] = {}
        self._whole: dict[str, np.ndarray] = {}
        self._columns: dict[str, np.ndarray] = {}
        self._text: dict[tuple[str, int], Strings] = {}
        self._locks: dict[int, threading.RLock] = {}

    def _one_thread(self) -> threading.RLock:
        """A fork in the middle of a read leaves a lock behind that nobody opens, so each process has its own."""
        return self._locks.setdefault(os.getpid(), threading.RLock())

    def info(self, name: str) -> ArrayInfo:
        """The array's metadata."""
        if name not in self._infos:
            with self._one_thread():
                if name not in self._infos:
                    file = f"{name}/zarr.json"
                    self._infos[name] = ArrayInfo.of(read_json(self.location, file), self.location.at(file))
        return self._infos[name]

    def numbers(self, name: str, shape: tuple[int | None, ...] = (None,), kinds: str = "iu") -> np.ndarray:
        """A whole array of numbers; shape, kinds: see `expect`."""
        if name not in self._whole:
            with self._one_thread():
                if name not in self._whole:
                    self._whole[name] = self._read_whole(name, shape, kinds)
        return self._whole[name]

    def rows(self, name: str, indices: np.ndarray, count: int, kinds: str) -> np.ndarray:
        """Rows of an array of `count` numbers: int64 or float64.

        Whole numbers are kept in as few bytes each as hold all of them.
        """
        if name not in self._columns:
            with self._one_thread():
                if name not in self._columns:
                    self._columns[name] = _narrowed(self._read_whole(name, (count,), kinds))
        return self._columns[name][indices].astype(np.int64 if kinds == "i" else np.float64, copy=False)

    def _read_whole(self, name: str, shape: tuple[int | None, ...], kinds: str) -> np.ndarray:
        info = self.expect(name, shape, kinds)
        # As many chunks are kept as are there: the first that is missing ends it, whatever the shape says.
        blocks = [self._block(name, info, i) for i in range(-(-info.shape[0] // info.rows))]
        if blocks:
            blocks[-1] = blocks[-1][: info.shape[0] - info.rows * (len(blocks) - 1)]
        return np.concatenate(blocks) if len(blocks) > 1 else blocks[0] if blocks else np.zeros(0)

    def expect(self, name: str, shape: tuple[int | None, ...], kinds: str = "iu") -> ArrayInfo:
        """The metadata of an array; CorruptError names it if its shape or type is not that of the manifest.

        shape: what it must be; None: any number. kinds: NumPy's letters for its type; U: strings.
        """
        info = self.info(name)
        right = len(shape) == len(info.shape) and all(b in (None, a) for a, b in zip(info.shape, shape, strict=True))
        if not right or info.kind not in kinds:
            said = ", ".join("any" if n is None else str(n) for n in shape)
            raise CorruptError(
                f"{self.location.at(name)}/zarr.json: {_KINDS[info.kind]} of shape {list(info.shape)}, where "
                f"{_KINDS[kinds[0]]} of shape [{said}] are expected"
            )
        return info

    def text(self, name: str, indices: np.ndarray, count: int) -> list[str]:
        """Rows of an array of `count` strings."""
        chunk, row = np.divmod(indices, self.expect(name, (count,), "U").rows)
        runs = by_block(chunk)
        if len(runs) == 1:
            return self._strings(name, runs[0][0]).take(row)
        found: list[str] = [""] * len(indices)
        for number, here in runs:
            for at, value in zip(here.tolist(), self._strings(name, number).take(row[here]), strict=True):
                found[at] = value
        return found

    def _block(self, name: str, info: ArrayInfo, number: int) -> np.ndarray:
        data, where = self._read(name, number, len(info.shape))
        shape = (info.rows, *info.shape[1:])
        if info.dtype is None or not data or len(data) != math.prod(shape) * info.dtype.itemsize:
            raise CorruptError(f"{where}: not a chunk of shape {shape} and type {info.dtype}")
        return np.frombuffer(data, info.dtype).reshape(shape)

    def _strings(self, name: str, number: int) -> Strings:
        found = self._text.get((name, number))
        if found is None:
            with self._one_thread():
                found = self._text.get((name, number)) or self._read_strings(name, number)
        return found

    def _read_strings(self, name: str, number: int) -> Strings:
        data, where = self._read(name, number, 1)
        found = Strings.of(layout.decode_text(data, where))
        if len(found) != self.info(name).rows:
            raise CorruptError(f"{where}: {len(found)} strings, {self.info(name).rows} expected")
        self._text[name, number] = found
        return found

    def _read(self, name: str, number: int, rank: int) -> tuple[bytes, str]:
        chunk = f"{name}/c/{number}" + "/0" * (rank - 1)
        where = self.location.at(chunk)
        try:
            return layout.check_crc(self.location.read(chunk), where), where
        except CorruptError:
            self.location.forget(chunk)
            raise


def _narrowed(values: np.ndarray) -> np.ndarray:
    """Whole numbers in as few bytes each as hold all of them."""
    if values.dtype.kind != "i" or not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    return values.astype(next(k for k in (np.int8, np.int16, np.int32, np.int64) if fits(low, high, np.iinfo(k))))
