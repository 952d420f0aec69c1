"""A crop of an image, as every codec shows it at equal bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from latentstore.evaluate.scores import Score

__all__ = ["ORIGINAL", "Crop", "crop"]

Uint8s = npt.NDArray[np.uint8]

ORIGINAL = "original"
SIDE = 256
STEP = 32


@dataclass(frozen=True)
class Crop:
    """entry: the path of the image. left, top, width, height: in pixels. files: PNG by codec, the original first.

    scores: of the whole image, by codec.
    """

    entry: str
    left: int
    top: int
    width: int
    height: int
    files: Mapping[str, bytes]
    scores: Mapping[str, Score]


def crop(image: Uint8s, decoded: Mapping[str, Uint8s], scores: Sequence[Score]) -> Crop:
    """Cuts at most 256 x 256 pixels where the error of the first codec is largest. decoded: by codec, ours first."""
    height, width = (min(SIDE, side) for side in image.shape[:2])
    first = next(iter(decoded.values()))
    error = np.square(image.astype(np.float32) - first).sum(2)
    # sums over all rectangles from the corner
    total = np.pad(error.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    tops, lefts = (range(0, side - cut + 1, STEP) for side, cut in zip(image.shape, (height, width), strict=False))
    top, left = max(
        ((y, x) for y in tops for x in lefts),
        key=lambda at: (
            total[at[0] + height, at[1] + width]
            - total[at[0], at[1] + width]
            - total[at[0] + height, at[1]]
            + total[at]
        ),
    )
    shown = {ORIGINAL: image, **decoded}
    files = {name: _png(pixels[top : top + height, left : left + width]) for name, pixels in shown.items()}
    return Crop(scores[0].entry, left, top, width, height, files, {score.codec: score for score in scores})


def _png(pixels: Uint8s) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "PNG", optimize=True)
    return out.getvalue()
