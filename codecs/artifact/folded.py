"""The shape of the networks that refine audio (docs/learned/decoders.md).

Four neighbouring bands of a mixed signal are the planes of one position, so that the network slides along frequencies
as it does along time: a tone of four bands higher has the same signs from instant to instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.artifact.container import Array

__all__ = ["FOLD", "TOLD", "FoldedShape", "problem_of_floats", "problem_of_folded"]

FOLD = 4
"""Bands of a mixed signal that share a position."""
TOLD = 3
"""Planes of the input beside those of the bands: the place among the bands, the number of channels, the step."""
# Bounds of what a file may ask for, far above what is trained.
MOST = {"channels": 1024, "width": 512, "blocks": 32}
MOST_BANDS, MOST_SIGNALS = 1024, 16


@dataclass(frozen=True)
class FoldedShape:
    """channels: of the latent. bands: how many of each mixed signal are refined, from the lowest on. width, blocks:
    see `codecs.neural.folded`."""

    channels: int
    bands: tuple[int, ...]
    width: int
    blocks: int

    @classmethod
    def of(cls, network: Mapping[str, Any]) -> FoldedShape:
        """Of the checked facts of a file."""
        return cls(network["channels"], tuple(network["bands"]), network["width"], network["blocks"])

    @property
    def rows(self) -> int:
        """Positions of one instant."""
        return max(self.bands) // FOLD

    @property
    def planes(self) -> int:
        """Bands of one position, of all mixed signals."""
        return FOLD * len(self.bands)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the network's tensors by name."""
        found: dict[str, tuple[int, ...]] = {"deviation": (sum(self.bands),)}
        layers = {"first": (self.width, 3 * self.planes + TOLD, 3)}
        for block in range(self.blocks):
            layers |= {f"blocks.{block}.{part}": (self.width, self.width, 3) for part in "ab"}
        layers["last"] = (self.planes, self.width, 1)
        for name, (outputs, inputs, side) in layers.items():
            found |= {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}
        return found

    @property
    def operations(self) -> int:
        """Multiplications with addition for one instant of the latent."""
        weights = (int(np.prod(shape)) for name, shape in self.tensors().items() if name.endswith(".weight"))
        return self.rows * sum(weights)


def problem_of_folded(network: Mapping[str, Any]) -> str | None:
    """What is wrong with the facts of a network, or None."""
    if set(network) != {*MOST, "bands"}:
        return f"network is {short(network)}, not an object of {', '.join((*MOST, 'bands'))}"
    for key, most in MOST.items():
        if not whole(network[key], 0 if key == "blocks" else 1, most):
            return f"{key} of its network is {short(network[key])}, not a whole number to {most}"
    bands = network["bands"]
    if not isinstance(bands, list) or not 1 <= len(bands) <= MOST_SIGNALS:
        return f"bands of its network is {short(bands)}, not a list of 1 to {MOST_SIGNALS} numbers"
    if not all(whole(one, FOLD, MOST_BANDS) and one % FOLD == 0 for one in bands):
        return f"bands of its network is {short(bands)}, not multiples of {FOLD} to {MOST_BANDS}"
    return None


def problem_of_floats(shape: FoldedShape, tensors: Mapping[str, Array]) -> str | None:
    """What is wrong with the tensors of a network, which has all that its shape names, or None."""
    for name, expected in shape.tensors().items():
        tensor = tensors[name]
        if tensor.dtype not in (np.float16, np.float32) or tensor.shape != expected:
            return f"{name} is {tensor.dtype} {tensor.shape}, not float16 or float32 {expected}"
        if not np.isfinite(tensor).all():
            return f"{name} holds values that are not finite"
    return None
