"""Crops of images in pixels, in every orientation, gathered on the device where a network is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.image.symmetry import SYMMETRIES, transform_image

__all__ = ["Pixels"]


class Pixels:
    """All images, uint8 (H, W, C), from which square crops are drawn. side: of a crop."""

    def __init__(self, images: Sequence[npt.NDArray[np.uint8]], side: int) -> None:
        self.side = side
        self._sides = np.array([image.shape[:2] for image in images])
        area = self._sides.prod(1)
        self._starts = np.concatenate([[0], np.cumsum(area)])
        self._shares = area / area.sum()
        self.count = int(area.sum())
        self._pixels = torch.from_numpy(np.concatenate([image.reshape(-1, image.shape[2]) for image in images]))
        places = np.moveaxis(np.mgrid[:side, :side], 0, -1)
        turned = np.stack([transform_image(places, name) for name in SYMMETRIES]).reshape(len(SYMMETRIES), -1, 2)
        self._places = torch.from_numpy(turned)

    def to(self, device: torch.device) -> None:
        """Moves the pixels to the device."""
        self._pixels, self._places = self._pixels.to(device), self._places.to(device)

    def draw(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        """`count` crops, int64 (count, 3): their first pixel, how far apart their rows are, and the orientation."""
        image = rng.choice(len(self._sides), count, p=self._shares)
        y, x = (rng.random((2, count)) * (self._sides[image] - self.side + 1).T).astype(np.int64)
        width = self._sides[image, 1]
        return np.stack([self._starts[image] + y * width + x, width, rng.integers(len(SYMMETRIES), size=count)], 1)

    def crops(self, picked: torch.Tensor) -> torch.Tensor:
        """Crops that were drawn, float32 (n, C, side, side), from 0 to 255."""
        start, width, turned = picked.unbind(1)
        place = self._places[turned]
        rows = self._pixels[start[:, None] + place[..., 0] * width[:, None] + place[..., 1]]
        return rows.float().mT.unflatten(2, (self.side, self.side))
