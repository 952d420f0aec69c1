"""What an artifact of each modality must hold beside what all artifacts hold (docs/format.md section 7).

Each modality has a `Parts`; `PARTS` finds it by the modality's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.modality import AUDIO, IMAGE, MAX_RATE_HZ

__all__ = ["BUCKETS", "FRACTIONS", "NEAR", "PARTS", "SYMBOLS", "TAPS", "Parts", "Shapes", "image_levels"]

FRACTIONS, BUCKETS, SYMBOLS = 4, 64, 64
TAPS = 14
NEAR = 1 << 10
"""Contexts of whether a position holds a value."""

Facts = Mapping[str, Any]
Tensors = Mapping[str, npt.NDArray[Any]]
Shapes = dict[str, tuple[str, tuple[int | None, ...]]]
"""Type and shape of tensors by name; None: any length."""


@dataclass(frozen=True)
class Parts:
    """facts, values: what is wrong with the facts, with the tensors' values; None if nothing is.

    shapes: the tensors, for facts that are right and a number of entropy models.
    """

    facts: Callable[[Facts], str | None]
    shapes: Callable[[Facts, int], Shapes]
    values: Callable[[Facts, Tensors], str | None]


def image_levels(facts: Facts) -> int:
    """Levels of the transform of an image codec: 3 where its artifact does not say it."""
    return int(facts.get("levels", 3))


def _image_facts(facts: Facts) -> str | None:
    if not whole(facts.get("levels", 3), 3, 4):
        return f"levels is {short(facts['levels'])}, not 3 or 4"
    return None


def _image_shapes(facts: Facts, models: int) -> Shapes:
    group = facts["group_channels"]
    return {
        "classes": ("int8", (facts["channels"],)),
        "analysis": ("float32", (None,)),
        "synthesis": ("float32", (None,)),
        "entropy.predicted": ("uint8", (models, group)),
        "entropy.signed_own": ("int32", (models, group, 4)),
        "entropy.signed_cross": ("int32", (models, group, group, 9)),
        "entropy.empty": ("int32", (models, NEAR)),
    }


def _image_values(facts: Facts, tensors: Tensors) -> str | None:
    if (tensors["entropy.predicted"] > 1).any():
        return "entropy.predicted holds values other than 0 and 1"
    return None


def _audio_facts(facts: Facts) -> str | None:
    if not whole(facts.get("inputs"), 1, 16):
        return f"inputs is {short(facts.get('inputs'))}, not 1 to 16"
    if facts.get("relative") is not True:
        return "relative is not true: its steps are not in units of each signal's level, as an early draft had them"
    if not whole(facts.get("hop"), 8, 1024) or facts["hop"] % 2:
        return f"hop is {short(facts.get('hop'))}, not even and 8 to 1024"
    if not whole(facts.get("rate"), 1, MAX_RATE_HZ):
        return f"rate is {short(facts.get('rate'))}, not 1 hertz or more"
    return None


def _audio_shapes(facts: Facts, models: int) -> Shapes:
    channels, group = facts["channels"], facts["group_channels"]
    return {
        "mix": ("float32", (facts["inputs"], facts["inputs"])),
        "source": ("int8", (channels,)),
        "basis": ("float32", (channels, 2 * facts["hop"])),
        "entropy.taps": ("int32", (models, group, TAPS)),
        "entropy.source": ("uint8", (models, group, 2)),
        "entropy.rate": ("uint8", (models, group)),
        "entropy.gain": ("int32", (None, BUCKETS)),
    }


def _audio_values(facts: Facts, tensors: Tensors) -> str | None:
    if not np.isin(tensors["source"], range(facts["inputs"])).all():
        return "source is not one of the inputs"
    return None


PARTS = {
    IMAGE.name: Parts(_image_facts, _image_shapes, _image_values),
    AUDIO.name: Parts(_audio_facts, _audio_shapes, _audio_values),
}
