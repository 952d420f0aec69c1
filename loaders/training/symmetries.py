"""Flips and quarter turns of a batch of latents, each sample by a symmetry of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from latentstore.codecs.codec import Codec
from latentstore.codecs.image.symmetry import SYMMETRIES


class Symmetries:
    """Flips and turns batches. Each symmetry that occurs takes one gather and one multiplication.

    codec, channels: of the latents. numbers: the symmetries that may occur, as positions in ``SYMMETRIES``.
    ArgumentError with the reason if the codec does not have one of them.
    """

    def __init__(self, codec: Codec, channels: int, numbers: Sequence[int]) -> None:
        self._moves = {number: codec.symmetry(SYMMETRIES[number], channels) for number in numbers}
        self._signs = {
            number: np.where(move.negative, -1, 1).astype(np.int8)[:, None, None]
            for number, move in self._moves.items()
        }

    def __call__(self, latents: Any, which: np.ndarray) -> Any:
        """New latents: sample i is changed by symmetry which[i]; which: int64 (b,).

        latents: a tensor (b, c, h, w) of int8 or floats, on any device; h = w if a symmetry transposes. Or a list of
        tensors int8 (c, h, w), which becomes a list.
        """
        if isinstance(latents, list):
            pairs = zip(latents, which.tolist(), strict=True)
            return [torch.from_numpy(self._one(latent.numpy(), number)) for latent, number in pairs]
        if latents.dtype == torch.int8 and latents.device.type == "cpu":
            return torch.from_numpy(self.in_memory(latents.numpy(), which))
        return self.on_device(latents, which)

    def in_memory(self, latents: np.ndarray, which: np.ndarray) -> np.ndarray:
        """`on_device` for arrays int8, in less than half of its time on a CPU."""
        out, planes = latents.copy(), latents.reshape(-1, *latents.shape[2:])
        for number, rows in self._groups(which):
            part = np.take(planes, self._planes(number, rows), axis=0).reshape(-1, *latents.shape[1:])
            out[rows] = self._turned(part, number)
        return out

    def on_device(self, latents: torch.Tensor, which: np.ndarray) -> torch.Tensor:
        """`__call__` for a tensor of any type on any device."""
        out, planes = latents.clone(), latents.reshape(-1, *latents.shape[2:])
        for number, rows in self._groups(which):
            move, device = self._moves[number], latents.device
            at = torch.from_numpy(self._planes(number, rows)).to(device)
            part = planes.index_select(0, at).view(-1, *latents.shape[1:])
            if move.transpose:
                part = part.transpose(2, 3)
            part = part.flip([axis for axis, flipped in ((2, move.flip_v), (3, move.flip_h)) if flipped])
            sign = torch.from_numpy(self._signs[number]).to(device)
            out.index_copy_(0, torch.from_numpy(rows).to(device), part * sign)
        return out

    def _groups(self, which: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(a symmetry, the rows that it changes), for all but the identity."""
        for number in np.unique(which).tolist():
            if SYMMETRIES[number] != "identity":
                yield number, np.flatnonzero(which == number)

    def _planes(self, number: int, rows: np.ndarray) -> np.ndarray:
        """The planes, of all in a batch, that those of `rows` are made of."""
        source = self._moves[number].source
        return (rows[:, None] * len(source) + source).reshape(-1)

    def _one(self, latent: np.ndarray, number: int) -> np.ndarray:
        return self._turned(latent[None, self._moves[number].source], number)[0]

    def _turned(self, latents: np.ndarray, number: int) -> np.ndarray:
        """Latents (n, c, h, w) whose channels are in place already."""
        move = self._moves[number]
        if move.transpose:
            latents = latents.swapaxes(2, 3)
        return latents[:, :, :: -1 if move.flip_v else 1, :: -1 if move.flip_h else 1] * self._signs[number]
