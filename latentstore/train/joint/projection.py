"""The projection as something to train: rows within the symmetry classes, kept orthonormal.

Both channels of a pair have one row, and synthesis is the transpose of analysis. So the flips and turns of a latent
stay exact, and squared error of channels stays, to first order, squared error of pixels, as the encoder counts it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from latentstore.codecs.fit.projection import entry_scale
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.image.symmetry import SymmetryClass, symmetric_basis

__all__ = ["Rows"]

ROOT = 0.5**0.5


class Rows(nn.Module):
    """The channels' weights over the entries of their classes, in coefficients of which all count alike.

    by_class: one parameter (channels, entries) for each class that has channels; the class OE has those of EO.
    """

    def __init__(self, codec: ImageCodec) -> None:
        super().__init__()
        basis = symmetric_basis(codec.in_channels, codec.levels)
        self.channels, self.planes = codec.channels, len(basis.entries)
        vectors = _vectors(codec)
        self.kinds = sorted({_own(kind) for kind in codec.classes.tolist()})
        self._members = {kind: np.flatnonzero(codec.classes == kind) for kind in self.kinds}
        self.by_class = nn.ParameterDict(
            {str(kind): torch.from_numpy(np.stack([vectors[k] for k in self._members[kind]])) for kind in self.kinds}
        )
        self._classes = codec.classes
        at: list[npt.NDArray[np.int64]] = []
        source: list[npt.NDArray[np.int64]] = []
        factor: list[npt.NDArray[np.float32]] = []
        first = 0
        for kind in self.kinds:
            members = self._members[kind]
            for half in (kind, SymmetryClass.OE) if kind == SymmetryClass.EO else (kind,):
                start, count = basis.runs[half]
                a, b, sign = basis.entries[start : start + count].T
                for row, k in enumerate(members + (half != kind)):
                    numbers = first + row * count + np.arange(count)
                    pair = b >= 0
                    at += [k * self.planes + a, k * self.planes + b[pair]]
                    source += [numbers, numbers[pair]]
                    factor += [np.where(pair, ROOT, 1), ROOT * sign[pair]]
            first += members.size * basis.runs[kind][1]
        for name, parts, dtype in (
            ("_at", at, np.int64),
            ("_source", source, np.int64),
            ("_factor", factor, np.float32),
        ):
            self.register_buffer(name, torch.from_numpy(np.concatenate(parts).astype(dtype)), persistent=False)

    def matrix(self) -> torch.Tensor:
        """float32 (channels, planes), with orthonormal rows: from planes times their norms to channels, and back."""
        flat = torch.cat([self.by_class[str(kind)].flatten() for kind in self.kinds])
        values = flat[self.get_buffer("_source")] * self.get_buffer("_factor")
        empty = torch.zeros(self.channels * self.planes, device=flat.device)
        return empty.index_add(0, self.get_buffer("_at"), values).view(self.channels, self.planes)

    def vectors(self) -> list[npt.NDArray[np.float64]]:
        """The row of every channel, made orthonormal once more in full precision."""
        found: dict[int, npt.NDArray[np.float64]] = {}
        for kind in self.kinds:
            u, _, v = np.linalg.svd(self.by_class[str(kind)].detach().double().cpu().numpy(), full_matrices=False)
            found |= dict(zip(self._members[kind].tolist(), u @ v, strict=True))
        return [found[k - 1] if self._classes[k] == SymmetryClass.OE else found[k] for k in range(self.channels)]

    @torch.no_grad()
    def flatten_gradients(self) -> None:
        """Takes from the gradients what would only make the rows longer, or no longer orthogonal."""
        for rows in self.by_class.values():
            if rows.grad is not None:
                along = rows.grad @ rows.T
                rows.grad -= (along + along.T) / 2 @ rows

    @torch.no_grad()
    def straighten(self) -> None:
        """Makes rows that a small step left nearly orthonormal orthonormal again: the nearest such rows."""
        for rows in self.by_class.values():
            for _ in range(2):
                rows.copy_(1.5 * rows - 0.5 * (rows @ rows.T) @ rows)


def _own(kind: int) -> int:
    return int(SymmetryClass.EO) if kind == SymmetryClass.OE else kind


def _vectors(codec: ImageCodec) -> list[npt.NDArray[np.float32]]:
    """The rows of a codec's artifact."""
    basis = symmetric_basis(codec.in_channels, codec.levels)
    scale = entry_scale(basis)
    ends = np.cumsum([basis.runs[kind][1] for kind in codec.classes])
    parts = np.split(codec.artifact.tensors["analysis"], ends[:-1])
    vectors = []
    for kind, part in zip(codec.classes, parts, strict=True):
        start, count = basis.runs[kind]
        vectors.append((part / scale[start : start + count]).astype(np.float32))
    return vectors
