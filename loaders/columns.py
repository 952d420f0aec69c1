"""Columns of values that go with samples: keys, labels, captions.

A column of numbers is one array. A column of strings or bytes is one flat uint8 array with offsets. A table of columns
is kept in a NumPy ``.npz`` file: anyone can read it, the zip's CRC-32 is checked on reading, and there is no pickle.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.codecs.modality import Modality

Field = int | float | str | bytes
"""A value that a sample can have in a field."""
KINDS = ("int", "float", "str", "bytes")
RESERVED = frozenset({"key", "latent"})
"""Names that no field can have: every sample has these beside its fields."""
PADDED = frozenset({"lengths", "mask"})
"""What a padded batch has beside its fields."""


def reserved(modality: Modality) -> frozenset[str]:
    """Names that no field of a store of this modality can have: batches have these beside its fields."""
    return RESERVED | {modality.signal} | (PADDED if modality.pads else frozenset())


def require_free(names: Iterable[str], modality: Modality, where: str) -> None:
    """ArgumentError naming `where` if a field has a name of `reserved`."""
    taken = sorted(reserved(modality) & set(names))
    if taken:
        raise ArgumentError(
            f"{where}: a field cannot be called {taken[0]!r}, since batches of {modality.nouns.many} have an entry of "
            "that name; rename it in the source"
        )


@dataclass(frozen=True, eq=False)
class Column:
    """n values of one kind.

    kind: one of `KINDS`. data: int64 (n,) for int and float64 (n,) for float; for str (in UTF-8) and bytes, uint8: all
    values end to end. offsets: int64 (n + 1,) for str and bytes: value i is data[offsets[i]:offsets[i + 1]]; else None.
    """

    kind: str
    data: np.ndarray
    offsets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.data) if self.offsets is None else len(self.offsets) - 1

    @classmethod
    def of(cls, name: str, values: Sequence[Field]) -> Column:
        """The column of `values`. int and float may be mixed, and become float.

        ArgumentError names the column if the types cannot be mixed, or a value cannot be stored.
        """
        try:
            return cls._of(name, values)
        except (OverflowError, UnicodeEncodeError) as error:
            raise ArgumentError(
                f"field {name!r} holds a value that cannot be stored ({error}): whole numbers have 64 bits, and "
                "strings are valid Unicode"
            ) from error

    @classmethod
    def _of(cls, name: str, values: Sequence[Field]) -> Column:
        types = {type(v) for v in values}
        if all(issubclass(t, int | np.integer) for t in types):
            return cls("int", np.array([int(v) for v in values], np.int64))
        if all(issubclass(t, int | float | np.integer | np.floating) for t in types):
            return cls("float", np.array([float(v) for v in values], np.float64))
        if types == {str}:
            return cls.flat("str", [v.encode() for v in values])  # type: ignore[union-attr]
        if all(issubclass(t, bytes | bytearray) for t in types):
            return cls.flat("bytes", [bytes(v) for v in values])  # type: ignore[arg-type]
        kinds = ", ".join(sorted(t.__name__ for t in types))
        raise ArgumentError(f"field {name!r} holds values of types that cannot be mixed: {kinds}; expected one type")

    @classmethod
    def flat(cls, kind: str, values: Sequence[bytes]) -> Column:
        """The column of strings (kind "str", as UTF-8) or bytes."""
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum([len(v) for v in values], out=offsets[1:])
        return cls(kind, np.frombuffer(b"".join(values), np.uint8), offsets)

    @classmethod
    def concat(cls, name: str, columns: Sequence[Column]) -> Column:
        """All of `columns` in order; those without values do not count. int and float become float.

        ArgumentError if the kinds cannot be mixed, or there is no value at all.
        """
        columns = [c for c in columns if len(c)]
        kinds = {c.kind for c in columns}
        kind = "float" if kinds == {"int", "float"} else kinds.pop() if len(kinds) == 1 else None
        if kind is None:
            raise ArgumentError(
                f"field {name!r} has different types in different shards: {', '.join(sorted(kinds))}; expected one type"
            )
        data = np.concatenate([c.data.astype(np.float64) if kind == "float" else c.data for c in columns])
        if kind in ("int", "float"):
            return cls(kind, data)
        offsets, base = [np.zeros(1, np.int64)], 0
        for column in columns:
            assert column.offsets is not None
            offsets.append(column.offsets[1:] + base)
            base += int(column.offsets[-1])
        return cls(kind, data, np.concatenate(offsets))

    def take(self, rows: np.ndarray) -> np.ndarray | list[str] | list[bytes]:
        """The values of `rows` (int64 (m,)): an array for numbers, a list for strings and bytes."""
        if self.offsets is None:
            return self.data[rows]
        data, starts, ends = self.data, self.offsets[rows].tolist(), self.offsets[rows + 1].tolist()
        values = [data[a:b].tobytes() for a, b in zip(starts, ends, strict=True)]
        return [v.decode() for v in values] if self.kind == "str" else values

    def values(self) -> list:
        """All values as a list of Python objects."""
        return list(self.take(np.arange(len(self))))


def pack(columns: Mapping[str, Column], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """The ``.npz`` bytes of a table, with further `arrays` beside it. The same values give the same bytes.

    An array's name does not begin with the name of a kind and a colon, as columns' entries do.
    """
    entries = {name: np.asarray(array) for name, array in (arrays or {}).items()}
    for name, column in columns.items():
        entries[f"{column.kind}:{name}"] = column.data
        if column.offsets is not None:
            entries[f"offsets:{name}"] = column.offsets
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **entries)
    return stream.getvalue()


def unpack(data: bytes, where: str) -> tuple[dict[str, Column], dict[str, np.ndarray]]:
    """The table and the arrays that `pack` was given. CorruptError naming `where` if the file is damaged.

    No more memory is taken than `data` has bytes: members must not be compressed, and an array's shape must be that of
    the bytes that are there.
    """
    try:
        entries = _members(data)
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, NotImplementedError,
            RuntimeError, struct.error) as error:  # fmt: skip
        raise CorruptError(f"{where}: damaged or cut short ({short(error)})") from error
    columns, arrays = {}, {}
    for name, array in entries.items():
        kind, colon, rest = name.partition(":")
        if colon and kind in KINDS:
            offsets = entries.get(f"offsets:{rest}")
            _check(kind, array, offsets, f"{where}, column {rest!r}")
            columns[rest] = Column(kind, array, offsets)
        elif kind != "offsets" or not colon:
            arrays[name] = array
    return columns, arrays


def _members(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file by name; ValueError, or an error of zipfile, if it is not one that `pack` made."""
    found, left = {}, len(data)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        for info in file.infolist():
            left -= info.file_size
            if info.compress_type != zipfile.ZIP_STORED or left < 0:
                raise ValueError(f"member {short(info.filename)} is compressed, or larger than the file")
            found[info.filename.removesuffix(".npy")] = _array(file.read(info), short(info.filename))
    return found


