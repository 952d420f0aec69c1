"""Files that `torch.save` wrote: a ZIP archive of a pickle and of the bytes of each storage.

torch is not needed, and nothing is unpickled: `pickle_values` follows what the pickle would build, and knows tensors,
dicts, lists and plain values alone.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.errors import SignalError
from latentstore.importing.files.npy import array_of, plain
from latentstore.importing.files.pickle_values import Call, Name, Stored, pickle_values
from latentstore.importing.sample import UNNAMED, Value

__all__ = ["read_torch"]

MOST_PICKLE_BYTES = 1 << 20
"""The pickle of a sample holds the names and the shapes of a few tensors."""
STORAGES: dict[str, np.dtype[Any]] = {
    f"torch.{name}Storage": np.dtype(kind)
    for name, kind in {
        "Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": ml_dtypes.bfloat16, "Long": "<i8", "Int": "<i4",
        "Short": "<i2", "Char": np.int8, "Byte": np.uint8, "Bool": np.bool_,
    }.items()
}  # fmt: skip
TENSOR = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
METADATA = 6
"""The position of a tensor's attributes, such as that the signs of its values are to be turned."""
PARAMETER = "torch._utils._rebuild_parameter"
DICT = "collections.OrderedDict"
ENCODED = "_codecs.encode"


def read_torch(data: bytes | memoryview) -> dict[str, Value]:
    """The tensors of a file by name; of a file that is one tensor, that tensor as `UNNAMED`.

    SignalError says why there are none, and what a pickle asks for that is refused.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _File(archive, len(data)).values()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, OSError,
            ValueError, KeyError) as error:  # fmt: skip
        raise SignalError(
            f"it is no file that torch.save of version 1.6 or later wrote, or damaged ({short(error)})"
        ) from error


class _File:
    """One archive, checked: nothing in it becomes larger when it is read."""

    def __init__(self, archive: zipfile.ZipFile, length: int) -> None:
        self._archive = archive
        self._infos = {info.filename: info for info in archive.infolist()}
        stored = all(info.compress_type == zipfile.ZIP_STORED for info in self._infos.values())
        total = sum(info.file_size for info in self._infos.values())
        if not stored or total > length or len(self._infos) < len(archive.infolist()):
            raise SignalError(f"it claims {total} bytes in {length}, or is compressed, which torch.save never is")
        pickles = [name for name in self._infos if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise SignalError("it is no file that torch.save wrote: it has no data.pkl")
        self._root = pickles[0].removesuffix("data.pkl")
        order = self._read(f"{self._root}byteorder") if f"{self._root}byteorder" in self._infos else b"little"
        self._big = order.strip() == b"big"
        self._storages: dict[str, np.ndarray] = {}

    def _read(self, name: str) -> bytes:
        return self._archive.read(name)

    def values(self) -> dict[str, Value]:
        """What the file holds."""
        name = f"{self._root}data.pkl"
        if self._infos[name].file_size > MOST_PICKLE_BYTES:
            raise SignalError(f"its pickle has more than {MOST_PICKLE_BYTES} bytes; tensors by name are read")
        found = self._made(pickle_values(self._read(name)))
        if isinstance(found, np.ndarray):
            return {UNNAMED: plain(found)}
        if not isinstance(found, dict):
            raise SignalError(f"it holds {type(found).__name__}; a tensor, or a dict of tensors by name, is read")
        return {_named(key): _value(key, self._made(value)) for key, value in found.items()}

    def _made(self, value: Any) -> Any:
        """A value of the pickle with its call done: a tensor, a dict, or text that was bytes."""
        if isinstance(value, Name):
            raise SignalError(f"it holds {value.said}, which is no tensor; nothing of it was run")
        if not isinstance(value, Call):
            return value
        name, arguments = value.name, value.arguments
        if name in TENSOR and len(arguments) >= 4:
            if any(arguments[METADATA:]):
                said = ", ".join(map(str, arguments[METADATA])) if isinstance(arguments[METADATA], dict) else "unknown"
                raise SignalError(
                    f"a tensor of it stands for other values than are there (its attributes: {said[:100]}): save a "
                    "copy, such as tensor.resolve_neg().clone()"
                )
            return self._tensor(*arguments[:4])
        if name == PARAMETER and arguments:
            return self._made(arguments[0])
        if name == DICT and not arguments:
            return value.items
        if name == ENCODED and arguments[1:] == ("latin1",) and isinstance(arguments[0], str):
            return arguments[0].encode("latin1", "replace")
        raise SignalError(f"its pickle asks for {name[:100]}, which no tensor needs; nothing of it was run")

    def _tensor(self, stored: Any, offset: Any, sides: Any, strides: Any) -> np.ndarray:
        if not isinstance(stored, Stored):
            raise SignalError("a tensor of it has no storage")
        values = self._storage(stored)
        good = isinstance(sides, tuple) and isinstance(strides, tuple) and len(sides) == len(strides) <= 32
        if not good or not all(whole(n, 0, 1 << 40) for n in (*sides, *strides, offset)):
            raise SignalError(f"a tensor of it has the shape {short(sides)} and the strides {short(strides)}")
        last = offset + sum((side - 1) * stride for side, stride in zip(sides, strides, strict=True))
        if math.prod(sides) and (last >= len(values) or math.prod(sides) > len(values)):
            raise SignalError(f"a tensor of it claims the shape {sides}, and its storage has {len(values)} values")
        if not math.prod(sides):
            return array_of(b"", values.dtype, sides)
        width = values.dtype.itemsize
        return np.lib.stride_tricks.as_strided(values[offset:], sides, [n * width for n in strides], writeable=False)

    def _storage(self, stored: Stored) -> np.ndarray:
        found = self._storages.get(stored.key)
        dtype = STORAGES.get(stored.kind)
        if dtype is None:
            raise SignalError(f"a tensor of it is a {stored.kind[:100]}, which is not stored: convert it")
        if found is None:
            name = f"{self._root}data/{stored.key}"
            if name not in self._infos:
                raise SignalError(f"the bytes of its storage {stored.key[:100]!r} are missing")
            data = self._read(name)
            if len(data) != stored.count * dtype.itemsize:
                raise SignalError(f"a storage of it claims {stored.count} values, and has {len(data)} bytes")
            found = self._storages[stored.key] = np.frombuffer(data, dtype.newbyteorder(">") if self._big else dtype)
        return found


def _named(key: Any) -> str:
    if not isinstance(key, str):
        raise SignalError(f"it is a dict with the key {short(key)}; names of tensors are text")
    return key


def _value(name: str, value: Any) -> Value:
    if isinstance(value, np.ndarray):
        return plain(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float | str | bytes):
        return value
    kind = "a dict" if isinstance(value, Mapping) else type(value).__name__
    raise SignalError(f"its entry {name[:100]!r} is {kind}; a tensor, a number, text or bytes is read")
