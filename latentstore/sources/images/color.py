"""Colour: whether a profile differs from sRGB, and conversion to sRGB through it.

A profile is judged by what it does, not by its name: there are many profiles of sRGB. PNG and others may say gamma and
primaries without a profile; a profile is made of them, so that there is one way to convert.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["DISPLAY_P3", "BrokenProfileError", "converted", "fits", "made_profile", "name_of", "other_than_srgb"]

# A CMYK profile has half a megabyte to two.
MAX_PROFILE_BYTES = 4 << 20
# So far, of 255, may colours come out from their values for a profile to be one of sRGB.
SRGB_TOLERANCE = 3
# By the colour space that a profile is for: modes of images that it fits. Gray images may have a profile of colours.
MODES = {b"RGB ": ("RGB", "L"), b"GRAY": ("L",), b"CMYK": ("CMYK",)}
# x and y of white, red, green and blue.
SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
DISPLAY_P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
SRGB_GAMMA = 1 / 2.2
CURVE_POINTS = 4096
GAMMA_TOLERANCE, PRIMARIES_TOLERANCE = 0.02, 0.006
# The white of profiles, D50, and the matrix of Bradford that adapts colours to it.
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


class BrokenProfileError(Exception):
    """A profile that cannot be used."""


def fits(profile: bytes, mode: str) -> bool:
    """Whether a profile is for images of this mode. Viewers ignore one that is not."""
    return mode in MODES.get(profile[16:20], ())


def other_than_srgb(profile: bytes, mode: str) -> bool:
    """Whether a profile gives an image of this mode, "RGB", "L" or "CMYK", other colours than no profile.

    BrokenProfileError where it cannot be used.
    """
    return _transform(profile, _space(profile, mode)) is not None


def converted(image: Image.Image, profile: bytes) -> Image.Image:
    """An image of mode "RGB", "L" or "CMYK" in sRGB: mode "RGB". BrokenProfileError where it cannot be used."""
    from PIL import ImageCms

    space = _space(profile, image.mode)
    transform = _transform(profile, space)
    image = image if image.mode == space else image.convert(space)
    if transform is None:
        return image.convert("RGB")
    try:
        done = ImageCms.applyTransform(image, transform)
    except ImageCms.PyCMSError as error:
        raise BrokenProfileError(str(error)) from error
    assert done is not None  # it is None only for transforms in place
    return done


def name_of(profile: bytes) -> str:
    """What a profile calls itself, "" if nothing."""
    from PIL import ImageCms

    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return ""


def _space(profile: bytes, mode: str) -> str:
    return "RGB" if profile[16:20] == b"RGB " else mode


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> Any:
    """The transform to sRGB; None if it changes nothing."""
    from PIL import ImageCms  # most images have no profile, and need no library of colours

    if len(profile) > MAX_PROFILE_BYTES:
        raise BrokenProfileError(f"it has {len(profile)} bytes")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
        probe = _probe(mode)
        done = ImageCms.applyTransform(probe, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise BrokenProfileError(str(error)) from error
    assert done is not None
    away = np.abs(np.asarray(done).astype(int) - np.asarray(probe.convert("RGB")).astype(int)).max()
    return transform if away > SRGB_TOLERANCE else None


def _probe(mode: str) -> Image.Image:
    """Colours of every kind in one image: a cube of six steps a side, and all grays."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    cube = np.stack(np.meshgrid(*[steps] * len(mode)), -1).reshape(-1, len(mode))
    grays = np.repeat(np.arange(0, 256, 3, dtype=np.uint8)[:, None], len(mode), 1)
    colours = np.concatenate([cube, grays] if mode == "RGB" else [cube])
    return Image.frombytes(mode, (len(colours), 1), colours.tobytes())


def made_profile(gamma: float | None, primaries: Sequence[float] | None) -> bytes | None:
    """A profile of RGB for what a file says of its colours; None where this is sRGB, or cannot be meant.

    gamma: samples are light to this power (0.45455 for most), None for the curve of sRGB. primaries: x and y of white,
    red, green and blue, None for those of sRGB.
    """
    if gamma is not None and (abs(gamma / SRGB_GAMMA - 1) <= GAMMA_TOLERANCE or not 0.05 <= gamma <= 5):
        gamma = None
    same = primaries is None or all(abs(a - b) <= PRIMARIES_TOLERANCE for a, b in zip(primaries, SRGB, strict=True))
    if gamma is None and same:
        return None
    try:
        columns = _columns(SRGB if same or primaries is None else primaries)
    except (np.linalg.LinAlgError, ZeroDivisionError):
        return None
    said = [] if gamma is None else [f"gamma {gamma:.5g}"]
    name = " and ".join(said if same else [*said, "primaries of its own"])
    # Displays follow the curve of sRGB, which is near a gamma of 1 / 2.2: only what lies between the two is changed.
    curve = _curve(1.0 if gamma is None else SRGB_GAMMA / gamma)
    tags = {b"desc": _text(name), b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(D50)}
    tags |= {colour + b"XYZ": _xyz(column) for colour, column in zip((b"r", b"g", b"b"), columns.T, strict=True)}
    tags |= {colour + b"TRC": curve for colour in (b"r", b"g", b"b")}
    return _profile(tags)


def _columns(primaries: Sequence[float]) -> np.ndarray:
    """XYZ of full red, green and blue, adapted to D50: a column each."""
    points = [np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in zip(primaries[::2], primaries[1::2], strict=True)]
    white, colours = points[0], np.stack(points[1:], 1)
    colours = colours * np.linalg.solve(colours, white)
    cones = (BRADFORD @ D50) / (BRADFORD @ white)
    return np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD @ colours


def _curve(power: float) -> bytes:
    """The curve of ICC from samples to light: that of sRGB, after samples are raised to a power."""
    samples = np.linspace(0, 1, CURVE_POINTS) ** power
    light = np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I", CURVE_POINTS) + np.rint(light * 65535).astype(">u2").tobytes()


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _text(words: str) -> bytes:
    coded = words.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(coded), 28) + coded


def _profile(tags: dict[bytes, bytes]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI", start + len(body), b"\0\0\0\0", 0x04200000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body
