"""The network that refines audio in torch, as `codecs.neural.folded` is in NumPy, for training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from latentstore.codecs.artifact.folded import FOLD, TOLD, FoldedShape
from latentstore.train.network import Block

__all__ = ["FoldedRefinement"]


class FoldedRefinement(nn.Module):
    """A convolution to `width`, `blocks` residual blocks, and a linear map to the bands.

    shares: float32 (channels, bands), how much of each band the first channels hold. deviation: of the answer in units
    of the step, (bands,). A new network answers zero.
    """

    def __init__(self, shape: FoldedShape, shares: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.shape = shape
        self.first = nn.Conv2d(3 * shape.planes + TOLD, shape.width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(shape.width) for _ in range(shape.blocks))
        self.last = nn.Conv2d(shape.width, shape.planes, 1)
        self.deviation: torch.Tensor
        self.shares: torch.Tensor
        self.places: torch.Tensor
        self.register_buffer("deviation", torch.ones(sum(shape.bands)))
        self.register_buffer("shares", torch.from_numpy(np.ascontiguousarray(shares)), persistent=False)
        self.register_buffer("places", torch.linspace(-1, 1, shape.rows)[:, None].clone(), persistent=False)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, bands: torch.Tensor, kept: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """What the bands of the linear synthesis lack, in units of the step: float (n, bands, t) to the same.

        kept: float (n,), how many channels are used. told: float (n,), as `Bands.told`.
        """
        n, count, t = bands.shape
        rows = self.shape.rows
        share = self.shares[kept.long() - 1][:, :, None].expand(n, count, t)
        place = self.places.expand(n, 1, rows, t)
        facts = torch.stack([kept / len(self.shares), told / 2], 1)[:, :, None, None].expand(n, 2, rows, t)
        folded = [self._folded(one) for one in (torch.tanh(bands), bands.sign() * bands.abs().log1p(), share)]
        x = self.first(torch.cat([*folded, place, facts], 1).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)[1]
        return self._unfolded(self.last(functional.gelu(x))) * self.deviation[:, None]

    def _folded(self, bands: torch.Tensor) -> torch.Tensor:
        """(n, bands, t) to (n, planes, rows, t)."""
        parts = []
        for part in bands.split(self.shape.bands, 1):
            rows = part.unflatten(1, (-1, FOLD)).transpose(1, 2)
            parts.append(functional.pad(rows, (0, 0, 0, self.shape.rows - rows.shape[2])))
        return torch.cat(parts, 1)

    def _unfolded(self, folded: torch.Tensor) -> torch.Tensor:
        parts = folded.split(FOLD, 1)
        return torch.cat(
            [
                part.transpose(1, 2).flatten(1, 2)[:, :count]
                for part, count in zip(parts, self.shape.bands, strict=True)
            ],
            1,
        )
