"""TIFF: chooses the page, and who decodes it.

Pillow decodes pages of at most 8 bits whose samples lie together. It reads others wrong, or not at all: 16-bit colour,
planes of it, signed samples, floats beyond 32 bits, white-is-zero of more bits. `samples.py` decodes those.
"""

from __future__ import annotations

import struct
from io import BytesIO

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from latentstore.codecs.errors import ImageError
from latentstore.sources.images.formats import CAMERA_RAW
from latentstore.sources.images.frame import Frame
from latentstore.sources.images.limits import check_size
from latentstore.sources.images.orientation import orientation
from latentstore.sources.images.tiff.colours import (
    CMYK,
    GRAY,
    LAB,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    eight_bit_image,
    named,
)
from latentstore.sources.images.tiff.samples import COMPRESSIONS, read_samples
from latentstore.sources.images.tiff.tags import COMPRESSION, ORIENTATION, PLANAR, PROFILE, Page, read_tags

__all__ = ["read_tiff"]

# Decoded by what Pillow has for them, whatever the samples are: CCITT, JPEG of two kinds, JPEG 2000, WebP.
OF_PILLOW = (2, 3, 4, 6, 7, 99, 33003, 33005, 34712, 50001)
COLOURS_OF_PILLOW = {WHITE_IS_ZERO, GRAY, RGB, PALETTE, CMYK, YCBCR, LAB}


def read_tiff(data: bytes, keep: bool) -> Frame:
    """The image of a TIFF. keep: accept data that ends early and say so. ImageError if it cannot be read."""
    tags = read_tags(data)
    page = tags.page
    if tags.is_raw:
        raise ImageError(CAMERA_RAW.format("DNG, NEF, ARW, CR2 or another kind of TIFF"))
    check_size(*page.size)
    if _is_for_pillow(page):
        try:
            return _by_pillow(data if tags.is_first else _beginning_at(data, page))
        except SyntaxError:
            if page.photometric in (YCBCR, LAB):
                raise ImageError(f"{named(page)}, which is not read: convert it to PNG first") from None
    frame = Frame(Image.new("L", (1, 1)), page.one(ORIENTATION, 1))
    samples = read_samples(data, page, keep, frame.remarks)
    frame.image = eight_bit_image(samples, page, frame.remarks)
    if PROFILE in page.tags:
        frame.profile = bytes(value & 255 for value in page.tags[PROFILE])
    return frame


def _is_for_pillow(page: Page) -> bool:
    compression = page.one(COMPRESSION, 1)
    if compression in OF_PILLOW or compression not in COMPRESSIONS:
        return True
    if max(page.bits) > 8 or not page.formats <= {1, 4} or page.photometric not in COLOURS_OF_PILLOW:
        return False
    # Even one plane is read wrong where the page says that planes lie apart.
    return page.one(PLANAR, 1) == 1 and (page.samples == 1 or set(page.bits) == {8})


def _by_pillow(data: bytes) -> Frame:
    image = TiffImageFile(BytesIO(data))
    image.load()  # some versions of Pillow turn it upright, and then it has no orientation
    return Frame(image, orientation(image), image.info.get("icc_profile"))


def _beginning_at(data: bytes, page: Page) -> bytes:
    """The file with this page as its first."""
    big = data[2:4] in (b"+\0", b"\0+")
    at = 8 if big else 4
    pointer = struct.pack(page.order + ("Q" if big else "I"), page.offset)
    return data[:at] + pointer + data[at + len(pointer) :]
