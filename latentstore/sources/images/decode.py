"""From the bytes of a file to its first image, by the decoder of its format; or the true reason why there is none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from latentstore.codecs.errors import ImageError
from latentstore.sources.images.color import BrokenProfileError, fits, other_than_srgb
from latentstore.sources.images.formats import misread, unreadable
from latentstore.sources.images.frame import Frame
from latentstore.sources.images.jpeg import decode_jpeg
from latentstore.sources.images.limits import MAX_PIXELS, check_size
from latentstore.sources.images.orientation import orientation
from latentstore.sources.images.png import PNG_MAGIC, read_png
from latentstore.sources.images.tiff.read import read_tiff
from latentstore.sources.images.tiff.tags import is_tiff
from latentstore.sources.images.transparency import framed, without_unused_alpha
from latentstore.sources.remarks import Remark

__all__ = ["decode", "reasons"]

# EPS and WMF files are programs, or need one to be drawn. The others are recognised by Pillow, and not decoded.
REFUSED_FORMATS = {"EPS", "WMF", "MPEG", "HDF5", "GRIB", "BUFR"}
COMMON_FORMATS = ["JPEG", "GIF", "BMP", "WEBP"]
JPEG_MAGIC = b"\xff\xd8\xff"
# A file that is cut short may be decoded with so many zeros behind it.
PADDING = 1 << 26


def decode(data: bytes, mode: str, size: int | None, convert: bool, keep: bool) -> Frame:
    """The first image of a file.

    mode, size: what becomes of it, for decoders that can do a part of it. convert: its colours are converted to sRGB.
    keep: accept damaged pixels and say so. ImageError says why an image is refused.
    """
    if len(data) == 0:
        raise ImageError("the file is empty")
    with reasons(data):
        if data[:8] == PNG_MAGIC:
            return read_png(data, keep)
        if data[:3] == JPEG_MAGIC:
            return _read_jpeg(data, mode, size, convert, keep)
        if is_tiff(data):
            return read_tiff(data, keep)
        try:
            return _read_other(data)
        except ImageError:
            raise
        except Exception as error:
            if not keep or not _is_short(error):
                raise
            frame = _read_other(data + bytes(PADDING))
            frame.remarks.append(Remark("damaged", str(error)))
            return frame


def _read_jpeg(data: bytes, mode: str, size: int | None, convert: bool, keep: bool) -> Frame:
    image = _opened(data)
    check_size(*image.size)
    frame = Frame(image, 1, image.info.get("icc_profile"))
    if convert and mode == "L" and _other_colours(frame.profile, image.mode):
        mode = "RGB"  # colours are converted before they become gray
    frame.image = decode_jpeg(data, image, mode, size, keep, frame.remarks)
    frame.turn = orientation(image)
    return frame


def _other_colours(profile: bytes | None, mode: str) -> bool:
    try:
        return profile is not None and fits(profile, mode) and other_than_srgb(profile, mode)
    except BrokenProfileError:
        return False


def _read_other(data: bytes) -> Frame:
    # Pillow does not know it from the start, and would import its forty plugins to find it.
    from PIL import WebPImagePlugin  # noqa: F401

    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        length = 8 + int.from_bytes(data[4:8], "little")
        if length > len(data):
            raise ImageError(f"cut short: the WebP has {len(data)} of {length} bytes")
    if (reason := misread(data)) is not None:
        raise ImageError(reason)
    image = _opened(data)
    check_size(*image.size)
    format = image.format or ""
    image = framed(image, data)
    turn, profile = orientation(image), image.info.get("icc_profile")
    return Frame(without_unused_alpha(image, format, data), turn, profile)


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=COMMON_FORMATS)
    except UnidentifiedImageError:
        return Image.open(BytesIO(data), formats=_other_formats())


@cache
def _other_formats() -> list[str]:
    Image.init()  # imports some forty plugins, so not before a file needs one
    return [name for name in Image.ID if name not in REFUSED_FORMATS and name not in COMMON_FORMATS]


@contextmanager
def reasons(data: bytes = b"") -> Iterator[None]:
    """Turns every error of Pillow's plugins into an ImageError with the plugin's words, or with what the file is."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"it announces more than {MAX_PIXELS} pixels: {error}") from error
    except Exception as error:
        # Plugins raise nearly any type for damaged bytes: OSError, SyntaxError, struct.error, IndexError and more.
        known = unreadable(data)
        if known is not None:
            raise ImageError(known) from error
        if isinstance(error, UnidentifiedImageError):
            raise ImageError(_why(data)) from error
        said = str(error) or type(error).__name__
        word = "cut short" if _is_short(error) else "damaged, cut short or of a kind that is not decoded"
        raise ImageError(f"{word}: {said}") from error


def _is_short(error: Exception) -> bool:
    said = str(error).lower()
    return "truncated" in said or "not enough image data" in said


def _why(data: bytes) -> str:
    """Why no plugin opens a file: the words of the one whose format it has, or that there is none."""
    for name in (*COMMON_FORMATS, *_other_formats()):
        factory, accept = Image.OPEN[name]
        if accept is None or accept(data[:16].ljust(16, b"\0")) is not True:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                factory(BytesIO(data), "")
        except Exception as error:  # noqa: BLE001 - as in `reasons`
            return f"a {name} file, damaged or of a kind that is not decoded: {error or type(error).__name__}"
    return f"not an image of a known format: {len(data)} bytes that begin with {bytes(data[:12])!r}"
