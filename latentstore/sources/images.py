"""Reads images, in any format that Pillow opens, as 8-bit RGB or gray.

- The first frame or page of a file is read; of an icon, its largest image.
- EXIF orientation is applied. EXIF that cannot be parsed is ignored.
- Transparency (alpha, palette entries, a transparent colour) is composited on white.
- 16 bits become 8 as round(v / 257). Pillow itself reduces 16-bit *colour* files, by their high byte.
- 32-bit integers must lie in 0..65535 and count as 16 bits. Floats that all lie in 0..1 are multiplied by 255; other
  floats must lie in 0..255 and are rounded.
- Palettes are looked up, one bit becomes 0 or 255, CMYK, YCbCr, HSV and LAB are converted.
- Gray is ITU-R 601 luma; of a JPEG file, its Y plane as stored. Colour profiles are not applied.
- With ``size``, the largest centred square is resized to size x size: bicubic, antialiased. A JPEG more than twice as
  large is scaled down by a power of two while it is decoded; other images are first reduced by a box filter to three
  times the size.

ImageError tells why an image is refused: it is cut short, the checksums of a PNG do not match, or it has more than
`MAX_PIXELS`. JPEG has no checksum: damage that its decoder accepts is not noticed.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from latentstore.codecs.errors import ArgumentError, ImageError
from latentstore.codecs.image.arguments import COLOURS

__all__ = ["MAX_FILE_BYTES", "MAX_PIXELS", "read_image"]

# 134 million pixels, 400 MB as RGB: more than most cameras have, and several workers can hold them.
MAX_PIXELS = 1 << 27
# No image of so few pixels needs a larger file.
MAX_FILE_BYTES = 1 << 30

# A JPEG that its decoder leaves at least this many times too large looks as if it was scaled afterwards.
DRAFT_GAP = 2
REDUCING_GAP = 3.0

ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# EPS and WMF files are programs, or need one to be drawn.
REFUSED_FORMATS = {"EPS", "WMF"}
COMMON_FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# Chunks that change pixels.
PNG_CHECKED = {b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"eXIf", b"IEND"}


def read_image(
    data: bytes | str | os.PathLike[str] | np.ndarray, mode: str = "RGB", size: int | None = None
) -> np.ndarray:
    """One image as uint8 (H, W, 3), or (H, W, 1) for mode "L": C-contiguous, possibly read-only.

    data: the bytes of an image file, its path, or pixels (H, W) or (H, W, C) with C = 1 (gray), 2 (gray, alpha),
    3 (RGB) or 4 (RGBA), of bool, uint8, uint16 or floats. mode: "RGB" or "L". size: the side of the square in pixels;
    None keeps the image's size. ImageError says why an image is refused.
    """
    if mode not in COLOURS:
        raise ArgumentError(f"mode is {mode!r}; it is 'RGB' or 'L'")
    if size is not None and size < 1:
        raise ArgumentError(f"size is {size}; it is a number of pixels from 1 up, or None")
    if isinstance(data, np.ndarray):
        pixels = _eight_bits(_checked_shape(data))
        if size is None and pixels.ndim == 3 and pixels.shape[2] == COLOURS[mode]:
            return np.ascontiguousarray(pixels)
        image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    else:
        if isinstance(data, str | os.PathLike):
            data = _file_bytes(data)
        image = _decode(data, mode, size)
    with _reasons():
        image = _convert(image, mode)
        if size is not None:
            image = _square(image, size)
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


# ---- files


def _file_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        length = Path(path).stat().st_size
        if length > MAX_FILE_BYTES:
            raise ImageError(f"{length} bytes; an image file has at most {MAX_FILE_BYTES}")
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error


def _decode(data: bytes, mode: str, size: int | None) -> Image.Image:
    """The decoded, upright first frame, in the file's own mode."""
    if len(data) == 0:
        raise ImageError("the file is empty")
    if data[:8] == PNG_MAGIC:
        _check_png(data)
    with _reasons(data):
        image = _opened(data)
        width, height = image.size
        if width < 1 or height < 1:
            raise ImageError(f"it announces {width} x {height} pixels")
        if width * height > MAX_PIXELS:
            raise ImageError(_too_large(width, height))
        image.draft(mode, None if size is None else (DRAFT_GAP * size, DRAFT_GAP * size))
        image.load()
        turn = UPRIGHT.get(_orientation(image))
        return image if turn is None else image.transpose(turn)


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=COMMON_FORMATS)
    except UnidentifiedImageError:
        return Image.open(BytesIO(data), formats=_other_formats())


