"""Reads images as 8-bit RGB or gray.

- The first frame or page of a file is read; of an icon, its largest image; of a TIFF, the first page that is no
  thumbnail.
- EXIF orientation is applied. EXIF that cannot be parsed is ignored.
- Transparency (alpha, palette entries, a transparent colour, what lies outside a first frame) is composited on white.
- 16 bits become 8 as round(v / 257); any other number of bits is scaled so that the highest value is 255.
- 32-bit integers must lie in 0..65535 and count as 16 bits. Floats that all lie in 0..1 are multiplied by 255; other
  floats must lie in 0..255 and are rounded.
- Palettes are looked up, one bit becomes 0 or 255, CMYK, YCbCr, HSV and LAB are converted.
- Gray is ITU-R 601 luma; of a JPEG file, its Y plane as stored. Colour profiles are applied only where asked for.
- With ``size``, the largest centred square is resized to size x size: bicubic, antialiased. A JPEG more than twice as
  large is scaled down by a power of two while it is decoded; other images are first reduced by a box filter to three
  times the size.

ImageError tells why an image is refused: what it is, that it is cut short or damaged, or that it has more than
`MAX_PIXELS`. Remarks tell what is worth knowing of one that is read.

`decode.py` finds the decoder of a file; `png.py`, `jpeg.py` and `tiff/` are three of them, and Pillow is the fourth.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from latentstore.codecs.errors import ArgumentError, ImageError
from latentstore.codecs.image.arguments import COLOURS
from latentstore.sources.images.color import BrokenProfileError, converted, fits, name_of, other_than_srgb
from latentstore.sources.images.decode import decode, reasons
from latentstore.sources.images.frame import Frame
from latentstore.sources.images.limits import MAX_PIXELS
from latentstore.sources.images.orientation import TURNS_SIDES, UPRIGHT
from latentstore.sources.images.pixels import eight_bits, image_of, over_white, square
from latentstore.sources.item import MAX_FILE_BYTES
from latentstore.sources.remarks import Remark

__all__ = ["DAMAGED", "MAX_PIXELS", "check_options", "read_image"]

SPACES = ("srgb",)
"""Colour spaces that colours can be converted to."""
DAMAGED = ("skip", "keep")
"""What may be done with images that are damaged."""


def read_image(
    data: bytes | str | os.PathLike[str] | np.ndarray,
    mode: str = "RGB",
    size: int | None = None,
    *,
    color: str | None = None,
    damaged: str = "skip",
    remarks: list[Remark] | None = None,
) -> np.ndarray:
    """One image as uint8 (H, W, 3), or (H, W, 1) for mode "L": C-contiguous, possibly read-only.

    data: the bytes of an image file, its path, or pixels (H, W) or (H, W, C) with C = 1 (gray), 2 (gray, alpha),
    3 (RGB) or 4 (RGBA), of bool, uint8, uint16 or floats. mode: "RGB" or "L". size: the side of the square in pixels;
    None keeps the image's size. color: "srgb" converts colours through the profile of the file; None keeps their
    values. damaged: "skip" refuses an image of which pixels are missing or damaged; "keep" accepts what its decoder
    makes of it. remarks: gets what is worth knowing. ImageError says why an image is refused.
    """
    if mode not in COLOURS:
        raise ArgumentError(f"mode is {mode!r}; it is 'RGB' or 'L'")
    if size is not None and size < 1:
        raise ArgumentError(f"size is {size}; it is a number of pixels from 1 up, or None")
    check_options(color, damaged)
    told: list[Remark] = []
    if isinstance(data, np.ndarray):
        frame = Frame(eight_bits(_checked_shape(data), told))
    else:
        if isinstance(data, str | os.PathLike):
            data = _file_bytes(data)
        frame = decode(data, mode, size, color is not None, damaged == "keep")
    with reasons():
        pixels = _finished(frame, mode, size, color)
    if remarks is not None:
        remarks += told + frame.remarks
    return pixels


def check_options(color: str | None, damaged: str) -> None:
    """ArgumentError unless `read_image` takes them."""
    if color not in (None, *SPACES):
        raise ArgumentError(f"color is {color!r}; it is {' or '.join(map(repr, SPACES))}, or None")
    if damaged not in DAMAGED:
        raise ArgumentError(f"damaged is {damaged!r}; it is {' or '.join(map(repr, DAMAGED))}")


def _finished(frame: Frame, mode: str, size: int | None, color: str | None) -> np.ndarray:
    image = frame.image
    if isinstance(image, np.ndarray):
        done = size is None and frame.profile is None and frame.turn not in UPRIGHT
        if done and image.ndim == 3 and image.shape[2] == COLOURS[mode]:
            return np.ascontiguousarray(image)
        image = image_of(image, size if frame.turn < TURNS_SIDES else None)
    image = _coloured(image, frame, color)
    if image.mode != mode:
        image = image.convert(mode)
    if frame.turn in UPRIGHT:
        image = image.transpose(UPRIGHT[frame.turn])
    if size is not None:
        image = square(image, size)
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


def _coloured(image: Image.Image, frame: Frame, color: str | None) -> Image.Image:
    """The image on white, and its colours in sRGB where asked for: in mode "RGB", "L" or one that becomes them."""
    if image.mode[0] in "IF":
        image = Image.fromarray(eight_bits(np.asarray(image), frame.remarks))
    alpha = None
    if image.has_transparency_data:
        if frame.profile is None:
            return over_white(image, frame.remarks)
        image = image.convert("LA" if image.mode in ("La", "LA") else "RGBA")
        alpha = image.getchannel("A")
        image = image.convert(image.mode.removesuffix("A"))
    elif image.mode == "LAB":
        return _from_lab(image)
    if frame.profile is not None:
        image = image if image.mode in ("RGB", "L", "CMYK") else image.convert("L" if image.mode == "1" else "RGB")
        image = _managed(image, frame, frame.profile, color)
    if alpha is None:
        return image
    image.putalpha(alpha)
    return over_white(image, frame.remarks)


def _managed(image: Image.Image, frame: Frame, profile: bytes, color: str | None) -> Image.Image:
    """The image with its profile applied, or told of."""
    try:
        if not fits(profile, image.mode):
            frame.remarks.append(Remark("metadata", f"a profile that is not for {image.mode}"))
        elif other_than_srgb(profile, image.mode):
            if color is not None:
                return converted(image, profile)
            frame.remarks.append(Remark("color-profile", name_of(profile)))
    except BrokenProfileError as error:
        frame.remarks.append(Remark("metadata", f"colour profile: {error}"))
    return image


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    done = ImageCms.applyTransform(image, transform)
    assert done is not None  # it is None only for transforms in place
    return done


def _file_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        length = Path(path).stat().st_size
        if length > MAX_FILE_BYTES:
            raise ImageError(f"{length} bytes; an image file has at most {MAX_FILE_BYTES}")
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error


def _checked_shape(array: np.ndarray) -> np.ndarray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(f"an array of shape {array.shape} is no image; (H, W) or (H, W, 1 to 4) is")
    if array.size == 0 or array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise ImageError(f"an array of shape {array.shape}; an image has 1 to {MAX_PIXELS} pixels")
    return array
