"""Blocks of linear attention and of depthwise convolutions, as LiVeAction's checkpoints have them.

The names of the modules are those of the checkpoints' weights.
"""

from __future__ import annotations

import torch
from torch import nn

from latentstore.foreign.factorized import GroupNorm8, gelu

__all__ = ["AttentionStage"]

HEAD = 32
EXPANSION = 6
EPSILON = 1e-5


class _Layer(nn.Module):
    """A convolution, normalised, with GELU unless it is `linear`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1, bias: bool = False, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
        self.norm = GroupNorm8(outputs)
        self.linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        return x if self.linear else gelu(x)


class _LinearAttention(nn.Module):
    """Attention whose weights are products of positive queries and keys, so that its cost grows with the positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // HEAD * HEAD
        self.qkv = nn.Conv2d(width, 3 * inner, 1, bias=False)
        self.proj = _Layer(inner, width, linear=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, _, h, w = x.shape
        # the weights take turns: query, key, value of a channel stand together
        query, key, value = self.qkv(x).reshape(n, -1, 3, h * w).unbind(2)  # each (n, inner, positions)
        query, key = query.relu(), key.relu()
        summed = key @ value.transpose(1, 2)  # (n, inner, inner)
        seen = summed.transpose(1, 2) @ query
        weight = key.sum(-1, keepdim=True).transpose(1, 2) @ query  # (n, 1, positions)
        return self.proj((seen / (weight + EPSILON)).reshape(n, -1, h, w))


class _Inverted(nn.Module):
    """Wide, depthwise, and narrow again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width * EXPANSION
        self.inverted_conv = _Layer(width, inner, bias=True)
        self.depth_conv = _Layer(inner, inner, 3, groups=inner, bias=True)
        self.point_conv = _Layer(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.point_conv(self.depth_conv(self.inverted_conv(x)))


class _Added(nn.Module):
    """A module's answer, added to what goes in."""

    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.main(x)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.context_module = _Added(_LinearAttention(width))
        self.local_module = _Added(_Inverted(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.local_module(self.context_module(x))


class AttentionStage(nn.Module):
    """Blocks of attention over the whole plane, then of convolutions near each position."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)
