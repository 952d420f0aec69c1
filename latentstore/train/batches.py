"""Batches of crops in torch, made where the network is trained: codes, and what the linear synthesis lacks of them.

All images lie in the memory of the device, position by position, and a batch is gathered from them by tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from latentstore.codecs.fit.projection import plane_norms
from latentstore.codecs.image.symmetry import SYMMETRIES, SignedPermutation, signed_permutation, signed_planes
from latentstore.train.crops import Crops
from latentstore.train.task import Batch

__all__ = ["Batches"]


class Batches:
    """Makes batches of what `Crops.draw` drew, on one device.

    weights: float32 (planes,): what the square of one unit of each plane is in squares of pixel values, the mean over
    the pixels of its position. steps, told, scales: of each quality, float32 (qualities,), (qualities,) as `Batch.told`
    and (qualities, channels).
    """

    def __init__(self, crops: Crops, side: int, device: torch.device) -> None:
        codec = crops.codec
        self.side, self.channels = side, codec.channels
        self.positions, self._unit = len(crops.planes), crops.unit
        self._codes = torch.from_numpy(crops.codes).to(device).flatten(0, 1)
        self._planes = torch.from_numpy(crops.planes).to(device)
        channels = [signed_permutation(name, codec.classes) for name in SYMMETRIES]
        planes = [signed_planes(name, codec.in_channels, codec.levels) for name in SYMMETRIES]
        self._channel_tables = _tables(channels, device)
        self._plane_tables = _tables(planes, device)
        places = np.moveaxis(np.mgrid[:side, :side], 0, -1)
        for_each = []
        for moved in channels:
            seen = places[::-1] if moved.flip_v else places
            seen = seen[:, ::-1] if moved.flip_h else seen
            for_each.append(seen[..., ::-1] if moved.transpose else seen)
        self._places = torch.from_numpy(np.stack(for_each).reshape(len(channels), side * side, 2)).to(device)
        steps = [codec.step(int(q)) for q in crops.qualities]
        scales = np.stack([codec.scale(int(q)) for q in crops.qualities])
        self.steps = torch.tensor(steps, dtype=torch.float32, device=device)
        self.told = torch.log2(self.steps / codec.step())
        self.scales = torch.from_numpy(scales).to(device)
        self._deltas = torch.from_numpy(np.ascontiguousarray(codec.artifact.tensors["delta"])).to(device)
        self._synthesis = torch.from_numpy(np.ascontiguousarray(codec.matrix.T)).to(device)
        self.weights = (
            torch.from_numpy(plane_norms(codec.in_channels, codec.levels).astype(np.float32)).to(device).square()
        )

    def originals(self, picked: torch.Tensor) -> torch.Tensor:
        """The planes of the crops: float32 (n, side * side, planes)."""
        flat = self._planes[self._at(picked)].view(len(picked), self.side * self.side, -1)
        return _moved(flat, self._plane_tables, picked[:, 2]) / self._unit

    def batch(self, picked: torch.Tensor) -> Batch:
        """picked: int64 (n, 5), of `Crops.draw`, on the device. What is given are codes, float32 (n, channels, side,
        side); lacking are planes, float32 (n, planes, side, side)."""
        n, quality = len(picked), picked[:, 3]
        rows = self._codes[quality.repeat_interleave(self.side * self.side) * self.positions + self._at(picked)]
        codes = _moved(rows.view(n, self.side * self.side, -1).float(), self._channel_tables, picked[:, 2])
        kept = picked[:, 4]
        codes = codes * (torch.arange(self.channels, device=kept.device) < kept[:, None])[:, None]
        linear = self._dequantised(codes, quality) @ self._synthesis
        step = self.steps[quality]
        lacking = (self.originals(picked) - linear) / step[:, None, None]
        return Batch(self.image(codes), self.image(lacking), kept.float(), self.told[quality], step)

    def _at(self, picked: torch.Tensor) -> torch.Tensor:
        """The positions of the crops, (n * side * side,), in the order in which they are seen."""
        start, width, symmetry = picked[:, 0, None], picked[:, 1, None], picked[:, 2]
        place = self._places[symmetry]
        return (start + place[..., 0] * width + place[..., 1]).flatten()

    def _dequantised(self, codes: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
        size = codes.abs()
        delta = torch.where(size == 1, self._deltas[:, 0], self._deltas[:, 1])
        return torch.sign(codes) * (size - delta) * self.scales[quality][:, None]

    def image(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, side * side, planes) as (n, planes, side, side)."""
        return rows.unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)


def _tables(moved: Sequence[SignedPermutation], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each symmetry, from where each channel comes, int64, and its sign, float32."""
    source = np.stack([one.source for one in moved]).astype(np.int64)
    sign = np.where(np.stack([one.negative for one in moved]), -1, 1).astype(np.float32)
    return torch.from_numpy(source).to(device), torch.from_numpy(sign).to(device)


def _moved(rows: torch.Tensor, tables: tuple[torch.Tensor, torch.Tensor], symmetry: torch.Tensor) -> torch.Tensor:
    """What the symmetry of each crop makes of its channels; rows: (n, positions, channels)."""
    source, sign = tables[0][symmetry][:, None], tables[1][symmetry][:, None]
    return torch.gather(rows, 2, source.expand(rows.shape)).float() * sign
