"""Which way up an image is, as its EXIF data says."""

from __future__ import annotations

import struct

from PIL import Image

__all__ = ["TURNS_SIDES", "UPRIGHT", "orientation"]

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
"""By orientation, 1 to 8: what turns the image upright. Nothing turns those of other numbers."""
TURNS_SIDES = 5
"""From this orientation on, width and height are exchanged."""


def orientation(image: Image.Image) -> int:
    """The orientation of an image; 1, upright, where nothing can be read of it."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except (ValueError, TypeError, KeyError, IndexError, OSError, SyntaxError, struct.error):
        return 1
