"""The training itself: a network, its average, its optimisers, and one step after another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from latentstore.codecs.artifact.decoder import NetworkShape
from latentstore.codecs.errors import LatentstoreError
from latentstore.train.batches import Batches
from latentstore.train.crops import Crops
from latentstore.train.muon import Muon
from latentstore.train.network import Refinement
from latentstore.train.recipe import Recipe
from latentstore.train.replay import Replay

__all__ = ["Training"]

WARM_UP = 100
ADAM_RATE = 1e-3
# The average remembers about a thousand steps, fewer at the beginning.
AVERAGE = 0.999
EARLY = 10
# Of an error in squared pixel values, so that flat crops do not rule the logarithm.
LEAST_ERROR = 0.5
# The draws of the deviations and of each step are of one seed each, so that a resumed training draws the same.
DEVIATIONS = -1
DEVIATION_CROPS = 256
# What goes from layer to layer may be so much larger than was seen, before it is limited.
ROOM = 1.5


class Training:
    """The state of one training. step: how many steps are done. average: the weights that are worth keeping.

    The loss is the mean over the crops of the logarithm of each crop's squared error. A plain mean is ruled by
    textured crops, whose error nothing can predict.
    """

    def __init__(self, recipe: Recipe, shape: NetworkShape, crops: Crops) -> None:
        self.recipe, self.shape, self.crops = recipe, shape, crops
        self.device = torch.device(recipe.device)
        torch.manual_seed(recipe.seed)
        self.batches = Batches(crops, recipe.side, self.device)
        network = Refinement(shape).to(self.device)
        self._measure(network)
        self.network = network
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        matrices: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, weight in network.named_parameters():
            (matrices if weight.ndim == 4 and not name.startswith("last.") else others).append(weight)
        # what changes from step to step lies in tensors, so that a recorded step reads it anew
        self._picked = torch.zeros((recipe.batch, 5), dtype=torch.int64, device=self.device)
        self._rates = torch.zeros(2, device=self.device)
        self._keep = torch.zeros((), device=self.device)
        self._gained = torch.zeros(2, device=self.device)
        self.optimisers: list[torch.optim.Optimizer] = [
            Muon(matrices, self._rates[0]),
            torch.optim.Adam(others, self._rates[1], (0.9, 0.98), capturable=self.device.type == "cuda"),
        ]
        self._replay = Replay(self._compute, self.device)
        self.step = 0

    def _draws(self, step: int) -> np.random.Generator:
        return np.random.default_rng([self.recipe.seed, step + 1])

    def _measure(self, network: Refinement) -> None:
        """Sets the deviations of the codes, at least a half, and of what is lacking."""
        picked = self.crops.draw(self._draws(DEVIATIONS), DEVIATION_CROPS, self.recipe.side)
        square = torch.zeros_like(network.deviation)
        for some in np.split(picked, 8):
            lacking = self.batches.batch(torch.from_numpy(some).to(self.device)).lacking
            square += lacking.square().mean((0, 2, 3)) / 8
        network.deviation.copy_(square.sqrt().clamp_min(1e-6))
        codes = torch.from_numpy(np.ascontiguousarray(self.crops.codes[0, ::7])).float()
        network.sigma.copy_(codes.std(0, correction=0).clamp_min(0.5))

    def advance(self, done: float) -> None:
        """One step. done: the share of the training that is over, 0 to 1: the step size falls to zero with it."""
        self._picked.copy_(
            torch.from_numpy(self.crops.draw(self._draws(self.step), len(self._picked), self.recipe.side))
        )
        share = min(1.0, (self.step + 1) / WARM_UP) * (1 - done)
        self._rates[0], self._rates[1] = self.recipe.rate * share, ADAM_RATE * share
        self._keep.fill_(1 - min(AVERAGE, (self.step + 1) / (self.step + 1 + EARLY)))
        self._replay()
        self.step += 1

    def _compute(self) -> None:
        batch = self.batches.batch(self._picked)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, self.recipe.precision == "bfloat16"):
            answer = self.network(batch.codes, batch.kept, batch.told)
        error = self._error(batch.lacking - answer.float(), batch.step)
        loss = (error + LEAST_ERROR).log().mean()
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, self._keep)
            linear = self._error(batch.lacking, batch.step)
            gain = (10 * torch.log10((linear + LEAST_ERROR) / (error + LEAST_ERROR))).mean()
            self._gained += torch.stack([gain, torch.ones_like(gain)])

    def _error(self, lacking: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """The mean squared error of each crop in pixel values, (n,)."""
        weights = self.batches.weights[:, None, None]
        return (lacking.square() * weights).mean((1, 2, 3)) * step.square()

    def ranges(self) -> torch.Tensor:
        """How far what goes from layer to layer reaches in the average network, with room to spare."""
        network = Refinement(self.shape).to(self.device)
        network.load_state_dict(self.average)
        found = torch.zeros(len(self.shape.layers()) - 1, device=self.device)
        picked = self.crops.draw(self._draws(DEVIATIONS), DEVIATION_CROPS, self.recipe.side)
        for some in np.split(picked, 8):
            batch = self.batches.batch(torch.from_numpy(some).to(self.device))
            found = torch.maximum(found, network.ranges(batch.codes, batch.kept, batch.told))
        return found.clamp_min(1e-3) * ROOM

    def gain(self) -> float | None:
        """The mean gain over the linear synthesis on the crops since the last call, in dB; None if there were none.

        LatentstoreError if the loss is not finite.
        """
        total, steps = self._gained.tolist()
        self._gained.zero_()
        if not math.isfinite(total):
            raise LatentstoreError(
                f"The loss is not finite at step {self.step} or shortly before: a lower rate than "
                f"{self.recipe.rate:g} in the recipe may help. The last checkpoint is kept."
            )
        return total / steps if steps else None

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "step": self.step,
            "weights": self.network.state_dict(),
            "average": self.average,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.step = int(state["step"])
        self.network.load_state_dict(state["weights"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        for optimiser, kept, rate in zip(self.optimisers, state["optimisers"], self._rates, strict=True):
            optimiser.load_state_dict(kept)
            for group in optimiser.param_groups:
                group["lr"] = rate
