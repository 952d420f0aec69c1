"""The encodings of MDS: from the bytes of a value to the value. Pickles are refused.

``ndarray`` has a type and a shape in its name (``ndarray:float16:4,32,32``) or before its values: a byte for the type,
a byte for the number of axes and the width of the numbers of the shape, and these numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import SignalError
from latentstore.importing.files.npy import array_of
from latentstore.importing.sample import Value

__all__ = ["decoder"]

# The byte that stands for each type.
DTYPES: dict[int, str] = {
    8: "<u1", 9: "<i1", 16: "<u2", 17: "<i2", 18: "<f2", 32: "<u4", 33: "<i4", 34: "<f4", 64: "<u8", 65: "<i8",
    66: "<f8",
}  # fmt: skip
NAMES: dict[str, np.dtype[Any]] = {np.dtype(kind).name: np.dtype(kind) for kind in DTYPES.values()}
AXES = ("<u1", "<u2", "<u4", "<u8")
_ARRAY = re.compile(r"ndarray(?::([a-z0-9]+)(?::([0-9]{1,18}(?:,[0-9]{1,18}){0,31}))?)?")


def decoder(encoding: str) -> Callable[[bytes], Value]:
    """What makes values of their bytes. It raises a SignalError for bytes that are none, and so does this for an
    encoding that is not read."""
    array = _ARRAY.fullmatch(encoding)
    if array is not None and (array[1] is None or array[1] in NAMES):
        dtype = None if array[1] is None else NAMES[array[1]]
        shape = None if array[2] is None else tuple(int(n) for n in array[2].split(","))
        return lambda data: _array(data, dtype, shape)
    if encoding in NAMES:
        return lambda data: _scalar(data, NAMES[encoding])
    if encoding in _OTHERS:
        return _OTHERS[encoding]
    if encoding == "pkl":
        raise SignalError("holds pickles (pkl), which may run code and are not read")
    raise SignalError(f"has the encoding {short(encoding)}, which is no tensor, number, text or bytes")


def _array(data: bytes, dtype: np.dtype[Any] | None, shape: tuple[int, ...] | None) -> np.ndarray:
    at = 0
    if dtype is None:
        kind = DTYPES.get(data[0]) if data else None
        if kind is None:
            raise SignalError(f"has the type {short(data[:1])}, which is none of an array")
        dtype, at = np.dtype(kind), 1
    if shape is None:
        said = data[at] if len(data) > at else 0
        count, axis = said >> 2, np.dtype(AXES[said & 3])
        at += 1
        if not 1 <= count <= 32 or len(data) < at + count * axis.itemsize:
            raise SignalError("has no shape: it is cut short or damaged")
        shape = tuple(np.frombuffer(data, axis, count, at).tolist())
        at += count * axis.itemsize
    if math.prod(shape) * dtype.itemsize != len(data) - at:
        raise SignalError(f"claims the shape {shape} of {dtype}, and has {len(data) - at} bytes of it")
    return array_of(data[at:], dtype, shape)


def _scalar(data: bytes, dtype: np.dtype[Any]) -> int | float:
    if len(data) != dtype.itemsize:
        raise SignalError(f"has {len(data)} bytes, which are no {dtype}")
    value: int | float = np.frombuffer(data, dtype)[0].item()
    return value


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SignalError("is not UTF-8 text") from error


def _number(kind: Callable[[str], int | float]) -> Callable[[bytes], int | float]:
    def read(data: bytes) -> int | float:
        try:
            return kind(_text(data))
        except ValueError as error:
            raise SignalError(f"is {short(data)}, which is no number") from error

    return read


# Files of images stay files; the text of JSON and of decimal numbers stays text.
_OTHERS: dict[str, Callable[[bytes], Value]] = {
    "bytes": bytes, "jpeg": bytes, "png": bytes,
    "str": _text, "json": _text, "str_decimal": _text,
    "int": lambda data: _scalar(data, np.dtype("<i8")),
    "str_int": _number(int), "str_float": _number(float),
}  # fmt: skip
