"""JPEG: decoded so that the decoder's warnings are heard.

libjpeg goes on where data is missing: it fills the rest with gray and warns. Pillow hears no warnings, so simplejpeg
decodes the pixels. It has the same libjpeg-turbo and gives the same pixels, in less time. Pillow reads the header; and
it decodes the few kinds that simplejpeg does not know, such as CMYK of an unusual sampling. Of those no warning is
heard, and a remark says so.
"""

from __future__ import annotations

import re

import numpy as np
import simplejpeg
from PIL import Image

from latentstore.codecs.errors import ImageError
from latentstore.sources.remarks import Remark

__all__ = ["DRAFT_GAP", "decode_jpeg"]

# A JPEG that its decoder leaves at least this many times too large looks as if it was scaled afterwards.
DRAFT_GAP = 2
# Warnings after which all pixels are there; all others tell of damage.
HARMLESS = ("unknown JFIF revision", "Unknown Adobe color")
# So is this one if nothing else is wrong; but only the first warning is heard.
EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
MOST_EXTRANEOUS = 1024  # some cameras pad their files; more are the rest of data that lost its beginning
END = b"\xff\xd9"
# Errors of libjpeg-turbo's C interface have this form: "Corrupt JPEG data: ...", "Premature end of JPEG file".
WARNINGS = ("Corrupt JPEG data", "Premature end", "Warning", "Invalid SOS", "Inconsistent progression")
SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}


def decode_jpeg(
    data: bytes, image: Image.Image, mode: str, size: int | None, keep: bool, remarks: list[Remark]
) -> np.ndarray | Image.Image:
    """The pixels of a JPEG: uint8 (H, W, 3) or (H, W, 1), or an image of Pillow.

    image: its header, as Pillow opened it. mode: "L" takes the Y plane of a colour image. size: the image may come
    smaller by a power of two, but each side at least twice as long; None for the whole. keep: accept damaged data and
    say so. ImageError where data is missing or damaged.
    """
    wanted = mode if image.mode == "RGB" and mode == "L" else image.mode
    if wanted not in SPACES:
        remarks.append(Remark("unheard", f"colours: {image.mode}"))
        image.load()
        return image
    width, height = image.size
    scale = 1
    if size is not None:
        room = min(width // (DRAFT_GAP * size), height // (DRAFT_GAP * size))
        scale = next(s for s in (8, 4, 2, 1) if room >= s or s == 1)
    least = (-(-height // scale), -(-width // scale)) if scale > 1 else (0, 0)
    pixels = _decoded(data, SPACES[wanted], least, keep, remarks)
    if pixels is None:
        image.draft(mode, None if size is None else (DRAFT_GAP * size, DRAFT_GAP * size))
        image.load()
        return image
    if wanted == "CMYK":
        whole = pixels.shape[1], pixels.shape[0]
        # Adobe's programs store ink inverted, and all others follow them.
        return Image.frombuffer("CMYK", whole, pixels, "raw", "CMYK;I", 0, 1)
    return pixels


def _decoded(data: bytes, space: str, least: tuple[int, int], keep: bool, remarks: list[Remark]) -> np.ndarray | None:
    """The pixels; None, and a remark, where this decoder does not know the kind of JPEG."""
    try:
        return simplejpeg.decode_jpeg(data, space, min_height=least[0], min_width=least[1], strict=True)
    except ValueError as error:
        said = str(error)
    if not said.startswith(WARNINGS):
        remarks.append(Remark("unheard", said))
        return None
    harmless = any(words in said for words in HARMLESS) or _whole_but_for_extra_bytes(data, said, space)
    if not harmless and not keep:
        word = "cut short" if "premature end" in said.lower() else "damaged"
        raise ImageError(f"{word}: the JPEG decoder says {said!r}")
    remarks.append(Remark("decoder-warning" if harmless else "damaged", said))
    try:
        return simplejpeg.decode_jpeg(data, space, min_height=least[0], min_width=least[1], strict=False)
    except ValueError as error:
        raise ImageError(f"damaged: the JPEG decoder says {str(error)!r}") from error


def _whole_but_for_extra_bytes(data: bytes, said: str, space: str) -> bool:
    """Whether a JPEG has bytes too many before its end, and all its pixels: without these bytes nothing is wrong."""
    extra = EXTRANEOUS.search(said)
    end = data.rfind(END)
    if extra is None or end < 0 or int(extra[1]) > MOST_EXTRANEOUS:
        return False
    try:
        simplejpeg.decode_jpeg(data[: end - int(extra[1])] + END, space, strict=True)
    except ValueError:
        return False
    return True
