"""How large an image may be."""

from __future__ import annotations

from latentstore.codecs.errors import ImageError

__all__ = ["MAX_PIXELS", "MAX_SAMPLE_BYTES", "check_size"]

# 134 million pixels, 400 MB as RGB: more than most cameras have, and several workers can hold them.
MAX_PIXELS = 1 << 27
# Decoded samples before they become 8-bit: all the pixels in 16-bit RGBA.
MAX_SAMPLE_BYTES = MAX_PIXELS * 8


def check_size(width: int, height: int) -> None:
    """ImageError unless an image may have so many pixels."""
    if width < 1 or height < 1:
        raise ImageError(f"it announces {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(f"it announces {width} x {height} pixels; at most {MAX_PIXELS} are read")
