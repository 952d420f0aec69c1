"""Quantisation steps of audio: step codes, and which of them serves a signal best (docs/format-audio.md section S3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["LOWEST_LEVEL", "Spread", "StepCodes", "level_of", "step_of"]

Floats = npt.NDArray[np.float32]

CODE_OF_ONE, CODES_AN_OCTAVE = 224, 8
LEVELS_AN_OCTAVE = 4
LOWEST_LEVEL = 2.0**-20
"""What the level of anything quieter is taken for: -120 dB of full scale."""
# Of one step, `best` tries the floors of up to so many level codes more and fewer: an octave finer, six coarser.
FINER, COARSER = 4, 24

# A histogram of magnitudes: bins of an octave, and of the powers of two that it spans.
BINS_AN_OCTAVE, LOWEST_OCTAVE, OCTAVES = 8, -24, 48


def step_of(code: int) -> float:
    """The step of a step code, of orthonormal coefficients."""
    return level_of(code) * float(2.0 ** (((code & 255) - CODE_OF_ONE) / CODES_AN_OCTAVE))


def level_of(code: int) -> float:
    """The level that a step code says, full scale 1: the floors are in units of it. A level code of 1 says 1."""
    return float(2.0 ** (-(code >> 8) / LEVELS_AN_OCTAVE))


@dataclass(frozen=True, eq=False)
class StepCodes:
    """The step codes of a codec. A code is s + 256 * (l - 1), where s says the step in units of the level, and l is the
    level code.

    floor: float32 (channels,), the finest steps of the channels, in units of the level. levels: whether the encoder
    says the level in l. Else l is 1, s says all, and the floors must be finer than any step.
    """

    floor: Floats
    levels: bool

    def code(self, step: float, level: float) -> int:
        """The step code for the step of a quality, and a signal of this level: root mean square, full scale 1."""
        level = max(level, LOWEST_LEVEL)
        lower = max(round(-LEVELS_AN_OCTAVE * float(np.log2(level))), 0) if self.levels else 0
        return _code(lower, round(CODES_AN_OCTAVE * float(np.log2(step * level / level_of(256 * lower)))) + CODE_OF_ONE)

    def scale(self, code: int) -> Floats:
        """float32 (channels,): latents times this are coefficients."""
        step = np.float32(step_of(code & 255))
        return (np.maximum(step, self.floor) * np.float32(level_of(code))).astype(np.float32)

    def is_far_below_the_floor(self, code: int) -> bool:
        """Whether other floors may pay: the step is much finer than they are."""
        return self.levels and step_of(code & 255) < 0.5 * float(self.floor.max())

    def best(self, spread: Spread, code: int) -> int:
        """The step code that loses least by rounding and limiting to int8: of a step as that of `code` or coarser, or
        of the same step with other floors."""
        codes = [*range(code, (code | 255) + 1)]
        if self.levels:
            lower, step = divmod(code, 256)
            # the step is in units of the level
            by_level = CODES_AN_OCTAVE // LEVELS_AN_OCTAVE
            places = range(max(lower - COARSER, 0), lower + FINER + 1)
            codes += [_code(other, step + by_level * (other - lower)) for other in places]
        return min(codes, key=lambda tried: spread.error(self.scale(tried)))


def _code(lower: int, step: int) -> int:
    """lower: the level code less 1. step: limited to what a step code can say."""
    return 256 * lower + min(max(step, 1), 255)


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
