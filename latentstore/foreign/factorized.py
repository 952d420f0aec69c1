"""Convolutions in two factors, each in groups, as LiVeAction's checkpoints have them, and blocks of them.

The names of the modules are those of the checkpoints' weights.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["FactorizedBlock", "FactorizedConv", "GroupNorm8", "gelu"]

GROUPS = 8
EPSILON = 1e-7
SQUEEZE = 4


def gelu(x: torch.Tensor) -> torch.Tensor:
    """GELU by its approximation with tanh."""
    return functional.gelu(x, approximate="tanh")


class GroupNorm8(nn.Module):
    """Normalises eight groups of channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.groupnorm = nn.GroupNorm(GROUPS, width, eps=EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.groupnorm(x)


class FactorizedConv(nn.Module):
    """A convolution in `first` groups, a transposition of groups and members, a convolution in `second` groups."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = False) -> None:
        super().__init__()
        self.first, second = _groups(inputs, outputs)
        padding = (kernel - 1) // 2
        self.conv1 = nn.Conv2d(inputs, inputs, kernel, padding=padding, groups=self.first, bias=bias)
        self.conv2 = nn.Conv2d(inputs, outputs, kernel, padding=padding, groups=second, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        n, c, h, w = x.shape
        x = x.reshape(n, self.first, c // self.first, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.conv2(x)


def _groups(inputs: int, outputs: int) -> tuple[int, int]:
    """The numbers of groups, whose product is `inputs`, with the fewest weights; of equal ones the lowest first."""
    pairs = [(first, inputs // first) for first in range(1, inputs + 1) if inputs % first == 0]
    return min(pairs, key=lambda pair: inputs * inputs / pair[0] + inputs * outputs / pair[1])


class _Weighing(nn.Module):
    """Multiplies every channel by a number from 0 to 1 that the means of all channels decide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_reduce = FactorizedConv(width, width // SQUEEZE, 1, bias=True)
        self.conv_expand = FactorizedConv(width // SQUEEZE, width, 1, bias=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.conv_expand(gelu(self.conv_reduce(means))))


class FactorizedBlock(nn.Module):
    """Two factorized convolutions and a weighing of channels, added to what goes in."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.conv1, self.gn1 = FactorizedConv(width, width, kernel), GroupNorm8(width)
        self.conv2, self.gn2 = FactorizedConv(width, width, kernel), GroupNorm8(width)
        self.se = _Weighing(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = gelu(self.gn1(self.conv1(x)))
        return x + self.se(self.gn2(self.conv2(y)))
