"""What the entropy coder of images spends, and what its optimiser chooses, on batches of crops in torch.

The prices are those of the coder's own tables, in its own contexts (docs/format.md section 6). The kernel chooses the
codes one after another; here all positions are chosen at once, in contexts of the choices before. Most codes are
zero, so what zeros cost decides: their price is right here, where a smooth model of rounded values is far off.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from latentstore.codecs.artifact.parts import BUCKETS, FRACTIONS, SYMBOLS
from latentstore.codecs.image.codec import ImageCodec

__all__ = ["Coder"]

RADIUS, ESCAPE = 31, SYMBOLS - 1
ESCAPE_BITS = 8
LARGEST_MAGNITUDE, LARGEST_CROSS, LARGEST = 15, 32767, 127
UNIT = 1024
# How often codes are chosen anew in the contexts of the last choice; more changes little.
PASSES = 2
CANDIDATES = 3


class _Contexts(NamedTuple):
    """Where each code's prices begin among all prices; what is predicted, and the sign of what is coded."""

    prices: torch.Tensor
    predicted: torch.Tensor
    sign: torch.Tensor


class Coder:
    """The coder of one codec on one device. Tensors are (n, channels, h, w) but where another shape is said.

    band: int64 (n,): which band of steps a crop's quality has, as the codec chooses it.
    """

    def __init__(self, codec: ImageCodec, device: torch.device) -> None:
        self.channels = codec.channels
        bands, tensors = codec.entropy.bands, codec.artifact.tensors

        def weights(name: str, *shape: int) -> torch.Tensor:
            values = tensors[f"entropy.{name}"].reshape(bands, self.channels, *shape)
            return torch.from_numpy(np.ascontiguousarray(values)).to(device, torch.float32)

        group, groups = codec.group_channels, codec.groups
        self._own, self._bias = weights("own", 5), weights("bias")
        cross = weights("cross", group, 2).view(bands, groups, group, group, 2)
        # magnitudes here count four times, as the format has it; a channel sees only those of its group
        whole = torch.zeros(bands, groups, group, 2, groups, group, device=device)
        for g in range(groups):
            whole[:, g, :, 0, g], whole[:, g, :, 1, g] = 4 * cross[:, g, ..., 0], cross[:, g, ..., 1]
        self._cross = whole.view(bands, self.channels, 2 * self.channels)
        predicted = weights("predicted")
        # only the first channels are predicted, all in one group
        self._first = 1 + max(torch.nonzero(predicted.amax(0)).flatten().tolist(), default=-1)
        self._signed_own = weights("signed_own", 4)[:, : self._first] * predicted[:, : self._first, None]
        signed = weights("signed_cross", group, 9)[:, : self._first, : self._first]
        self._signed_cross = (signed * predicted[:, : self._first, None, None]).flatten(2)
        self._table = torch.from_numpy(tensors["entropy.table"].reshape(bands, self.channels, -1).astype(np.int64))
        self._table = self._table.to(device)
        freq = tensors["entropy.freq"].astype(np.float64)
        escaped = freq == 0
        bits = int(codec.artifact.facts["precision"]) - np.log2(np.where(escaped, freq[:, ESCAPE:], freq))
        escaped[:, ESCAPE] = True
        self._prices = torch.from_numpy((bits + ESCAPE_BITS * escaped).astype(np.float32).ravel()).to(device)
        self._rounding = float(codec.artifact.facts["rounding"])
        delta = torch.from_numpy(np.array(codec.artifact.tensors["delta"])).to(device)[..., None, None]
        self._delta, self._delta_beyond = delta.unbind(1)

    @torch.no_grad()
    def choose(
        self, coefficients: torch.Tensor, band: torch.Tensor, lambda_: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """The codes of coefficients in units of their steps.

        lambda_: float32 (n,), squared error that a bit is worth; weight: float32 (n, channels), squared error of a
        unit of each channel.
        """
        size, sign = coefficients.abs(), torch.sign(coefficients)
        top = (size + 0.5 + torch.where(size < 1.5, self._delta, self._delta_beyond)).clamp(0, LARGEST).floor()
        codes = sign * (size + self._rounding).floor().clamp(max=LARGEST)
        for _ in range(PASSES):
            contexts = self._contexts(codes, band)
            best, least = codes, torch.full_like(size, torch.inf)
            for less in range(CANDIDATES):
                number = (top - less).clamp_min(0)
                error = weight[:, :, None, None] * (size - self.rebuilt(number)).square()
                loss = error + lambda_[:, None, None, None] * self._bits(sign * number, contexts)
                best = torch.where(loss < least, sign * number, best)
                least = torch.minimum(loss, least)
            codes = best
        return codes

    @torch.no_grad()
    def bits(self, codes: torch.Tensor, band: torch.Tensor) -> torch.Tensor:
        """What the coder spends on each code."""
        return self._bits(codes, self._contexts(codes, band))

    def rebuilt(self, codes: torch.Tensor) -> torch.Tensor:
        """What codes stand for, in units of their steps."""
        size = codes.abs()
        return torch.sign(codes) * (size - torch.where(size == 1, self._delta, self._delta_beyond))

    def _bits(self, codes: torch.Tensor, contexts: _Contexts) -> torch.Tensor:
        coded = (contexts.sign * (codes - contexts.predicted)).long()
        symbol = torch.where(coded.abs() <= RADIUS, coded + RADIUS, ESCAPE)
        return self._prices[contexts.prices + symbol]

    def _contexts(self, codes: torch.Tensor, band: torch.Tensor) -> _Contexts:
        predicted, sign, level = self._predictions(codes, band)
        sizes = (codes - predicted).abs().clamp(max=LARGEST_MAGNITUDE)
        around = 9 * functional.avg_pool2d(functional.pad(sizes, (1, 1, 1, 1), mode="replicate"), 3, 1) - sizes
        cross = self._cross[band] @ torch.cat([sizes, around], 1).flatten(2)
        context = cross.view_as(sizes).clamp(max=LARGEST_CROSS) + self._bias[band][:, :, None, None]
        for weight, near in zip(self._own[band].unbind(2), _causal(sizes), strict=True):
            context += weight[:, :, None, None] * near
        mantissa, exponent = torch.frexp(context.round().clamp_min(4))
        bucket = (4 * (exponent - 3) + (8 * mantissa).long() - 4).clamp(max=BUCKETS - 1)
        table = torch.gather(self._table[band], 2, (level * BUCKETS + bucket).flatten(2))
        return _Contexts(SYMBOLS * table.view_as(bucket), predicted, sign)

    def _predictions(self, codes: torch.Tensor, band: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What is predicted of each code, the sign of what is coded, and the level of the fraction."""
        first = codes[:, : self._first]
        around = functional.pad(first, (1, 1, 1, 1), mode="replicate")
        places = functional.unfold(around, 3)
        total = (self._signed_cross[band] @ places).view_as(first)
        for weight, near in zip(self._signed_own[band].unbind(2), _causal(first), strict=False):
            total += weight[:, :, None, None] * near
        whole = ((total + UNIT / 2) / UNIT).floor().clamp(-LARGEST, LARGEST)
        fraction = total - UNIT * whole
        level = (fraction.abs() / (UNIT // 8)).floor().clamp(max=FRACTIONS - 1).long()
        beyond = (0, 0, 0, 0, 0, self.channels - self._first)
        sign = functional.pad(torch.where(fraction < 0, -1.0, 1.0), beyond, value=1.0)
        return functional.pad(whole, beyond), sign, functional.pad(level, beyond)


def _causal(planes: torch.Tensor) -> list[torch.Tensor]:
    """Left, up, up-left, up-right, two to the left, by the format's rule at the edges."""
    above = functional.pad(planes[..., :-1, :], (0, 0, 1, 0))
    left = torch.cat([above[..., :1], planes[..., :-1]], -1)
    left2 = torch.cat([left[..., :2], planes[..., :-2]], -1)
    up = torch.cat([left[..., :1, :], planes[..., :-1, :]], -2)
    up_left = torch.cat([up[..., :1], up[..., :-1]], -1)
    up_right = torch.cat([up[..., 1:], up[..., -1:]], -1)
    for one in (up_left, up_right):
        one[..., 0, :] = left[..., 0, :]
    return [left, up, up_left, up_right, left2]
