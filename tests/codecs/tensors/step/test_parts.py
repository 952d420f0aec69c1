"""The parts of a coding by steps, as they come from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from step_tensors.correlated import tensor, tensors

from latentstore.codecs.errors import CorruptError
from latentstore.codecs.tensors.step.coding import StepCoding

Parts = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def coding() -> StepCoding:
    return StepCoding.fit(tensors(4, (3, 12, 12)), channel_axis=0, snr=30)


def test_parts_give_the_coding_back(coding: StepCoding) -> None:
    again = StepCoding.of(coding.parts(), "here")
    values = tensor((3, 12, 12), 0, 8)
    assert again.encode([values])[0] == coding.encode([values])[0]
    assert again.channel_axis == 0


def put(name: str, where: Any, value: Any) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        parts[name] = parts[name].copy()
        parts[name][where] = value

    return change


def tap(parts: Parts, name: str, value: Any) -> None:
    """Changes the first tap of the last channel, which other channels and positions of its own are known to."""
    first = int(parts["tap_count"][:-1].sum(dtype=int))
    assert parts["tap_count"][-1, 0] > 0
    put(name, first, value)(parts)


CHANGES: dict[str, Callable[[Parts], Any]] = {
    "missing": lambda p: p.pop("means"),
    "more": lambda p: p.update(other=np.zeros(1)),
    "type": lambda p: p.update(steps=p["steps"].astype(np.float64)),
    "rank": lambda p: p.update(steps=p["steps"][None]),
    "channels": lambda p: p.update(means=p["means"][:-1]),
    "none": lambda p: p.update({n: a[:0] for n, a in p.items() if n not in ("frequencies", "channel_axis")}),
    "taps": lambda p: p.update(tap_weight=p["tap_weight"][:-1]),
    "fewer taps": lambda p: p.update({n: p[n][:-1] for n in ("tap_weight", "tap_back", "tap_shift")}),
    "more taps than counted": put("tap_count", (0, 0), 3),
    "too many taps": put("tap_count", (2, 3), 255),
    "axis": put("channel_axis", 0, -1),
    "step 0": put("steps", 1, 0),
    "step below 0": put("steps", 1, -1),
    "step NaN": put("steps", 1, np.nan),
    "step infinite": put("steps", 1, np.inf),
    "back": lambda p: tap(p, "tap_back", 3),
    "far back": lambda p: tap(p, "tap_back", 65535),
    "own position": lambda p: (tap(p, "tap_back", 0), tap(p, "tap_shift", (0, 0))),
    "own later phase": lambda p: (tap(p, "tap_back", 0), tap(p, "tap_shift", (1, 1))),
    "far shift": lambda p: tap(p, "tap_shift", (2, 0)),
    "far shift left": lambda p: tap(p, "tap_shift", (0, -128)),
    "sum of weights": put("tap_weight", slice(None), 32767),
    "sum of activities": put("activity", (1, 2), 20000),
    "spike": put("spiked", 1, 2),
    "fine": put("fine", 1, 2),
    "spike with a mean": lambda p: (put("spiked", 1, 1)(p), put("means", 1, 5)(p)),
    "bias": put("activity_bias", (0, 0), -1),
    "large bias": put("activity_bias", (0, 0), 1 << 30),
    "sum of frequencies": put("frequencies", (0, 5, 32), 1),
    "large frequency": put("frequencies", (1, 5, 32), 65535),
    "no escape": put("frequencies", (1, 7), np.eye(64, dtype=np.uint16)[32] * 2048),
}


@pytest.mark.parametrize("change", CHANGES)
def test_bad_parts_are_refused(coding: StepCoding, change: str) -> None:
    parts = coding.parts()
    CHANGES[change](parts)
    with pytest.raises(CorruptError, match=r"shard 7\.safetensors"):
        StepCoding.of(parts, "shard 7.safetensors")


def test_any_bytes_of_parts_are_refused_or_work(coding: StepCoding) -> None:
    rng = np.random.default_rng(1)
    values = tensor((3, 12, 12), 0, 8)
    worked = 0
    for _ in range(300):
        parts = coding.parts()
        name = list(parts)[rng.integers(len(parts))]
        raw = bytearray(parts[name].tobytes())
        raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        parts[name] = np.frombuffer(bytes(raw), parts[name].dtype).reshape(parts[name].shape)
        try:
            again = StepCoding.of(parts, "there")
        except CorruptError:
            continue
        if again.channel_axis == 0 and (values / again.steps[:, None, None] < 1e9).all():
            again.encode([values])[0]
            worked += 1
    assert worked