@cache
def _other_formats() -> list[str]:
    Image.init()  # imports some forty plugins, so not before a file needs one
    return [name for name in Image.ID if name not in REFUSED_FORMATS and name not in COMMON_FORMATS]


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except (ValueError, TypeError, KeyError, IndexError, OSError, SyntaxError, struct.error):
        return 1


def _check_png(data: bytes) -> None:
    """ImageError unless size and checksums of a PNG are right; Pillow does not check those of pixel data."""
    at = len(PNG_MAGIC)
    view = memoryview(data)
    while True:
        if at + 12 > len(data):
            raise ImageError(f"cut short: the PNG ends after {len(data)} bytes, without its last chunk")
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            got = max(0, len(data) - at - 12)
            raise ImageError(f"cut short: PNG chunk {_name(name)} at byte {at} has {got} of {length} bytes")
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if name in PNG_CHECKED and zlib.crc32(view[at + 4 : end - 4]) != checksum:
            raise ImageError(f"damaged: the checksum of PNG chunk {_name(name)} at byte {at} does not match")
        if name == b"IHDR" and length >= 8:
            width, height = struct.unpack_from(">II", data, at + 8)
            if width == 0 or height == 0:
                raise ImageError(f"it announces {width} x {height} pixels")
            if width * height > MAX_PIXELS:
                raise ImageError(_too_large(width, height))
        if name == b"IEND":
            return
        at = end


def _name(chunk: bytes) -> str:
    return chunk.decode("ascii", "backslashreplace")


def _too_large(width: int, height: int) -> str:
    return f"it announces {width} x {height} pixels; at most {MAX_PIXELS} are read"


@contextmanager
def _reasons(data: bytes = b"") -> Iterator[None]:
    """Turns every error of Pillow's plugins into an ImageError with the plugin's words."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"not an image of a known format: {len(data)} bytes that begin with {bytes(data[:12])!r}"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"it announces more than {MAX_PIXELS} pixels: {error}") from error
    except Exception as error:
        # Plugins raise nearly any type for damaged bytes: OSError, SyntaxError, struct.error, IndexError and more.
        said = str(error) or type(error).__name__
        word = "cut short" if "truncated" in said.lower() else "damaged or not decodable"
        raise ImageError(f"{word}: {said}") from error


# ---- pixels


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """To mode "RGB" or "L", on white."""
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode[0] in "IF":
        values = np.asarray(image)
        clear = image.info.get("transparency")
        pixels = _eight_bits(values)
        if isinstance(clear, int):
            pixels = np.where(values == clear, np.uint8(255), pixels)
        image = Image.fromarray(pixels)
    elif image.has_transparency_data:
        image = _on_white(image)
    elif image.mode == "LAB":
        image = _from_lab(image)
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image)
    return white


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is None only for transforms in place
    return converted


def _square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    side = min(width, height)
    # Whole pixels, so that an image of the right size is cut and not resampled.
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        return image if width == height else image.crop(box)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=REDUCING_GAP)


def _checked_shape(array: np.ndarray) -> np.ndarray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(f"an array of shape {array.shape} is no image; (H, W) or (H, W, 1 to 4) is")
    if array.size == 0 or array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise ImageError(f"an array of shape {array.shape}; an image has 1 to {MAX_PIXELS} pixels")
    return array


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """uint8 of the same shape, by the rule at the top."""
    kind: Any = values.dtype
    if kind == np.uint8:
        return values
    if kind == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if kind.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 255):  # not-a-number too
            raise ImageError(f"float values from {low:g} to {high:g}; they must lie in 0..1 or in 0..255")
        scaled = values.astype(np.float64) * (255 if high <= 1 else 1)
        return np.rint(scaled).astype(np.uint8)
    if kind == np.int32:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ImageError(f"integer values from {low} to {high}; they must lie in 0..65535")
    elif not (kind.kind == "u" and kind.itemsize == 2):
        raise ImageError(f"values of type {kind}; bool, uint8, uint16 and floats are read")
    # round(v / 257): 257 is odd, so no value lies half-way.
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
