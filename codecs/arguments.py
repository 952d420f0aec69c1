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
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
