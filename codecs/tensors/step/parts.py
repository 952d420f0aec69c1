"""The arrays that a coding of steps is made of, as a store keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import CorruptError
from latentstore.codecs.native import backend
from latentstore.codecs.tensors.step.activity import BUCKETS, SUMS
from latentstore.codecs.tensors.step.geometry import PHASES
from latentstore.codecs.tensors.step.tables import SYMBOLS

__all__ = ["NAMES", "Parts", "check", "coder_of"]

Parts = dict[str, npt.NDArray[Any]]
_SHAPES: dict[str, tuple[type, tuple[int | str, ...]]] = {
    "steps": (np.float32, ("channels",)),
    "means": (np.int32, ("channels",)),
    "spiked": (np.uint8, ("channels",)),
    "fine": (np.uint8, ("channels",)),
    "tap_count": (np.uint8, ("channels", len(PHASES))),
    "tap_back": (np.uint16, ("taps",)),
    "tap_shift": (np.int8, ("taps", 2)),
    "tap_weight": (np.int16, ("taps",)),
    "activity": (np.uint16, ("channels", len(PHASES), SUMS)),
    "activity_bias": (np.int32, ("channels", len(PHASES))),
    "frequencies": (np.uint16, (2, BUCKETS, SYMBOLS)),
    "channel_axis": (np.int32, (1,)),
}
NAMES = tuple(_SHAPES)
_MOST_CHANNELS, _MOST_AXES = 65536, 32


def _check_shape(name: str, array: npt.NDArray[Any], sides: dict[str, int], where: str) -> None:
    kind, expected = _SHAPES[name]
    if array.dtype != kind or array.ndim != len(expected):
        raise CorruptError(
            f"{where}: the part {name} must be {np.dtype(kind)} with {len(expected)} axes, not {array.dtype} with "
            f"{array.ndim}; fetch the file again."
        )
    wanted = tuple(
        side if isinstance(side, int) else sides.setdefault(side, length)
        for side, length in zip(expected, array.shape, strict=True)
    )
    if array.shape != wanted:
        raise CorruptError(
            f"{where}: the part {name} has the shape {array.shape} where {wanted} is expected; fetch the file again."
        )


def check(parts: Mapping[str, npt.NDArray[Any]], where: str) -> Parts:
    """The parts as contiguous arrays; CorruptError, naming `where`, for parts that cannot be."""
    if set(parts) != set(NAMES):
        wrong = sorted(set(parts) ^ set(NAMES))
        raise CorruptError(f"{where}: the parts of a coding of steps are {', '.join(NAMES)}; {wrong[0]} is wrong.")
    sides: dict[str, int] = {}
    for name in NAMES:
        _check_shape(name, parts[name], sides, where)
    if not 1 <= sides["channels"] <= _MOST_CHANNELS:
        raise CorruptError(f"{where}: {sides['channels']} channels are not 1 to {_MOST_CHANNELS}.")
    if not 0 <= int(parts["channel_axis"][0]) < _MOST_AXES:
        raise CorruptError(f"{where}: the axis of channels, {int(parts['channel_axis'][0])}, is not 0 to 31.")
    return {name: np.ascontiguousarray(parts[name]) for name in NAMES}


def coder_of(parts: Parts, where: str) -> Any:
    """The backend's coder of checked parts; CorruptError, naming `where`, if a number is outside its range."""
    arrays = [parts[name] for name in NAMES if name != "channel_axis"]
    try:
        # The kernel takes signed arrays of 16 bits and reads the same bits.
        return backend().tensor_new(*(a.view(np.int16) if a.dtype == np.uint16 else a for a in arrays))
    except ValueError as error:
        raise CorruptError(f"{where}: the coding of steps cannot be used: {error}; fetch the file again.") from error