_HEADER = re.compile(
    rb"\{'descr': '([<|][iuf][1248])', 'fortran_order': (False|True), 'shape': \(((?:[0-9]{1,18},? ?){0,2})\), \} *\n"
)


def _array(data: bytes, name: str) -> np.ndarray:
    """The array, of one or two axes, of the bytes of a ``.npy`` file; a view of them."""
    begin, (size,) = 10, struct.unpack("<H", data[8:10])
    head = _HEADER.fullmatch(data[begin : begin + size])
    if data[:8] != b"\x93NUMPY\x01\x00" or head is None:
        raise ValueError(f"member {name} is not an array of numbers")
    dtype, shape = np.dtype(head[1].decode()), tuple(int(n) for n in head[3].decode().replace(",", " ").split())
    if math.prod(shape) * dtype.itemsize != len(data) - begin - size:
        raise ValueError(f"member {name} claims shape {shape}, and has {len(data) - begin - size} bytes")
    order: Literal["F", "C"] = "F" if head[2] == b"True" else "C"
    return np.frombuffer(data, dtype, offset=begin + size).reshape(shape, order=order)


def _check(kind: str, data: np.ndarray, offsets: np.ndarray | None, where: str) -> None:
    expected = {"int": np.int64, "float": np.float64}.get(kind, np.uint8)
    good = data.dtype == expected and data.ndim == 1
    if kind in ("str", "bytes"):
        good = (
            good and offsets is not None
            and offsets.dtype == np.int64 and offsets.ndim == 1 and len(offsets) > 0
            and offsets[0] == 0 and offsets[-1] == len(data) and bool((offsets[1:] >= offsets[:-1]).all())
        )  # fmt: skip
    if good and kind == "str":
        assert offsets is not None
        good = _is_text(data, offsets)
    if not good:
        raise CorruptError(f"{where}: not a column of {kind}")


def _is_text(data: np.ndarray, offsets: np.ndarray) -> bool:
    """Whether strings end to end are UTF-8, and each begins with the first byte of a character."""
    try:
        data.tobytes().decode()
    except UnicodeDecodeError:
        return False
    begins = data[offsets[offsets < len(data)]]
    return not ((begins & 0xC0) == 0x80).any()


def same_names(rows: Iterable[Mapping[str, object]], where: str) -> list[str]:
    """The names that every one of `rows` has, sorted; ArgumentError if they differ."""
    names: list[str] | None = None
    for row in rows:
        if names is None:
            names = sorted(row)
        elif sorted(row) != names:
            odd = ", ".join(sorted(set(names) ^ set(row)))
            raise ArgumentError(f"{where}: samples have different fields: some have {odd}, and others do not")
    return names or []
