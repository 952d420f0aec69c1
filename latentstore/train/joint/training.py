"""The steps of a joint training: those of a decoder, and slower ones of the projection's rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch

from latentstore.train.joint.network import JointNetwork
from latentstore.train.muon import Muon
from latentstore.train.training import Training

__all__ = ["JointTraining"]

# Of the rows: how far a step turns them, in radians, and the share of the training in which it grows to that. Before
# the decoder is of use, what it lacks says nothing of a better projection.
ROWS_RATE = 1e-3
ROWS_WARM_UP = 0.1


class JointTraining(Training):
    """See `Training`; the network is a `JointNetwork`."""

    rates: ClassVar[int] = 3

    def _optimisers(self, weights: Iterable[tuple[str, torch.nn.Parameter]]) -> list[torch.optim.Optimizer]:
        network = self._joint
        others = super()._optimisers(network.refinement.named_parameters())
        return [*others, Muon(network.rows.by_class.values(), self._rates[2])]

    def _set_rates(self, done: float) -> None:
        super()._set_rates(done)
        self._rates[2] = ROWS_RATE * min(1.0, done / ROWS_WARM_UP) * (1 - done)

    def _update(self) -> None:
        rows = self._joint.rows
        rows.flatten_gradients()
        super()._update()
        rows.straighten()

    @property
    def _joint(self) -> JointNetwork:
        assert isinstance(self.network, JointNetwork)
        return self.network
