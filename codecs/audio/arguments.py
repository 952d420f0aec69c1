"""Checks of audio, as `codecs.arguments` does."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError

__all__ = ["power_of", "require_audio"]

LARGEST = 1e6
"""Beyond this, sums of squares are no longer numbers; full scale is 1."""
# Values whose squares are summed in float32, which is fast and, for so few, exact to eight digits.
FEW = 1 << 14


def require_audio(signal: Any, inputs: int, codec: str) -> npt.NDArray[np.float32]:
    """Audio as float32 (n, inputs), full scale 1, from floats, or from int16 or int32 with the full scale of their
    type.

    One input may be given as (n,). Whether values are finite is found by `power_of`, which looks at all of them.
    """
    given = np.asarray(signal)
    if inputs == 1 and given.ndim == 1:
        given = given[:, None]
    if given.ndim != 2 or given.shape[1] != inputs or not len(given):
        raise ArgumentError(
            f"The audio is {given.dtype} {given.shape}; {codec} takes (samples, {inputs}), one sample or more."
        )
    if given.dtype in (np.int16, np.int32):
        return given.astype(np.float32) * np.float32(-1 / np.iinfo(given.dtype).min)
    if given.dtype.kind != "f":
        raise ArgumentError(f"The audio is {given.dtype}; {codec} takes float (full scale 1), int16 or int32.")
    return np.ascontiguousarray(given, np.float32)


def power_of(audio: npt.NDArray[np.float32]) -> float:
    """The sum of the squares of all values, of an array in C order.

    ArgumentError where values are not finite, or beyond a million times full scale.
    """
    flat = audio.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        power = sum(float(np.dot(some, some)) for some in (flat[at : at + FEW] for at in range(0, len(flat), FEW)))
    # no value is larger than the root of the sum of squares, so values are hardly ever looked at one by one
    if not power <= LARGEST**2 and not np.abs(audio).max() <= LARGEST:
        raise ArgumentError("The audio holds values that are not finite, or beyond a million times full scale.")
    return float(power)
