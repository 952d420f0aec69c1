"""Step codes: a code says a step, and the code that is chosen loses least."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.codecs.audio.steps import Spread, StepCodes, level_of, step_of

FLOOR = np.array([1e-2, 4e-2, 0.2], np.float32)


@given(st.integers(1, 255), st.booleans())
def test_the_code_of_a_step_is_the_nearest(code: int, levels: bool) -> None:
    steps = StepCodes(FLOOR, levels)
    assert steps.code(step_of(code), 1.0) == code
    assert steps.code(step_of(code) * 2**0.05, 1.0) == code


@given(st.floats(-24.0, 4.0), st.floats(-4.0, 3.0), st.booleans())
def test_the_step_goes_with_the_level(level: float, step: float, levels: bool) -> None:
    code = StepCodes(FLOOR, levels).code(2.0**step, 2.0**level)
    wanted = min(max(step + max(level, -20), -27.8), 3.875)
    assert abs(np.log2(step_of(code)) - wanted) <= 1 / 16 + 1e-9
    # the floors follow in steps of a quarter of an octave, down to 120 dB below full scale
    assert code & 255 and (code < 256 if not levels else abs(np.log2(level_of(code)) - np.clip(level, -20, 0)) <= 0.126)


def test_scales_stop_at_the_floors() -> None:
    steps = StepCodes(FLOOR, True)
    for code in range(1, 20 * 256, 7):
        scale, level = steps.scale(code), np.float32(level_of(code))
        assert (scale >= FLOOR * level).all() and (scale >= np.float32(step_of(code)) * np.float32(1 - 1e-6)).all()
        assert ((scale == FLOOR * level) | np.isclose(scale, step_of(code), rtol=1e-6)).all()


@pytest.mark.parametrize("peak", [1.0, 60.0, 3000.0])
@pytest.mark.parametrize("levels", [False, True])
def test_the_best_code_loses_least(peak: float, levels: bool) -> None:
    steps, spread = StepCodes(FLOOR, levels), Spread(3)
    values = np.random.default_rng(0).laplace(scale=peak / 10, size=(3, 5000)).astype(np.float32)
    spread.add(values)

    def error(code: int) -> float:
        scale = steps.scale(code)[:, None]
        return float(((np.clip(np.rint(values / scale), -127, 127) * scale - values) ** 2).sum())

    begin = 150 + 256 * 8 * levels
    best = steps.best(spread, begin)
    # the histogram has eight bins an octave: its estimate is good to some per cent
    assert error(best) <= 1.1 * min(error(code) for code in range(begin, (begin | 255) + 1))
    # other floors are for the same step
    assert best >> 8 == begin >> 8 or np.isclose(step_of(best), step_of(begin))
    assert levels or best < 256


@pytest.mark.parametrize(("peak", "finer"), [(1.0, True), (20.0, False)])
def test_floors_that_serve_are_found(peak: float, finer: bool) -> None:
    """Where the largest values are small, finer floors serve; where they are large, coarser ones, and not a coarser
    step, which the second channel would pay for."""
    steps, spread = StepCodes(np.array([0.1, 1e-3], np.float32), True), Spread(2)
    spread.add(np.linspace(-1, 1, 4001, dtype=np.float32) * np.array([[peak], [0.1]], np.float32) / 4)
    begin = steps.code(1e-3, 0.25)
    best = steps.best(spread, begin)
    assert (level_of(best) < level_of(begin)) == finer and best >> 8 != begin >> 8
    assert np.isclose(step_of(best), step_of(begin))
