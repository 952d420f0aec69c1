"""Checks of audio, as `codecs.arguments` does."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError

__all__ = ["require_audio"]


def require_audio(signal: Any, inputs: int, codec: str) -> npt.NDArray[np.float32]:
    """Audio as float32 (n, inputs), full scale 1, from floats, or from int16 or int32 with the full scale of their
    type.

    One input may be given as (n,).
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
    audio = np.ascontiguousarray(given, np.float32)
    # beyond this, sums of squares are no longer numbers; full scale is 1
    if not np.abs(audio).max() <= 1e6:
        raise ArgumentError("The audio holds values that are not finite, or beyond a million times full scale.")
    return audio
