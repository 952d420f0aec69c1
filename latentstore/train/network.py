"""The refinement network in torch, as `codecs.neural.network` is in NumPy, for training.

It works on the positions of the latent and answers in the planes of the packet transform. Those
overlap and are smooth, so blocks do not show, and the last layer needs no neighbours.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from latentstore.codecs.artifact.decoder import NetworkShape
from latentstore.codecs.neural.network import LIMIT

__all__ = ["Block", "Refinement"]


class Block(nn.Module):
    """Two convolutions of 3 x 3, added to what goes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What goes between the two, and the sum."""
        inner = functional.gelu(self.a(x))
        return inner, x + self.b(inner)


class Refinement(nn.Module):
    """A convolution to `width`, `blocks` residual blocks, a convolution to `head`, and a linear map to the planes.

    sigma: standard deviations of the codes, (channels,). deviation: of the answer in units of the step, (planes,).
    A new network answers zero.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.channels = shape.channels
        self.first = nn.Conv2d(2 * shape.channels + 2, shape.width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(shape.width) for _ in range(shape.blocks))
        self.head = nn.Conv2d(shape.width, shape.head, 3, padding=1)
        self.last = nn.Conv2d(shape.head, shape.planes, 1)
        self.sigma: torch.Tensor
        self.deviation: torch.Tensor
        self.register_buffer("sigma", torch.ones(shape.channels))
        self.register_buffer("deviation", torch.ones(shape.planes))
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, codes: torch.Tensor, kept: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """What to add to the planes of the linear synthesis, in units of the step: (n, planes, h, w).

        codes: float (n, channels, h, w), zero from channel `kept` on. kept: float (n,), how many channels are used.
        step: float (n,), the logarithm to base 2 of the step over the step at the default quality.
        """
        return self._stages(codes, kept, step)[-1]

    @torch.no_grad()
    def ranges(self, codes: torch.Tensor, kept: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """The largest magnitude of what goes from each layer to the next, float32 (layers - 1,); as `forward`."""
        return torch.stack([stage.abs().max() for stage in self._stages(codes, kept, step)[:-1]]).float()

    def _stages(self, codes: torch.Tensor, kept: torch.Tensor, step: torch.Tensor) -> list[torch.Tensor]:
        """What goes from each layer to the next, and the answer."""
        z = codes / self.sigma[:, None, None]
        n, _, h, w = z.shape
        told = torch.stack([kept / self.channels, step / 2], 1)[:, :, None, None].expand(n, 2, h, w)
        x = torch.cat([torch.tanh(z), z.clamp(-LIMIT, LIMIT) / 2, told], 1)
        x = self.first(x.contiguous(memory_format=torch.channels_last))
        stages = [x]
        for block in self.blocks:
            inner, x = block(x)
            stages += [inner, x]
        stages.append(functional.gelu(self.head(x)))
        return [*stages, self.last(stages[-1]) * self.deviation[:, None, None]]
