"""Step codes: a code says a step, and the code that is chosen loses least."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.codecs.audio.steps import COARSE, HIGHEST_CODE, Spread, StepCodes, step_of

FLOOR = np.array([1e-3, 4e-3, 2e-2], np.float32)


@given(st.integers(1, HIGHEST_CODE))
def test_the_code_of_a_step_is_the_nearest(code: int) -> None:
    steps = StepCodes(True, FLOOR)
    assert steps.code(step_of(code), 1.0) == code
    assert steps.code(step_of(code) * 2**0.05, 1.0) == code


def test_a_relative_step_goes_with_the_level() -> None:
    relative, absolute = StepCodes(True, FLOOR), StepCodes(False, FLOOR)
    assert relative.code(0.5, 0.25) == relative.code(0.125, 1.0)
    assert absolute.code(0.5, 0.25) == absolute.code(0.5, 1.0)
    assert relative.code(0.5, 0.0) == relative.code(0.5, 2.0**-20)


def test_scales_stop_at_the_floors() -> None:
    steps = StepCodes(False, FLOOR)
    for code in range(1, HIGHEST_CODE + 1):
        floor = FLOOR if code & COARSE else FLOOR / 2
        assert (steps.scale(code) >= floor).all()
        assert (steps.scale(code) >= np.float32(step_of(code | COARSE))).all()


@pytest.mark.parametrize("peak", [1.0, 60.0, 3000.0])
def test_the_best_code_loses_least(peak: float) -> None:
    steps, spread = StepCodes(True, FLOOR), Spread(3)
    values = np.random.default_rng(0).laplace(scale=peak / 10, size=(3, 5000)).astype(np.float32)
    spread.add(values)

    def error(code: int) -> float:
        scale = steps.scale(code)[:, None]
        return float(((np.clip(np.rint(values / scale), -127, 127) * scale - values) ** 2).sum())

    best = steps.best(spread, 150)
    # the histogram has eight bins an octave: its estimate is good to some per cent
    assert error(best) <= 1.1 * min(error(code) for code in range(150, HIGHEST_CODE + 1))
