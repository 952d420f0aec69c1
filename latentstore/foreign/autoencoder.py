"""The two networks of WaLLoC's checkpoints: residual blocks of convolutions with one layer of attention.

The names of the modules are those of the checkpoints' weights.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Autoencoder"]

GROUPS = 32
EPSILON = 1e-6


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=EPSILON)


class _Residual(nn.Module):
    """Twice: normalise, SiLU, a convolution of 3 x 3; added to what goes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = _norm(width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(functional.silu(self.norm1(x)))
        y = self.conv2(functional.silu(self.norm2(y)))
        return x + y


class _Attention(nn.Module):
    """Every position looks at every other one; added to what goes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.group_norm = _norm(width)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        positions = self.group_norm(x).flatten(2).transpose(1, 2)[:, None]  # (N, 1, h * w, width)
        seen = functional.scaled_dot_product_attention(self.to_q(positions), self.to_k(positions), self.to_v(positions))
        return x + self.to_out[0](seen)[:, 0].transpose(1, 2).reshape(x.shape)


class _Middle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([_Attention(width)])
        self.resnets = nn.ModuleList([_Residual(width), _Residual(width)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class _Stage(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_Residual(width) for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.resnets:
            x = block(x)
        return x


class Autoencoder(nn.Module):
    """One side of the autoencoder: float32 (N, inputs, h, w) to (N, outputs, h, w).

    decoder: whether it is the decoder. The encoder has two blocks before the attention, the decoder three behind it.
    """

    def __init__(self, inputs: int, outputs: int, width: int, decoder: bool) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inputs, width, 3, padding=1)
        self.mid_block = _Middle(width)
        if decoder:
            self.up_blocks = nn.ModuleList([_Stage(width, 3)])
        else:
            self.down_blocks = nn.ModuleList([_Stage(width, 2)])
        self.decoder = decoder
        self.conv_norm_out = _norm(width)
        self.conv_out = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_in(x)
        x = self.up_blocks[0](self.mid_block(x)) if self.decoder else self.mid_block(self.down_blocks[0](x))
        return self.conv_out(functional.silu(self.conv_norm_out(x)))
