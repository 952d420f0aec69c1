"""The training itself: a network, its average, its optimisers, and one step after another."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.errors import LatentstoreError
from latentstore.train.muon import Muon
from latentstore.train.recipe import Recipe
from latentstore.train.replay import Replay
from latentstore.train.task import Made, Task

__all__ = ["Training"]

WARM_UP = 100
# Of the recipe's rate, which is that of Muon.
ADAM_SHARE = 0.125
# The average remembers about a thousand steps, fewer at the beginning.
AVERAGE = 0.999
EARLY = 10
# The draws of the deviations and of each step are of one seed each, so that a resumed training draws the same.
DEVIATIONS = -1
DEVIATION_CROPS = 256


class Training:
    """The state of one training. step: how many steps are done. average: the weights that are worth keeping.

    The loss is the mean over the crops of the logarithm of what each costs, its squared error. A plain mean is ruled
    by textured crops, whose error nothing can predict.
    """

    rates: ClassVar[int] = 2
    """How many optimisers there are, each with a step size."""

    def __init__(self, recipe: Recipe, task: Task) -> None:
        self.recipe, self.task = recipe, task
        self.device = torch.device(recipe.device)
        torch.manual_seed(recipe.seed)
        network = task.network(self.device)
        task.measure(network, self._sample())
        self.network = network
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        # what changes from step to step lies in tensors, so that a recorded step reads it anew
        self._picked = torch.zeros((recipe.batch, task.columns), dtype=torch.int64, device=self.device)
        self._rates = torch.zeros(self.rates, device=self.device)
        self._keep = torch.zeros((), device=self.device)
        self._gained = torch.zeros(2, device=self.device)
        self.optimisers = self._optimisers(network.named_parameters())
        self._replay = Replay(self._compute, self.device)
        self.step = 0

    def _optimisers(self, weights: Iterable[tuple[str, torch.nn.Parameter]]) -> list[torch.optim.Optimizer]:
        matrices: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, weight in weights:
            if weight.requires_grad:
                (matrices if weight.ndim == 4 and not name.startswith("last.") else others).append(weight)
        return [
            Muon(matrices, self._rates[0]),
            torch.optim.Adam(others, self._rates[1], (0.9, 0.98), capturable=self.device.type == "cuda"),
        ]

    def _draws(self, step: int) -> np.random.Generator:
        return np.random.default_rng([self.recipe.seed, step + 1])

    def _sample(self) -> npt.NDArray[np.int64]:
        """Crops on which the data are measured, always the same."""
        return self.task.draw(self._draws(DEVIATIONS), DEVIATION_CROPS)

    def advance(self, done: float) -> None:
        """One step. done: the share of the training that is over, 0 to 1: the step size falls to zero with it."""
        self._picked.copy_(torch.from_numpy(self.task.draw(self._draws(self.step), len(self._picked))))
        self._set_rates(done)
        self._keep.fill_(1 - min(AVERAGE, (self.step + 1) / (self.step + 1 + EARLY)))
        self._replay()
        self.step += 1

    def _set_rates(self, done: float) -> None:
        share = min(1.0, (self.step + 1) / WARM_UP) * (1 - done)
        self._rates[0], self._rates[1] = self.recipe.rate * share, ADAM_SHARE * self.recipe.rate * share

    def _compute(self) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        costs, before = self.task.costs(self.network, self._picked)
        costs.log().mean().backward()
        self._update()
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, self._keep)
            gain = (10 * torch.log10(before / costs[0])).mean()
            self._gained += torch.stack([gain, torch.ones_like(gain)])

    def _update(self) -> None:
        """Changes the weights by their gradients."""
        for optimiser in self.optimisers:
            optimiser.step()

    def made(self, said: dict[str, Any], final: bool = False) -> Made:
        """What the average network makes; see `Task.made`."""
        return self.task.made(self.average, self._sample(), said, final)

    def gain(self) -> float | None:
        """The mean gain on the crops since the last call, in dB; None if there were none.

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
