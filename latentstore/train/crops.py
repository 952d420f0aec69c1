"""Crops to train on: codes, and what the linear synthesis lacks. No torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from latentstore.codecs.errors import ArgumentError, ImageError
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.image.projection import image_planes
from latentstore.codecs.image.symmetry import SYMMETRIES, transform_latent, transform_planes
from latentstore.loaders.remote.location import Location
from latentstore.progress import counted, printable
from latentstore.sources.folder import list_folder
from latentstore.sources.images import read_image
from latentstore.train.recipe import Folder

__all__ = ["Batch", "Crops", "read_images"]

# Planes reach about +-128 * 2**levels pixel values. They are kept as int16, in a unit that makes this:
REACH = 1 << 14

Floats = npt.NDArray[np.float32]
Uint8s = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Batch:
    """n crops of side x side positions.

    codes: float32 (n, channels, side, side), zero past the kept channels. lacking: float32 (n, planes, side, side),
    what must be added to the planes of the linear synthesis, in units of the step. kept: float32 (n,), channels.
    told: float32 (n,), the logarithm to base 2 of the step over that of the default quality. step: float32 (n,).
    """

    codes: Floats
    lacking: Floats
    kept: Floats
    told: Floats
    step: Floats


def read_images(folders: Sequence[Folder], mode: str, least: int, say: Callable[[str], None]) -> list[Uint8s]:
    """All images of the folders whose sides are at least `least` pixels, each uint8 (H, W, C).

    Files that cannot be read and images that are too small are said. ArgumentError if a folder is not there, or
    nothing is left of it.
    """
    images: list[Uint8s] = []
    for one in folders:
        if not one.folder.is_dir():
            raise ArgumentError(f"{one.folder} is not a folder: the recipe must name folders of images.")
        before, small = len(images), 0
        items, _, passed = list_folder(Location(one.folder))
        for kind, count in sorted(passed.items()):
            say(f"passed over: {count:,} {kind}")
        for item in items:
            try:
                image = read_image(item.read(), mode)
            except ImageError as error:
                say(f"left out: {printable(item.path)}: {error}")
                continue
            image = _reduced(image, one.reduce)
            if min(image.shape[:2]) < least:
                small += 1
            else:
                images.append(image)
        if small:
            say(f"left out: {counted(small, 'image')} of {one.folder}, smaller than the crops of {least} pixels")
        if len(images) == before:
            raise ArgumentError(f"{one.folder} holds no image of {least} x {least} pixels or more to train on.")
    return images


def _reduced(image: Uint8s, share: float) -> Uint8s:
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    pillow = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return np.asarray(pillow.resize((width, height), Image.Resampling.LANCZOS)).reshape(height, width, -1)


class Crops:
    """The training images, encoded at every quality, from which batches are cut.

    shares: how often each number of channels, and each quality, is drawn.
    """

    def __init__(
        self, codec: ImageCodec, images: Sequence[Uint8s], prefixes: Mapping[int, float], qualities: Mapping[int, float]
    ) -> None:
        self.codec = codec
        self.prefixes, self.prefix_shares = _shares(prefixes)
        self.qualities, self.quality_shares = _shares(qualities)
        self.steps = [codec.step(int(q)) for q in self.qualities]
        self._unit = REACH // (128 << codec.levels)
        self._images: list[tuple[list[npt.NDArray[np.int8]], npt.NDArray[np.int16]]] = []
        for image in images:
            height, width = (side // codec.reduction * codec.reduction for side in image.shape[:2])
            whole = np.ascontiguousarray(image[:height, :width])
            latents = [codec.encode(whole[None], int(q))[0] for q in self.qualities]
            planes = (
                np.rint(image_planes(whole, codec.levels) * self._unit)
                .clip(-(1 << 15) + 1, (1 << 15) - 1)
                .astype(np.int16)
            )
            self._images.append((latents, planes))
        area = np.array([planes[0].size for _, planes in self._images], float)
        self._shares = area / area.sum()
        self.pixels = int(area.sum()) * codec.reduction**2

    def batch(self, rng: np.random.Generator, count: int, side: int) -> Batch:
        """A batch of `count` crops; `rng` draws image, place, symmetry, quality and number of channels of each."""
        planes = self._images[0][1].shape[0]
        made = Batch(
            np.zeros((count, self.codec.channels, side, side), np.float32),
            np.empty((count, planes, side, side), np.float32),
            rng.choice(self.prefixes, count, p=self.prefix_shares).astype(np.float32),
            np.empty(count, np.float32),
            np.empty(count, np.float32),
        )
        drawn = rng.choice(len(self.qualities), count, p=self.quality_shares)
        for i, chosen in enumerate(rng.choice(len(self._images), count, p=self._shares)):
            latents, whole = self._images[chosen]
            y, x = (int(rng.integers(length - side + 1)) for length in whole.shape[1:])
            symmetry, kept = SYMMETRIES[rng.integers(8)], int(made.kept[i])
            latent = latents[drawn[i]][:, y : y + side, x : x + side]
            latent = transform_latent(latent, symmetry, self.codec.classes)[:kept]
            cut = whole[:, y : y + side, x : x + side]
            target = transform_planes(cut, symmetry, self.codec.levels).astype(np.float32) / self._unit
            step = self.steps[drawn[i]]
            made.codes[i, :kept] = latent
            made.lacking[i] = (target - self.codec.planes(latent, int(self.qualities[drawn[i]]))) / np.float32(step)
            made.told[i], made.step[i] = math.log2(step / self.codec.step()), step
        return made

    def deviations(self, rng: np.random.Generator, side: int) -> tuple[Floats, Floats]:
        """Standard deviations of the codes, (channels,), at least a half; of what is lacking, (planes,)."""
        batch = self.batch(rng, 256, side)
        square = np.square(batch.lacking).mean((0, 2, 3))
        codes = np.concatenate([latents[0].reshape(self.codec.channels, -1)[:, ::7] for latents, _ in self._images], 1)
        return np.maximum(codes.std(1), 0.5).astype(np.float32), np.maximum(np.sqrt(square), 1e-6).astype(np.float32)


def _shares(shares: Mapping[int, float]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    numbers, weights = np.array(list(shares), np.int64), np.array(list(shares.values()))
    return numbers, weights / weights.sum()
