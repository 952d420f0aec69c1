"""From samples of any depth to 8 bits, and what lies on white."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from latentstore.codecs.errors import ImageError
from latentstore.sources.floats import FLOATS, floats_to_eight
from latentstore.sources.remarks import Remark

__all__ = [
    "DARK",
    "eight_bits",
    "image_of",
    "over_white",
    "sixteen_to_eight",
    "square",
    "told_of_dark",
]

REDUCING_GAP = 3.0
# 16-bit images whose values all lie below this hold 12 bits or fewer, and come out at most 16 of 255 bright.
DARK = 4096


def eight_bits(values: np.ndarray, remarks: list[Remark] | None = None) -> np.ndarray:
    """uint8 of the same shape, from bool, uint8, floats, or integers that count as 16 bits.

    16 bits become round(v / 257). Other integers must lie in 0..65535 and count as 16 bits. Floats are 0 to 1 if all of
    them are, and else 0 to 255. remarks: gets what is worth knowing. ImageError where values lie outside.
    """
    kind: Any = values.dtype
    if kind == np.uint8:
        return values
    if kind == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    remarks = [] if remarks is None else remarks
    if kind.kind == "f":
        white = 1.0 if values.max() <= 1 else 255.0
        done = floats_to_eight(values, white, "0..1 or in 0..255")
        remarks.append(FLOATS[white])
        return done
    if kind.kind not in "iu" or kind.name == "int64":
        raise ImageError(f"values of type {kind}; bool, uint8, uint16 and floats are read")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"integer values from {low} to {high}; they must lie in 0..65535")
    remarks += told_of_dark(high)
    return sixteen_to_eight(values)


def told_of_dark(highest: int) -> list[Remark]:
    """What to say of 16-bit values, the highest of them given."""
    return [Remark("dark", f"up to {highest}")] if 0 < highest < DARK else []


def sixteen_to_eight(values: np.ndarray) -> np.ndarray:
    """round(v / 257) of 0..65535, as uint8. 257 is odd, so no value lies half-way."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def over_white(image: Image.Image, remarks: list[Remark]) -> Image.Image:
    """RGB: an image that has transparency, on white. remarks: gets it if nothing of the image is seen."""
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() == (0, 0):
        remarks.append(Remark("transparent"))
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image)
    return white


def image_of(pixels: np.ndarray, size: int | None) -> Image.Image:
    """An image of uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    size: of the `square` that it becomes: the columns that this does not look at, as many at the left as at the right,
    are not copied. (Rows are, because Pillow's rounding depends on how many there are.) None for the whole.
    """
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    height, width = pixels.shape[:2]
    if size is None or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.flags.c_contiguous:
        return Image.fromarray(pixels)
    # bicubic weights reach two pixels of the result, or two of the image where that is smaller
    reach = 2 * max(-(-height // size), 1) + 2
    cut = (width - height) // 2 - reach
    if cut <= 0:
        return Image.fromarray(pixels)
    rest = pixels.reshape(-1)[3 * cut :].data
    return Image.frombytes("RGB", (width - 2 * cut, height), rest, "raw", "RGB", 3 * width, 1)


def square(image: Image.Image, size: int) -> Image.Image:
    """The centre square of an image, size x size pixels."""
    width, height = image.size
    side = min(width, height)
    # Whole pixels, so that an image of the right size is cut and not resampled.
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        return image if width == height else image.crop(box)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=REDUCING_GAP)
