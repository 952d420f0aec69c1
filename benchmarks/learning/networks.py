"""Many small convolutional networks of one shape, trained at once: each layer is one matrix product for all of them.

A network is a *stem*, which differs with the input, and a *trunk*, which is the same for all. Values are
(networks, images, rows, columns, channels); the weights of all networks are one array (networks, weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TRUNK = (64, 128)
"""Channels of the trunk, at 8 x 8 and at 4 x 4 positions."""
DROPOUT = 0.2
"""Of what the head sees."""
_SMALL = 1e-5


@dataclass(frozen=True)
class Layer:
    """A convolution of 1 x 1 or 3 x 3, normalised over the batch, and perhaps cut off below zero."""

    inputs: int
    outputs: int
    side: int = 3
    stride: int = 1

    @property
    def weights(self) -> int:
        return self.side**2 * self.inputs * self.outputs


class Networks:
    """The shape of the networks. stem: its layers; the last gives 16 x 16 positions, or 8 x 8 (then small)."""

    def __init__(self, stem: Sequence[Layer], classes: int, small: bool = False) -> None:
        a, b = TRUNK
        narrow = Layer(stem[-1].outputs, a, stride=1 if small else 2)
        self.stem = len(stem)
        self.layers = (*stem, narrow, Layer(a, a), Layer(a, a), Layer(a, b, stride=2), Layer(b, b), Layer(b, b))
        self.head = b, classes
        self.sizes = [size for layer in self.layers for size in (layer.weights, layer.outputs, layer.outputs)]
        self.sizes += [b * classes, classes]

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Weights before training, (networks, weights): He's for convolutions, drawn by each network's seed."""
        return torch.stack([self._start(torch.Generator().manual_seed(seed)) for seed in seeds])

    def _start(self, generator: torch.Generator) -> Tensor:
        parts = []
        for layer in self.layers:
            spread = (2 / (layer.side**2 * layer.inputs)) ** 0.5
            parts += [torch.randn(layer.weights, generator=generator) * spread]
            parts += [torch.ones(layer.outputs), torch.zeros(layer.outputs)]
        spread = self.head[0] ** -0.5
        parts += [torch.randn(self.sizes[-2], generator=generator) * spread, torch.zeros(self.sizes[-1])]
        return torch.cat(parts)

    def decayed(self) -> Tensor:
        """1 for each weight that decays, those of convolutions and of the head, and 0 for the others."""
        kinds = [1.0, 0.0, 0.0] * len(self.layers) + [1.0, 0.0]
        return torch.cat([torch.full((size,), kind) for size, kind in zip(self.sizes, kinds, strict=True)])

    def __call__(self, x: Tensor, weights: Tensor, statistics: Statistics, training: bool = False) -> Tensor:
        """Logits (networks, images, classes)."""
        parts = iter(torch.split(weights.to(x.dtype), self.sizes, 1))
        layers = iter(self.layers)

        def layer(x: Tensor) -> Tensor:
            shape = next(layers)
            matrix = next(parts).view(-1, shape.side**2 * shape.inputs, shape.outputs)
            x = convolved(x, matrix, shape.side, shape.stride)
            return statistics.normalised(x, next(parts), next(parts))

        for _ in range(self.stem):
            x = functional.relu(layer(x))
        for _ in TRUNK:
            x = functional.relu(layer(x))
            x = functional.relu(x + layer(functional.relu(layer(x))))
        x = functional.dropout(x.mean((2, 3)), DROPOUT, training)
        matrix, bias = next(parts).view(-1, *self.head), next(parts)
        return torch.baddbmm(bias[:, None], x, matrix).float()


class Statistics:
    """Mean and variance of each channel of each layer: of the batch itself, or as they were in an earlier one."""

    def __init__(self) -> None:
        self._known: list[tuple[Tensor, Tensor]] = []
        self._next: int | None = None

    def fixed(self) -> Statistics:
        """From now on as they were in the only batch so far."""
        self._next = 0
        return self

    def normalised(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        if self._next is None:
            variance, mean = torch.var_mean(x, (1, 2, 3), correction=0)
            if not torch.is_grad_enabled():
                self._known.append((variance, mean))
        else:
            variance, mean = self._known[self._next]
            self._next = (self._next + 1) % len(self._known)
        scale = gain * torch.rsqrt(variance + _SMALL)
        return torch.addcmul((bias - mean * scale)[:, None, None, None], x, scale[:, None, None, None])


def convolved(x: Tensor, matrix: Tensor, side: int, stride: int) -> Tensor:
    """A convolution for each network: x (e, b, h, w, c), matrix (e, side * side * c, outputs); zeros around x."""
    if side == 1:
        return torch.bmm(x.flatten(1, 3), matrix).unflatten(1, x.shape[1:4])
    made: Tensor = _Convolution.apply(x, matrix, stride)
    return made


class _Convolution(torch.autograd.Function):
    """3 x 3, as the product of a matrix of all neighbourhoods: that is one call for all networks, on every device."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, stride: int) -> Tensor:
        around, shape = _neighbourhoods(x, stride)
        ctx.save_for_backward(around, matrix)
        ctx.shape, ctx.stride, ctx.out = x.shape, stride, shape
        return torch.bmm(around, matrix).unflatten(1, shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None]:
        around, matrix = ctx.saved_tensors
        flat = gradients[0].flatten(1, 3)
        of_matrix = torch.bmm(around.transpose(1, 2), flat)
        if not ctx.needs_input_grad[0]:
            return None, of_matrix, None
        if ctx.stride == 1:  # a convolution, too, with the matrix turned round
            turned = matrix.unflatten(1, (3, 3, -1)).flip(1, 2).transpose(3, 4).flatten(1, 3)
            around, shape = _neighbourhoods(gradients[0], 1)
            return torch.bmm(around, turned).unflatten(1, shape), of_matrix, None
        e, b, h, w, c = ctx.shape
        _, rows, columns = ctx.out
        taps = torch.bmm(flat, matrix.transpose(1, 2)).view(e, b, rows, columns, 9, c)
        of_x = flat.new_zeros((e, b, h + 2, w + 2, c), dtype=torch.float32)
        for tap in range(9):
            top, left = divmod(tap, 3)
            last_row, last_column = top + ctx.stride * (rows - 1) + 1, left + ctx.stride * (columns - 1) + 1
            of_x[:, :, top : last_row : ctx.stride, left : last_column : ctx.stride] += taps[..., tap, :]
        return of_x[:, :, 1:-1, 1:-1].to(flat.dtype), of_matrix, None


def _neighbourhoods(x: Tensor, stride: int) -> tuple[Tensor, tuple[int, int, int]]:
    """(e, b * rows * columns, 9 * c), and (b, rows, columns)."""
    e, b, h, w, c = x.shape
    padded = functional.pad(x, (0, 0, 1, 1, 1, 1))
    rows, columns = (h + stride - 1) // stride, (w + stride - 1) // stride
    network, image, row, column, channel = padded.stride()
    view = padded.as_strided(
        (e, b, rows, columns, 3, 3, c), (network, image, row * stride, column * stride, row, column, channel)
    )
    return view.reshape(e, b * rows * columns, 9 * c), (b, rows, columns)
