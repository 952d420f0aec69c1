"""Muon: momentum whose update of every matrix has singular values of about one (Keller Jordan and others, 2024).

A convolution's weight is taken as a matrix of its outputs. Beside Adam, the refinement network here needs about a
third of the steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

__all__ = ["Muon"]

MOMENTUM = 0.95
DECAY = 0.01
# Odd polynomials that drive singular values between 0 and 1 towards 1, applied one after another.
POLYNOMIALS = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)


class Muon(torch.optim.Optimizer):
    """For weights of two axes or more. rate: how far each update goes, in singular values; a tensor of one number."""

    def __init__(self, weights: Iterable[torch.nn.Parameter], rate: torch.Tensor) -> None:
        super().__init__(weights, {"lr": rate})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Updates every weight from its gradient. Matrices of one shape are handled together."""
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - MOMENTUM)
                ahead = weight.grad.lerp(momentum, MOMENTUM).reshape(len(weight), -1)
                alike.setdefault(tuple(ahead.shape), []).append((weight, ahead))
            for pairs in alike.values():
                updates = orthogonal(torch.stack([ahead for _, ahead in pairs]))
                for (weight, _), update in zip(pairs, updates, strict=True):
                    weight.mul_(1 - group["lr"] * DECAY)
                    weight.sub_(update.reshape(weight.shape) * group["lr"])


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (n, rows, columns) with the same singular vectors, and singular values of about one."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    for a, b, c in POLYNOMIALS:
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.mT
