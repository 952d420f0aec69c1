"""Quantisation steps of audio: step codes, and which of them serves a signal best (docs/format-audio.md section S3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["HIGHEST_CODE", "Spread", "StepCodes", "step_of"]

Floats = npt.NDArray[np.float32]

HIGHEST_CODE = 255
CODE_OF_ONE, CODES_AN_OCTAVE = 224, 8
LOWEST_LEVEL = 2.0**-20
"""What the level of silence is taken for."""
COARSE = 128
"""In the step codes of codecs that are not relative: the floors are the artifact's, and not a half of them."""

# A histogram of magnitudes: bins of an octave, and of the powers of two that it spans.
BINS_AN_OCTAVE, LOWEST_OCTAVE, OCTAVES = 8, -24, 48


def step_of(code: int) -> float:
    """The step of a step code, of orthonormal coefficients."""
    return float(2.0 ** ((code - CODE_OF_ONE) / CODES_AN_OCTAVE))


@dataclass(frozen=True, eq=False)
class StepCodes:
    """The step codes of a codec.

    relative: steps go with the level of each signal. floor: float32 (channels,), the finest steps of the channels.
    """

    relative: bool
    floor: Floats

    def code(self, step: float, level: float) -> int:
        """The step code for the step of a quality, and a signal of this level: root mean square, full scale 1.

        The level says nothing where the codec is not relative.
        """
        step *= max(level, LOWEST_LEVEL) if self.relative else 1.0
        lowest = 1 if self.relative else COARSE
        return min(max(round(CODES_AN_OCTAVE * float(np.log2(step))) + CODE_OF_ONE, lowest), HIGHEST_CODE)

    def scale(self, code: int) -> Floats:
        """float32 (channels,): latents times this are coefficients, for a step code from 1 to 255."""
        step, floor = self.step_and_floor(code)
        return np.maximum(np.float32(step), floor).astype(np.float32)

    def step_and_floor(self, code: int) -> tuple[float, Floats]:
        """The step, and the finest steps of the channels, that a step code stands for."""
        if self.relative:
            return step_of(code), self.floor
        return step_of(code | COARSE), self.floor if code & COARSE else self.floor * np.float32(0.5)

    def is_far_below_the_floor(self, code: int) -> bool:
        """Whether finer floors may pay: the step is much finer than they are."""
        return not self.relative and self.step_and_floor(code)[0] < 0.5 * float(self.floor.max())

    def best(self, spread: Spread, code: int) -> int:
        """The step code, from `code` on and with either floors, that loses least by rounding and limiting to int8."""
        codes = [*range(code, HIGHEST_CODE + 1)]
        if not self.relative:
            codes += range(code ^ COARSE, COARSE)
        return min(codes, key=lambda tried: spread.error(self.scale(tried)))


class Spread:
    """How coefficients are spread over magnitudes, per channel: what any steps would cost, without trying them."""

    def __init__(self, channels: int) -> None:
        bins = BINS_AN_OCTAVE * OCTAVES
        self._counts = np.zeros((channels, bins))
        self._value = 2.0 ** (LOWEST_OCTAVE + (np.arange(bins) + 0.5) / BINS_AN_OCTAVE)

    def add(self, coefficients: Floats) -> None:
        """float32 (channels, t)."""
        octave = np.log2(np.maximum(np.abs(coefficients), 2.0**LOWEST_OCTAVE)) - LOWEST_OCTAVE
        place = np.minimum((octave * BINS_AN_OCTAVE).astype(np.int64), self._counts.shape[1] - 1)
        for count, row in zip(self._counts, place, strict=True):
            count += np.bincount(row, minlength=len(count))

    def error(self, scale: Floats) -> float:
        """About the squared error of rounding and of limiting to +-127 with these steps, (channels,)."""
        step = scale.astype(np.float64)[:, None]
        each = np.where(self._value < 127.5 * step, np.minimum(self._value, step / 12**0.5), self._value - 127 * step)
        return float((self._counts * each**2).sum())
