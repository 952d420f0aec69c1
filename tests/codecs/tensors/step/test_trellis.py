"""The choice of residuals along the trellis: the best one there is, and what it comes to on long sequences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from latentstore.codecs.reference.tensors.trellis import SEQUENCE, choose, follow, residual_of

SPIKE = -(1 << 31)


def coded(values: list[int]) -> list[int]:
    """The residuals that a decoder makes of what is coded."""
    state, found = 0, []
    for j in values:
        found.append(j if j == SPIKE else residual_of(j, state % 2))
        state = follow(state, j % 2)
    return found


def split(targets: np.ndarray) -> tuple[list[int], list[int]]:
    whole = np.rint(targets)
    return whole.astype(int).tolist(), np.rint((targets - whole) * 8192).astype(int).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_no_other_choice_is_nearer(seed: int) -> None:
    targets = np.random.default_rng(seed).uniform(-9, 9, 5)
    chosen = choose(*split(targets), None)
    assert coded([j for _, j in chosen]) == [e for e, _ in chosen]
    error = np.square(targets - [e for e, _ in chosen]).sum()
    every = [coded(list(values)) for values in itertools.product(range(-3, 4), repeat=len(targets))]
    # squares have 10 bits behind the point
    assert error <= np.square(np.array(every) - targets).sum(axis=1).min() + 0.01


def test_spikes_are_kept_and_lead_on_as_even_values() -> None:
    rng = np.random.default_rng(1)
    targets = rng.uniform(-40, 40, 300)
    whole, parts = split(targets)
    spikes = rng.random(300) < 0.5
    whole = [SPIKE if spike else w for spike, w in zip(spikes, whole, strict=True)]
    chosen = choose(whole, parts, SPIKE)
    assert coded([j for _, j in chosen]) == [e for e, _ in chosen]
    assert [e == SPIKE for e, _ in chosen] == spikes.tolist()
    assert max(abs(e - t) for (e, _), t in zip(chosen, targets, strict=True) if e != SPIKE) < 4.01


def test_the_error_is_a_decibel_below_that_of_rounding() -> None:
    """Of steps of four, to which as many values of j belong."""
    targets = np.random.default_rng(0).uniform(-400, 400, (8, SEQUENCE))
    error = np.mean([np.square([e for e, _ in choose(*split(t), None)] - t).mean() for t in targets])
    assert 10 * np.log10(16 / 12 / error) > 1.0
