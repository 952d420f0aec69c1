"""Checks of images and of their sizes, as `codecs.arguments` does."""

from __future__ import annotations

import operator

import numpy as np
import numpy.typing as npt

from latentstore.codecs.arguments import whole_number
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.modality import IMAGE

__all__ = ["COLOURS", "require_image", "require_size"]

COLOURS = {"L": 1, "RGB": 3}
"""Colours of an image, by mode."""


def require_image(image: npt.ArrayLike, mode: str, codec: str) -> npt.NDArray[np.uint8]:
    """An image uint8 (H, W, C); mode "L" takes (H, W) too."""
    image, colours = np.asarray(image), COLOURS[mode]
    if colours == 1 and image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != colours:
        raise ArgumentError(
            f"The image is {image.dtype} {image.shape}; {codec} takes uint8 (height, width, {colours}):"
            " convert it first."
        )
    IMAGE.check(image.shape[1], image.shape[0])
    return image


def require_size(size: tuple[int, int] | None, latent: tuple[int, int], reduction: int) -> tuple[int, int]:
    """Height and width of the image whose latent has planes of this height and width."""
    height, width = latent
    if size is None:
        return height * reduction, width * reduction
    sides = [whole_number(side) for side in size] if isinstance(size, tuple | list) else []
    # checked before an image of that size is allocated
    if [side and -(-side // reduction) for side in sides] != [height, width]:
        raise ArgumentError(
            f"size is {size!r}; a latent of {height} x {width} is of an image (height, width) from "
            f"({height * reduction - reduction + 1}, {width * reduction - reduction + 1}) "
            f"to ({height * reduction}, {width * reduction})."
        )
    return operator.index(size[0]), operator.index(size[1])
