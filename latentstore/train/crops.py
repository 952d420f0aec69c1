"""The images that are trained on, encoded, and which crops of them are drawn. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from latentstore.codecs.errors import ArgumentError, ImageError
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.image.projection import image_planes
from latentstore.codecs.image.symmetry import SYMMETRIES
from latentstore.loaders.remote.location import Location
from latentstore.progress import counted, printable
from latentstore.sources.folder import list_folder
from latentstore.sources.images import read_image
from latentstore.train.recipe import Folder

__all__ = ["Crops", "read_images"]

# Planes reach about +-128 * 2**levels pixel values. They are kept as int16, in a unit that makes this:
REACH = 1 << 14

Integers = npt.NDArray[np.int64]
Uint8s = npt.NDArray[np.uint8]


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
    """The training images, encoded at every quality, from which crops are drawn. No torch here.

    prefixes, qualities: how often each number of channels, and each quality, is drawn. encoded: whether there are
    codes; joint training chooses its own.
    codes: int8 (qualities, positions, channels), or of no quality. planes: int16 (positions, planes), in 1 / unit of a
    pixel value. The positions of all images follow each other, row by row.
    """

    def __init__(
        self,
        codec: ImageCodec,
        images: Sequence[Uint8s],
        prefixes: Mapping[int, float],
        qualities: Mapping[int, float],
        threads: int = 1,
        encoded: bool = True,
    ) -> None:
        self.codec = codec
        self.prefixes, self._prefix_shares = _shares(prefixes)
        self.qualities, self._quality_shares = _shares(qualities)
        self._sides = np.array([[side // codec.reduction for side in image.shape[:2]] for image in images])
        area = self._sides.prod(1)
        self._starts = np.concatenate([[0], np.cumsum(area)])
        self._image_shares = area / area.sum()
        total = int(area.sum())
        self.pixels = total * codec.reduction**2
        self.codes = np.empty((len(self.qualities) if encoded else 0, total, codec.channels), np.int8)
        self.unit = REACH // (128 << codec.levels)
        self.planes = np.empty((total, 4**codec.levels * codec.in_channels), np.int16)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self._encode, range(len(images)), images))

    def _encode(self, number: int, image: Uint8s) -> None:
        height, width = self._sides[number] * self.codec.reduction
        whole = np.ascontiguousarray(image[:height, :width])
        here = slice(self._starts[number], self._starts[number + 1])
        for codes, quality in zip(self.codes, self.qualities, strict=False):
            codes[here] = _rows(self.codec.encode(whole[None], int(quality))[0])
        self.planes[here] = np.rint(_rows(image_planes(whole, self.codec.levels)) * self.unit).clip(
            -(1 << 15) + 1, (1 << 15) - 1
        )

    def draw(self, rng: np.random.Generator, count: int, side: int) -> Integers:
        """`count` crops of side x side positions, int64 (count, 5): where the crop starts among the positions, how far
        apart its rows are, which symmetry it is seen in, which quality, and how many channels are kept."""
        image = rng.choice(len(self._sides), count, p=self._image_shares)
        y, x = (rng.random((2, count)) * (self._sides[image] - side + 1).T).astype(np.int64)
        width = self._sides[image, 1]
        return np.stack(
            [
                self._starts[image] + y * width + x,
                width,
                rng.integers(len(SYMMETRIES), size=count),
                rng.choice(len(self.qualities), count, p=self._quality_shares),
                rng.choice(self.prefixes, count, p=self._prefix_shares),
            ],
            1,
        )


def _rows(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(n, h, w) as (h * w, n)."""
    return planes.reshape(len(planes), -1).T


def _shares(shares: Mapping[int, float]) -> tuple[Integers, npt.NDArray[np.float64]]:
    numbers, weights = np.array(list(shares), np.int64), np.array(list(shares.values()))
    return numbers, weights / weights.sum()
