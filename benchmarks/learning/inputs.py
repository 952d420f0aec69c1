"""What the networks of `images.py` see: labelled photographs as latents, reduced pixels and decoded pixels.

Every photograph becomes its centre square, and the square becomes one array for each input. Training cuts 4/5 of its
side out, at whole positions of the latent, so the same cut is exact for latents and for pixels.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

import latentstore
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.image.symmetry import SYMMETRIES, transform_image

Int8s = npt.NDArray[np.int8]

POSITIONS = 16
"""Along the side of what a network sees of a square, in the positions of a latent of 128 px."""
MARGIN = 4
"""Positions that are cut away, from both sides together."""
WHOLE = POSITIONS + MARGIN
FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


@dataclass(frozen=True)
class Input:
    """One way to give an image to a network.

    side: pixels along the image of which this is made, without the margin. reduced: pixels along the side of the
    pixels that are given; 0: the latent is given. channels: of the latent; 0: the pixels were never encoded.
    """

    side: int
    channels: int = 0
    reduced: int = 0

    @property
    def length(self) -> int:
        """Rows of what a network sees."""
        return self.reduced or self.side // 8

    @property
    def depth(self) -> int:
        return 3 if self.reduced else self.channels

    @property
    def numbers(self) -> int:
        """A network sees so many."""
        return self.length**2 * self.depth


@dataclass(frozen=True)
class Labelled:
    """Labelled photographs: squares (encoded files), labels int64 (n,), and which are for training, bool (n,)."""

    classes: tuple[str, ...]
    files: tuple[bytes, ...]
    labels: npt.NDArray[np.int64]
    training: npt.NDArray[np.bool_]

    def arrays(self, inputs: Iterable[Input], threads: int) -> dict[Input, Int8s]:
        """Of every input, int8 (n, rows, columns, depth) with the margin."""
        wanted, codec = tuple(inputs), _codec()
        with ThreadPoolExecutor(threads) as pool:
            made = list(pool.map(partial(_all_of, wanted, codec), self.files))
        return {one: np.stack([each[i] for each in made]) for i, one in enumerate(wanted)}

    def groups(self) -> dict[str, tuple[int, ...]]:
        """Classes that are alike: numbers of classes by the group's name; none where there is one group only."""
        flowers = tuple(i for i, name in enumerate(self.classes) if name in FLOWERS)
        rest = tuple(i for i in range(len(self.classes)) if i not in flowers)
        return {"flowers": flowers, "waste": rest} if flowers else {}

    def fold(self, number: int, folds: int = 5) -> npt.NDArray[np.bool_]:
        """Which training images are of one fold: neighbours in the order of their names, because they may show one
        object; as many of each class."""
        chosen = np.zeros(len(self.labels), bool)
        for label in range(len(self.classes)):
            rows = np.flatnonzero(self.training & (self.labels == label))
            chosen[rows[len(rows) * number // folds : len(rows) * (number + 1) // folds]] = True
        return chosen


def labelled(images: Path, name: str) -> Labelled:
    """The photographs of ``name/{train,test}/{class}/*`` in a folder, or in a zip file that `pack` wrote."""
    entries = sorted(_entries(images, name))
    classes = tuple(sorted({parts[1] for parts, _ in entries}))
    return Labelled(
        classes,
        tuple(content for _, content in entries),
        np.array([classes.index(parts[1]) for parts, _ in entries]),
        np.array([parts[0] == "train" for parts, _ in entries]),
    )


def pack(images: Path, target: Path, names: dict[str, tuple[int, int]]) -> None:
    """Write the squares to a zip file, as WebP files of the side and the quality that `names` has for each data set."""
    with zipfile.ZipFile(target, "w") as file:
        for name, (side, quality) in names.items():
            for parts, content in _entries(images, name):
                data = io.BytesIO()
                _resized(_square(content), side).save(data, "WEBP", quality=quality, method=6)
                file.writestr("/".join([name, *parts[:2], f"{Path(parts[2]).stem}.webp"]), data.getvalue())


def undoing(channels: int) -> npt.NDArray[np.float32]:
    """The codec's synthesis of the first channels: (channels, 192), from codes to the bands of the three colours."""
    codec = _codec()
    synthesis: npt.NDArray[np.float32] = (codec.matrix[:, :channels] * codec.scale()[:channels]).T
    return synthesis


def symmetries(one: Input) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Int8s]:
    """Of the eight symmetries, as SYMMETRIES has them: where in the array with its margin the values of a cut at its
    corner come from (8, length**2), which channels they come from (8, depth), and their signs (8, depth)."""
    length, rows = one.length, one.length * WHOLE // POSITIONS
    corner = np.arange(rows**2).reshape(rows, rows)[:length, :length, None]
    places = np.stack([transform_image(corner, name).ravel() for name in SYMMETRIES])
    channels = np.tile(np.arange(one.depth), (len(SYMMETRIES), 1))
    signs = np.ones(channels.shape, np.int8)
    if not one.reduced:
        for i, name in enumerate(SYMMETRIES):
            move = _codec().symmetry(name, one.depth)
            channels[i], signs[i] = move.source, np.where(move.negative, -1, 1)
    return places, channels, signs


def _codec() -> ImageCodec:
    codec = latentstore.load_codec(common.CODEC)
    assert isinstance(codec, ImageCodec)
    return codec


def _entries(images: Path, name: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """((part, class, file name), content) of every image of a data set."""
    if images.is_dir():
        for path in images.joinpath(name).glob("*/*/*"):
            yield path.parts[-3:], path.read_bytes()
        return
    with zipfile.ZipFile(images) as file:
        for entry in file.namelist():
            first, *parts = entry.split("/")
            if first == name:
                yield tuple(parts), file.read(entry)


def _all_of(inputs: Sequence[Input], codec: ImageCodec, content: bytes) -> list[Int8s]:
    """Of every input, int8 (rows, columns, depth) with the margin; pixels are 128 less than they are."""
    square = _square(content)
    sides = {one.side for one in inputs if one.channels}
    images = {side: _resized(square, side * WHOLE // POSITIONS) for side in sides}
    latents = {side: codec.encode(np.asarray(image)[None]) for side, image in images.items()}
    made = []
    for one in inputs:
        latent = latents[one.side][:, : one.channels] if one.channels else None
        if latent is None or one.reduced:
            whole = (
                square
                if latent is None
                else Image.fromarray(codec.decode(latent, size=images[one.side].size, decoder="linear")[0])
            )
            pixels = np.asarray(_resized(whole, one.reduced * WHOLE // POSITIONS))
            made.append((pixels.astype(np.int16) - 128).astype(np.int8))
        else:
            made.append(np.ascontiguousarray(latent[0].transpose(1, 2, 0)))
    return made


def _square(content: bytes) -> Image.Image:
    """The centre square of an image file."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _resized(square: Image.Image, side: int) -> Image.Image:
    """By Lanczos' filter, which takes the mean of what it reduces."""
    return square if square.width == side else square.resize((side, side), Image.Resampling.LANCZOS)
