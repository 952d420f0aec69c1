"""Arrays of NumPy: the bytes of a ``.npy`` file, and of the ``.npz`` archives that hold several.

Arrays of Python objects are pickles, and are refused. What a header claims is compared with the bytes that are there
before memory is taken.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib

import numpy as np

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import SignalError
from latentstore.importing.sample import MOST_BYTES, Value

__all__ = ["array_of", "plain", "read_header", "read_npy", "read_npz"]

MOST_HEADER_BYTES = 10000
"""The header of an array says its type and its shape. NumPy reads no longer one either."""
# Deflate makes at most 1032 bytes of one.
MOST_RATIO = 1032
_HEADER = re.compile(
    rb"\{\s*'descr':\s*'([<>=|?A-Za-z0-9]{1,20})',\s*'fortran_order':\s*(True|False),\s*"
    rb"'shape':\s*\(((?:[0-9]{1,18},\s{0,4}){0,31}[0-9]{0,18})\s*\)\s*,?\s*\}\s*"
)
_MALFORMED = (
    zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, NotImplementedError, RuntimeError,
    struct.error,
)  # fmt: skip


def read_npy(data: bytes | memoryview) -> Value:
    """The array of a ``.npy`` file, a view of its bytes; a number or text where it has no axes.

    SignalError says why there is none.
    """
    dtype, shape, fortran, begin = read_header(bytes(data[:MOST_HEADER_BYTES]))
    if math.prod(shape) * dtype.itemsize != len(data) - begin:
        raise SignalError(f"it claims the shape {shape} of {dtype}, and has {len(data) - begin} bytes of values")
    return plain(array_of(data[begin:], dtype, shape, fortran))


def array_of(data: bytes | memoryview, dtype: np.dtype, shape: tuple[int, ...], fortran: bool = False) -> np.ndarray:
    """The array of values that lie end to end, a view of their bytes. The bytes are as many as the shape says."""
    if not len(data):
        try:
            return np.empty(shape, dtype)
        except ValueError as error:
            raise SignalError(f"it claims the shape {short(shape)}, which no array has") from error
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_header(head: bytes) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """(type, shape, whether in the order of Fortran, where the values begin) of a ``.npy`` file, from its first bytes.

    SignalError if it is none, or of a type that is not read.
    """
    width = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}.get(head[:8])
    if width is None:
        raise SignalError("it is no .npy file of version 1.0 or 2.0")
    begin = 8 + width + int.from_bytes(head[8 : 8 + width], "little")
    said = _HEADER.fullmatch(head[8 + width : begin])
    if said is None or begin > len(head):
        raise SignalError("it is no array of numbers, or the header of its .npy file is damaged")
    try:
        dtype = np.dtype(said[1].decode("ascii"))
    except (TypeError, ValueError) as error:
        raise SignalError(f"it is an array of {short(said[1])}; arrays of numbers are read") from error
    if dtype.hasobject:
        raise SignalError("it holds Python objects, which are a pickle and may run code; save an array of numbers")
    if dtype.names is not None or dtype.subdtype is not None or dtype.itemsize == 0:
        raise SignalError(f"it is an array of {dtype}; arrays of numbers are read")
    return dtype, tuple(int(n) for n in said[3].decode("ascii").replace(",", " ").split()), said[2] == b"True", begin


def plain(array: np.ndarray) -> Value:
    """An array without axes as a number or text; others as they are."""
    if array.ndim == 0 and array.dtype.kind in "biufUS":
        value: Value = array.item()
        return int(value) if isinstance(value, bool) else value
    return array


def read_npz(data: bytes | memoryview) -> dict[str, Value]:
    """The arrays of a ``.npz`` file by name. SignalError says why there are none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check(archive, len(data))
            return {_name(info): _member(archive, info) for info in archive.infolist()}
    except SignalError:
        raise
    except _MALFORMED as error:
        raise SignalError(f"it is no .npz file, or damaged ({short(error)})") from error


def _check(archive: zipfile.ZipFile, length: int) -> None:
    """Refuses an archive that becomes too large when it is read, or cannot become what it claims."""
    entries = archive.infolist()
    total = sum(info.file_size for info in entries)
    if total > MOST_BYTES or total > MOST_RATIO * length:
        raise SignalError(f"it claims {total} bytes of arrays in a file of {length}; at most {MOST_BYTES} are read")
    if len({info.filename for info in entries}) < len(entries):
        raise SignalError("it holds two arrays of one name")


def _name(info: zipfile.ZipInfo) -> str:
    if not info.filename.endswith(".npy"):
        raise SignalError(f"it holds {info.filename[:100]!r}, which is no array")
    return info.filename.removesuffix(".npy")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Value:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SignalError(f"its array {_name(info)[:100]!r} is compressed by a method that NumPy does not write")
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        raise SignalError(f"its array {_name(info)[:100]!r} claims another size than it has")
    try:
        with archive.open(info) as file:  # the header decides whether the rest is worth any memory
            head = file.read(MOST_HEADER_BYTES)
            dtype, shape, _, begin = read_header(head)
            if math.prod(shape) * dtype.itemsize != info.file_size - begin:
                raise SignalError(f"it claims the shape {shape} of {dtype}, and {info.file_size - begin} bytes of it")
            return read_npy(head + file.read())
    except SignalError as error:
        raise SignalError(f"its array {_name(info)[:100]!r}: {error}") from error
