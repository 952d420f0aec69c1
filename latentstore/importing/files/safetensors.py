"""Files of the safetensors format: a header in JSON, and the bytes of the tensors behind it.

They are read here and not by the package, whose reader for NumPy knows no bfloat16 in all of its versions.
"""

from __future__ import annotations

import json
import math
from typing import Any

import ml_dtypes
import numpy as np

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.errors import SignalError
from latentstore.importing.files.npy import array_of, plain
from latentstore.importing.sample import Value

__all__ = ["read_header", "read_safetensors", "view"]

DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(kind)
    for name, kind in {
        "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
        "U64": "<u8", "I64": "<i8", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "F32": "<f4", "F64": "<f8",
    }.items()
}  # fmt: skip
MOST_HEADER_BYTES = 100_000_000
"""The limit of the format itself."""

Entry = tuple[np.dtype[Any], tuple[int, ...], int, int]
"""Type, shape, and where the values begin and end, behind the header."""


def read_safetensors(data: bytes | memoryview) -> dict[str, Value]:
    """The tensors of a file by name, views of its bytes. SignalError says why there are none."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(MOST_HEADER_BYTES, len(data) - 8):
        raise SignalError("it is no safetensors file, or cut short: its header is longer than the file")
    entries = read_header(bytes(data[8 : 8 + size]), len(data) - 8 - size)
    body = memoryview(data)[8 + size :]
    return {name: plain(view(body, entry)) for name, entry in entries.items()}


def view(body: Any, entry: Entry) -> np.ndarray:
    """The array of an entry. body: the bytes behind the header."""
    dtype, shape, begin, end = entry
    return array_of(body[begin:end], dtype, shape)


def read_header(header: bytes, length: int) -> dict[str, Entry]:
    """What a header says of each tensor. length: bytes behind it. SignalError if the two do not agree."""
    try:
        table = json.loads(header, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise SignalError(f"it is no safetensors file, or damaged ({short(error)})") from error
    if not isinstance(table, dict):
        raise SignalError("it is no safetensors file: its header is no object of JSON")
    return {name: _entry(name, said, length) for name, said in table.items() if name != "__metadata__"}


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError where it says two things of one name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _entry(name: str, said: Any, length: int) -> Entry:
    where = f"its tensor {name[:100]!r}"
    shape, offsets = (said.get("shape"), said.get("data_offsets")) if isinstance(said, dict) else (None, None)
    if not isinstance(shape, list) or not all(whole(n, 0, 1 << 40) for n in shape) or len(shape) > 32:
        raise SignalError(f"{where} has the shape {short(shape)}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(whole(n, 0, length) for n in offsets):
        raise SignalError(f"{where} lies at {short(offsets)} of {length} bytes: the file is cut short or damaged")
    dtype = DTYPES.get(said["dtype"]) if isinstance(said.get("dtype"), str) else None
    if dtype is None:
        raise SignalError(f"{where} is of the type {short(said.get('dtype'))}, which is not stored: convert it")
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise SignalError(f"{where} claims the shape {tuple(shape)}, and has {offsets[1] - offsets[0]} bytes")
    return dtype, tuple(shape), offsets[0], offsets[1]
