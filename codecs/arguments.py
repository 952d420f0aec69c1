"""Checks of what the codecs' methods are given. Each function returns its argument, checked, or raises
ArgumentError.
"""

from __future__ import annotations

import operator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError

__all__ = [
    "EFFORTS",
    "Buffer",
    "Effort",
    "require_blob",
    "require_effort",
    "require_flag",
    "require_index",
    "require_indices",
    "require_number",
    "require_prefix",
    "require_quality",
    "whole_number",
]

Buffer = bytes | bytearray | memoryview | npt.NDArray[np.uint8]
Effort = Literal["default", "fast"]
EFFORTS: tuple[Effort, ...] = ("default", "fast")


def require_quality(quality: int | None, default: int) -> int:
    """The quality asked for, a whole number from 1 to 100, or the default if it is None."""
    if quality is None:
        return default
    whole = whole_number(quality)
    if whole is None or not 1 <= whole <= 100:
        raise ArgumentError(f"quality is {quality!r}; it is a whole number from 1 to 100.")
    return whole


def require_prefix(channels: int | None, most: int) -> int:
    """How many of the first channels are asked for, 1 to `most`; all if it is None."""
    if channels is None:
        return most
    whole = whole_number(channels)
    if whole is None or not 1 <= whole <= most:
        raise ArgumentError(f"channels is {channels!r}; it is a whole number from 1 to {most}.")
    return whole


def require_effort(effort: Effort) -> Effort:
    if effort not in EFFORTS:
        raise ArgumentError(f"effort is {effort!r}; it is 'default' or 'fast'.")
    return effort


def require_blob(blob: Any, index: int | None = None) -> memoryview:
    """A blob as a view of bytes. index: its position in the caller's list, for the message."""
    this = "The blob" if index is None else f"Blob {index}"
    try:
        return memoryview(blob).cast("B")
    except TypeError as error:
        raise ArgumentError(f"{this} is not bytes but {type(blob).__name__} ({error}).", index) from error


def whole_number(value: Any) -> int | None:
    """The number if it is a whole one of any integer type. Truth values are not numbers."""
    if _is_truth(value):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def require_number(value: Any, name: str, least: int, most: int | None = None) -> int:
    """A whole number of any integer type, from `least` to `most` (None: without an end). name: for the message."""
    whole = whole_number(value)
    if whole is None or whole < least or (most is not None and whole > most):
        span = f"{least} or more" if most is None else f"from {least} to {most}"
        raise ArgumentError(f"{name} is {value!r}; it is a whole number, {span}.")
    return whole


def require_flag(value: Any, name: str) -> bool:
    """True or False, of Python or NumPy. name: for the message."""
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name} is {value!r}; it is True or False.")
    return bool(value)


def require_index(index: Any, count: int, what: str, where: str) -> int:
    """The position, 0 to count - 1, that `index` means; negative ones count from the end.

    what, where: for messages, such as "sample" and "photos.zarr". ArgumentError if it is no whole number, a truth value
    among them; IndexError if it is out of range.
    """
    whole = whole_number(index)
    if whole is None:
        raise ArgumentError(
            f"{where}: one {what} was asked for by {index!r}, which is no whole number. For many, use the methods that "
            "take arrays of indices."
        )
    if not -count <= whole < count:
        raise IndexError(f"{what} {whole} of {where}, which has {count}")
    return whole % count


def require_indices(indices: Any, count: int, what: str, where: str) -> npt.NDArray[np.int64]:
    """Positions, int64 (n,), each from 0 to count - 1, in any order, repeats allowed.

    indices: whole numbers in any one-dimensional array or sequence; or a mask, bool (count,), which stands for the
    positions where it is True; or None for all. Nothing else is converted. what, where: as for `require_index`.
    ArgumentError if they are neither; IndexError if one is out of range.
    """
    if indices is None:
        return np.arange(count, dtype=np.int64)
    array = indices if isinstance(indices, np.ndarray) else _as_array(indices, where)
    if array.ndim != 1:
        raise ArgumentError(f"{where}: indices must be one-dimensional; their shape is {array.shape}.")
    if array.dtype == bool:
        if len(array) != count:
            raise ArgumentError(
                f"{where}: the mask has {len(array)} values; it must have one for each {what}, {count} values."
            )
        return np.flatnonzero(array)
    if array.dtype.kind not in "iu":
        if array.size or array.dtype != np.float64:  # NumPy makes an empty list an array of float64
            raise ArgumentError(
                f"{where}: indices are whole numbers, or a mask of truth values; these are {array.dtype}."
            )
    elif len(array):
        least, most = int(array.min()), int(array.max())  # before the cast, which would wrap large uint64
        if least < 0 or most >= count:
            raise IndexError(f"{what} {least if least < 0 else most} of {where}, which has {count}")
    return array.astype(np.int64, copy=False)


def _as_array(indices: Any, where: str) -> npt.NDArray[Any]:
    if isinstance(indices, list | tuple):
        truths = sum(map(_is_truth, indices))
        if 0 < truths < len(indices):  # NumPy would make numbers of the truth values
            raise ArgumentError(f"{where}: indices mix whole numbers and truth values; give whole numbers, or a mask.")
    try:
        return np.asarray(indices)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"{where}: the indices are no array of whole numbers ({error}).") from error


def _is_truth(value: Any) -> bool:
    """Whether this is a truth value of Python, of NumPy or of torch."""
    return isinstance(value, bool | np.bool_) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")
