"""What `images.py` compares: each setting is an input, how it is given to the network, and the network's stem."""

from __future__ import annotations

from benchmarks.support import common  # noqa: F401  # isort: skip  (before numpy)

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.learning.inputs import POSITIONS, Input, undoing
from benchmarks.learning.networks import Layer, Networks
from benchmarks.learning.training import Begun
from benchmarks.learning.views import Dressing, Views

BANDS = 192
"""Of the packet transform of three colours: what a first layer makes that undoes the projection."""
EQUAL, LATENTS, LOST = "equal inputs", "what makes latents learn", "what the codec loses"
"""The tables."""

PLAIN, AS_THEY_ARE = Dressing(), Dressing(unit=False)
WITH, DROPPED = Dressing(magnitudes=True), Dressing(magnitudes=True, dropped=0.15)
FOLDED, COSINES = Dressing(folded="pixels"), Dressing(folded="cosines", magnitudes=True)


@dataclass(frozen=True)
class Setting:
    """One row. first: a layer of 1 x 1 before the stem, of 192 channels, whose weights begin as the codec's
    "synthesis" or at "random". against: the row that this one is compared with."""

    table: str
    name: str
    input: Input
    dressing: Dressing
    first: str = ""
    against: str = ""

    def networks(self, views: Views, classes: int, width: int) -> Networks:
        """Of a width: the channels that the stem gives."""
        return Networks(self._stem(views.depth, width), classes, self.input.length < POSITIONS)

    def begun(self, views: Views) -> Begun:
        """What is done to the networks' weights before they are trained."""

        def nothing(weights: Tensor) -> None:
            pass

        def synthesis(weights: Tensor) -> None:
            matrix = torch.zeros(views.depth, BANDS)
            matrix[: views.plain] = torch.from_numpy(undoing(views.plain)) * views.deviations.cpu()[:, None]
            weights[:, : matrix.numel()] = matrix.flatten()

        return synthesis if self.first == "synthesis" else nothing

    def _stem(self, depth: int, width: int) -> list[Layer]:
        length = self.input.length
        if self.first:
            return [Layer(depth, BANDS, side=1), Layer(BANDS, width)]
        if self.dressing.folded or length <= POSITIONS:
            return [Layer(depth, width)]
        if not self.input.reduced:
            return [Layer(depth, width, stride=2)]
        if length == 2 * POSITIONS:
            return [Layer(3, 32), Layer(32, width, stride=2)]
        if length == 4 * POSITIONS:
            return [Layer(3, 32, stride=2), Layer(32, width, stride=2)]
        return [Layer(3, 24, stride=2), Layer(24, 48, stride=2), Layer(48, width, stride=2)]


def _pixels(reduced: int, channels: int = 0) -> Input:
    return Input(128, channels, reduced)


PIXELS_32, PIXELS_64, PIXELS_128 = "pixels 32 x 32", "pixels 64 x 64", "pixels 128 x 128"
LATENTS_12, LATENTS_48 = "latents 128 px, 12 channels", "latents 128 px, 48 channels"
SETTINGS = (
    Setting(EQUAL, PIXELS_32, _pixels(32), PLAIN),
    Setting(EQUAL, f"{LATENTS_12}, magnitudes", Input(128, 12), WITH, against=PIXELS_32),
    Setting(EQUAL, LATENTS_12, Input(128, 12), PLAIN, against=PIXELS_32),
    Setting(EQUAL, f"{PIXELS_32}, folded", _pixels(32), FOLDED, against=PIXELS_32),
    Setting(EQUAL, f"{PIXELS_32}, folded, cosines and magnitudes", _pixels(32), COSINES, against=PIXELS_32),
    Setting(EQUAL, PIXELS_64, _pixels(64), PLAIN),
    Setting(EQUAL, f"{LATENTS_48}, magnitudes", Input(128, 48), WITH, against=PIXELS_64),
    Setting(EQUAL, LATENTS_48, Input(128, 48), PLAIN, against=PIXELS_64),
    Setting(EQUAL, f"{PIXELS_64}, folded", _pixels(64), FOLDED, against=PIXELS_64),
    Setting(EQUAL, f"{PIXELS_64}, folded, cosines and magnitudes", _pixels(64), COSINES, against=PIXELS_64),
    Setting(EQUAL, "latents 256 px, 12 channels, magnitudes", Input(256, 12), WITH, against=PIXELS_64),
    Setting(EQUAL, "latents 256 px, 3 channels, magnitudes", Input(256, 3), WITH, against=PIXELS_32),
    Setting(EQUAL, "latents 64 px, 48 channels, magnitudes", Input(64, 48), WITH, against=PIXELS_32),
    *(
        setting
        for latents, one in ((LATENTS_12, Input(128, 12)), (LATENTS_48, Input(128, 48)))
        for setting in (
            Setting(LATENTS, f"{latents}, codes as they are", one, AS_THEY_ARE, against=latents),
            Setting(LATENTS, f"{latents}, the first layer undoes the projection", one, PLAIN, "synthesis", latents),
            Setting(LATENTS, f"{latents}, magnitudes, the same layer first", one, WITH, "synthesis", latents),
            Setting(LATENTS, f"{latents}, magnitudes, that layer at random", one, WITH, "random", latents),
            Setting(LATENTS, f"{latents}, magnitudes, channels dropped", one, DROPPED, against=latents),
        )
    ),
    Setting(LOST, f"{PIXELS_32}, of 12 channels decoded", _pixels(32, 12), PLAIN, against=PIXELS_32),
    Setting(LOST, f"{PIXELS_32}, of 48 channels decoded", _pixels(32, 48), PLAIN, against=PIXELS_32),
    Setting(LOST, PIXELS_128, _pixels(128), PLAIN, against=PIXELS_64),
    Setting(LOST, f"{PIXELS_128}, of 48 channels decoded", _pixels(128, 48), PLAIN, against=PIXELS_128),
    Setting(LOST, f"{PIXELS_128}, of 12 channels decoded", _pixels(128, 12), PLAIN, against=PIXELS_128),
)
