"""Transparency: what is no alpha, and what lies outside the first frame of an animation."""

from __future__ import annotations

import struct

from PIL import Image, ImageChops
from PIL.GifImagePlugin import GifImageFile

__all__ = ["framed", "without_unused_alpha"]

# Formats whose fourth byte often means nothing. Where it is 0 everywhere, viewers show an opaque image.
LOOSE = {"BMP", "DIB", "TGA", "ICO", "CUR"}
ALPHAS = {"LA": "L", "La": "L", "RGBA": "RGB", "RGBa": "RGB"}
# The flag of a WebP whose images are frames.
WEBP_ANIMATED = 0x02
TGA_FOOTER = b"TRUEVISION-XFILE.\0"
TGA_ALPHA_BITS = 15
# Where the bits of a pixel stand, and those of an entry of its palette.
TGA_DEPTH, TGA_MAP_DEPTH = 16, 7
# Types of alpha in the extension of a TGA: 3 is alpha, 4 is alpha that colours are multiplied by.
TGA_USED, TGA_MULTIPLIED = (3, 4), 4


def without_unused_alpha(image: Image.Image, format: str, data: bytes) -> Image.Image:
    """The image without an alpha that means nothing."""
    if format == "TGA" and image.mode == "P" and image.has_transparency_data:
        image = image.convert("RGBA")
    if image.mode not in ALPHAS:
        return image
    if format == "TGA":
        kind = _tga_alpha(data)
        if kind is None:
            return image.convert(ALPHAS[image.mode])
        if kind == TGA_MULTIPLIED and image.mode == "RGBA":
            image = Image.frombytes("RGBa", image.size, image.tobytes())
        if image.mode == "RGBA" and 16 in (data[TGA_DEPTH], data[TGA_MAP_DEPTH]):
            image.putalpha(ImageChops.invert(image.getchannel("A")))  # one bit, which Pillow reads the wrong way round
    if format in LOOSE and image.getchannel(image.mode[-1]).getextrema() == (0, 0):
        return image.convert(ALPHAS[image.mode])
    return image


def _tga_alpha(data: bytes) -> int | None:
    """The type of alpha in a TGA, None where it has none."""
    if data.endswith(TGA_FOOTER) and len(data) >= 26:
        (extension,) = struct.unpack_from("<I", data, len(data) - 26)
        if extension > 0 and extension + 495 <= len(data):
            kind = data[extension + 494]
            return kind if kind in TGA_USED else None
    return TGA_USED[0] if data[17] & TGA_ALPHA_BITS else None


def framed(image: Image.Image, data: bytes) -> Image.Image:
    """White around a first frame that is smaller than its canvas, as where nothing is drawn.

    image: of a GIF or WebP, not yet decoded. Returns it decoded.
    """
    width, height = image.size
    box: tuple[int, int, int, int] | None = None
    if isinstance(image, GifImageFile) and image.tile:
        box = image.tile[0].extents
    elif image.format == "WEBP":
        box = _webp_frame(data)
    image.load()
    if box is None or box == (0, 0, width, height):
        return image
    inside = image.crop(box).convert("RGBA")
    canvas = Image.new("RGBA", image.size, (255, 255, 255, 0))
    canvas.paste(inside, box[:2])
    return canvas


def _webp_frame(data: bytes) -> tuple[int, int, int, int] | None:
    """The box of the first frame; None where there are no frames."""
    if data[12:16] != b"VP8X" or not data[20:21] or not data[20] & WEBP_ANIMATED:
        return None
    at = 12
    while at + 20 <= len(data):
        if data[at : at + 4] == b"ANMF":
            x, y, width, height = (int.from_bytes(data[at + 8 + 3 * i : at + 11 + 3 * i], "little") for i in range(4))
            return 2 * x, 2 * y, 2 * x + width + 1, 2 * y + height + 1
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + (length & 1)
    return None
