"""From the array of an input to what a network sees of it: cut out, turned, scaled, magnitudes beside it."""

from __future__ import annotations

from benchmarks.support import common  # noqa: F401  # isort: skip  (before numpy)

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.learning.inputs import MARGIN, POSITIONS, WHOLE, Input, Int8s, symmetries


@dataclass(frozen=True)
class Dressing:
    """How the values of an input are given to a network.

    folded: pixels side by side become channels, until there are 16 x 16 positions; "cosines": and their cosine
    transform is taken, 2 x 2 or 4 x 4. unit: each channel is divided by its deviation over the training images.
    magnitudes: log(1 + 2 |x|) beside every channel x that is no mean. dropped: the share of channels that are set to
    zero, drawn for each image in training.
    """

    folded: str = ""
    unit: bool = True
    magnitudes: bool = False
    dropped: float = 0.0


class Views:
    """What networks see of one input. Everything stays on one device, and the values are of one type."""

    def __init__(
        self, one: Input, array: Int8s, training: np.ndarray, dressing: Dressing, device: str, kind: torch.dtype
    ) -> None:
        self._one, self._dressing, self._kind = one, dressing, kind
        self._array = torch.from_numpy(array).flatten(1, 2).to(device)
        self._places, self._channels, signs = (torch.from_numpy(each).to(device) for each in symmetries(one))
        self._signs = signs.to(kind)
        fold = one.length // POSITIONS if dressing.folded else 1
        self.plain, self._means = one.depth * fold**2, 3 if one.reduced else 1
        """Channels without the magnitudes; those of them that are means come first."""
        self._matrix = _cosines(fold).to(device, kind) if dressing.folded == "cosines" else None
        rows = torch.from_numpy(np.flatnonzero(training)).to(device)
        self._scale = torch.ones(self.plain, dtype=kind, device=device)
        self._shift = torch.zeros_like(self._scale)
        if dressing.unit:
            values = self._plain(*self._middle(rows[None])).flatten(0, 3).float()
            one_sign = torch.ones(self.plain, device=device) if one.reduced else (signs > 0).all(0).float()
            self._scale = values.std(0).clamp_min(1e-3).reciprocal().to(kind)
            self._shift = (values.mean(0) * one_sign).to(kind)
        self._level = torch.zeros((), dtype=kind, device=device)
        if dressing.magnitudes:
            x = self._unit(self._plain(*self._middle(rows[None])))
            self._level = self._magnitudes(x).float().mean((0, 1, 2, 3)).to(kind)

    @property
    def device(self) -> torch.device:
        return self._array.device

    @property
    def deviations(self) -> Tensor:
        """Of the channels without magnitudes: what they were divided by, (plain,)."""
        return self._scale.float().reciprocal()

    @property
    def depth(self) -> int:
        """Channels that a network sees, the magnitudes with them."""
        return self.plain * 2 - self._means if self._dressing.magnitudes else self.plain

    def centred(self, rows: Tensor) -> Tensor:
        """The images of these rows, (networks, images), cut out of the middle."""
        return self._dressed(self._plain(*self._middle(rows)))

    def drawn(self, rows: Tensor, offsets: Tensor, turns: Tensor) -> Tensor:
        """(networks, images, side, side, depth), with channels dropped.

        rows: of the images, (networks, images). offsets: (networks, images, 2): where they are cut out, in positions of
        a latent of 128 px, 0 to 4. turns: (networks, images): by which of the eight symmetries.
        """
        return self._dressed(self._plain(rows, offsets, turns), self._dressing.dropped)

    def _middle(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        middle = torch.full((*rows.shape, 2), MARGIN // 2, device=rows.device)
        return rows, middle, torch.zeros_like(rows)

    def _plain(self, rows: Tensor, offsets: Tensor, turns: Tensor) -> Tensor:
        length, width = self._one.length, self._one.length * WHOLE // POSITIONS
        moved = torch.div(offsets * length, POSITIONS, rounding_mode="floor")
        places = self._places[turns] + (moved[..., 0] * width + moved[..., 1])[..., None]
        codes = self._array[rows[..., None, None], places[..., None], self._channels[turns][..., None, :]]
        x = (codes.to(self._kind) * self._signs[turns][..., None, :]).unflatten(2, (length, length))
        if self._dressing.folded:
            x = x.unflatten(3, (POSITIONS, -1)).unflatten(2, (POSITIONS, -1)).transpose(3, 4).flatten(4)
        return x if self._matrix is None else x @ self._matrix

    def _unit(self, x: Tensor) -> Tensor:
        return (x - self._shift) * self._scale

    def _magnitudes(self, x: Tensor) -> Tensor:
        return torch.log1p(2 * x[..., self._means :].abs())

    def _dressed(self, x: Tensor, dropped: float = 0.0) -> Tensor:
        x = self._unit(x)
        seen = [x, 2 * (self._magnitudes(x) - self._level)] if self._dressing.magnitudes else [x]
        if dropped:
            kept = (torch.rand((*x.shape[:2], 1, 1, self.plain), device=x.device) >= dropped).to(x.dtype)
            seen = [each * kept[..., -each.shape[-1] :] for each in seen]
        return torch.cat(seen, -1)


def _cosines(fold: int) -> Tensor:
    """The orthonormal cosine transform of fold x fold pixels of three colours, (3 * fold**2, 3 * fold**2)."""
    places = np.arange(fold)
    rows = np.cos(np.pi * places[:, None] * (places + 0.5) / fold) * np.sqrt(np.where(places[:, None] > 0, 2, 1) / fold)
    return torch.from_numpy(np.kron(np.kron(rows, rows), np.eye(3)).T).float()
