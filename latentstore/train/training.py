"""The training itself: a network, its average, its optimisers, and one step after another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from latentstore.codecs.artifact.decoder import NetworkShape
from latentstore.codecs.errors import LatentstoreError
from latentstore.train.crops import Crops
from latentstore.train.muon import Muon
from latentstore.train.network import Refinement
from latentstore.train.recipe import Recipe

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


class Training:
    """The state of one training. step: how many steps are done. average: the weights that are worth keeping.

    The loss is the mean over the crops of the logarithm of each crop's squared error. A plain mean is ruled by
    textured crops, whose error nothing can predict.
    """

    def __init__(self, recipe: Recipe, shape: NetworkShape, crops: Crops) -> None:
        self.recipe, self.shape, self.crops = recipe, shape, crops
        self.device = torch.device(recipe.device)
        torch.manual_seed(recipe.seed)
        network = Refinement(shape)
        sigma, deviation = crops.deviations(self._draws(DEVIATIONS), recipe.side)
        network.sigma.copy_(torch.from_numpy(sigma))
        network.deviation.copy_(torch.from_numpy(deviation))
        self.network = network.to(self.device)
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        matrices: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, weight in self.network.named_parameters():
            (matrices if weight.ndim == 4 and not name.startswith("last.") else others).append(weight)
        self.optimisers: list[torch.optim.Optimizer] = [
            Muon(matrices, recipe.rate),
            torch.optim.Adam(others, ADAM_RATE, (0.9, 0.98)),
        ]
        self.rates = [recipe.rate, ADAM_RATE]
        self.step = 0

    def _draws(self, step: int) -> np.random.Generator:
        return np.random.default_rng([self.recipe.seed, step + 1])

    def advance(self, done: float) -> float:
        """One step; returns the mean gain over the linear synthesis on its crops, in dB.

        done: the share of the training that is over, 0 to 1: the step size falls to zero with it.
        LatentstoreError if the loss is not finite.
        """
        batch = self.crops.batch(self._draws(self.step), self.recipe.batch, self.recipe.side)
        codes, lacking, kept, told, step = (
            torch.from_numpy(part).to(self.device)
            for part in (batch.codes, batch.lacking, batch.kept, batch.told, batch.step)
        )
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            optimiser.zero_grad(set_to_none=True)
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (self.step + 1) / WARM_UP) * (1 - done)
        with torch.autocast(self.device.type, torch.bfloat16, self.recipe.precision == "bfloat16"):
            answer = self.network(codes, kept, told)
        square = step.square()
        error = (lacking - answer.float()).square().mean((1, 2, 3)) * square
        loss = (error + LEAST_ERROR).log().mean()
        if not math.isfinite(loss.item()):
            raise LatentstoreError(
                f"The loss is not finite at step {self.step + 1}: a lower rate than {self.recipe.rate:g} in the recipe "
                "may help. The last checkpoint is kept."
            )
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        keep = min(AVERAGE, self.step / (self.step + EARLY))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
            linear = lacking.square().mean((1, 2, 3)) * square
            return float((10 * torch.log10((linear + LEAST_ERROR) / (error + LEAST_ERROR))).mean())

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
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
