"""Colour profiles and gamma: told of where they change colours, and applied where asked for."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from odd_images import gray_profile, saved
from PIL import Image, ImageCms
from png_made import GRAY, RGB, RGBA, chunk, png_made

from latentstore import ArgumentError
from latentstore.sources.images import read_image
from latentstore.sources.images.color import DISPLAY_P3, SRGB, made_profile, other_than_srgb
from latentstore.sources.remarks import Remark

PIXELS = np.random.default_rng(2).integers(0, 256, (20, 30, 3)).astype(np.uint8)
# XYZ of Display P3 and of sRGB, both with the white of D65, as their standards give them.
P3_XYZ = np.array([[0.48657, 0.26567, 0.19822], [0.22897, 0.69174, 0.07929], [0.0, 0.04511, 1.04394]])
SRGB_XYZ = np.array([[0.41239, 0.35758, 0.18048], [0.21264, 0.71517, 0.07219], [0.01933, 0.11919, 0.95053]])


def p3() -> bytes:
    profile = made_profile(None, DISPLAY_P3)
    assert profile is not None
    return profile


def light(values: np.ndarray) -> np.ndarray:
    v = values / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def coded(light: np.ndarray) -> np.ndarray:
    v = np.clip(light, 0, 1)
    return 255 * np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)


def from_p3(values: np.ndarray) -> np.ndarray:
    return coded(light(values) @ (np.linalg.inv(SRGB_XYZ) @ P3_XYZ).T)


def told(data: bytes, color: str | None = None, mode: str = "RGB") -> tuple[np.ndarray, list[str]]:
    remarks: list[Remark] = []
    return read_image(data, mode, color=color, remarks=remarks), [remark.kind for remark in remarks]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_another_profile_is_told_of_or_applied(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(PIXELS, format, icc_profile=p3(), **options)
    got, kinds = told(data)
    np.testing.assert_array_equal(got, PIXELS)
    assert kinds == ["color-profile"]
    got, kinds = told(data, "srgb")
    assert np.abs(got - from_p3(PIXELS)).max() <= 2 and kinds == []


def test_gray_of_a_converted_jpeg_is_that_of_its_converted_colours() -> None:
    data = saved(np.asarray(Image.fromarray(PIXELS).resize((120, 80))), "JPEG", quality=95, icc_profile=p3())
    colour, kinds = told(data, "srgb")
    gray, _ = told(data, "srgb", "L")
    assert kinds == [] and np.abs(gray[..., 0] - colour @ np.array([0.299, 0.587, 0.114])).max() <= 1
    assert told(data, None, "L")[1] == ["color-profile"]


def test_profiles_of_srgb_are_not_told_of_whatever_their_names() -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    near = made_profile(None, [value + 0.0061 * (i == 2) for i, value in enumerate(SRGB)])
    assert near is not None
    for profile in (own, near):
        for color in (None, "srgb"):
            got, kinds = told(saved(PIXELS, "PNG", icc_profile=profile), color)
            assert kinds == [] and np.array_equal(got, PIXELS)
    assert other_than_srgb(p3(), "RGB")


def test_a_profile_of_another_kind_of_image_is_not_applied() -> None:
    got, kinds = told(saved(PIXELS, "PNG", icc_profile=gray_profile()), "srgb")
    assert kinds == ["metadata"] and np.array_equal(got, PIXELS)
    # On a gray image it is: its gamma is 2.2, and not the curve of sRGB.
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    got, kinds = told(saved(ramp, "PNG", icc_profile=gray_profile()), "srgb", "L")
    assert kinds == [] and np.abs(got[..., 0] - coded((ramp / 255) ** 2.2)).max() <= 2


def chunks(gamma: float | None, primaries: tuple[float, ...] | None) -> list[bytes]:
    said = [] if gamma is None else [chunk(b"gAMA", struct.pack(">I", round(gamma * 1e5)))]
    if primaries is not None:
        said.append(chunk(b"cHRM", struct.pack(">8I", *(round(value * 1e5) for value in primaries))))
    return said


@pytest.mark.parametrize("gamma", [1.0, 0.55556, 0.3])
def test_gamma_is_told_of_or_applied(gamma: float) -> None:
    data = png_made(PIXELS, 8, RGB, before=chunks(gamma, None))
    got, kinds = told(data)
    assert kinds == ["color-profile"] and np.array_equal(got, PIXELS)
    got, kinds = told(data, "srgb")
    assert kinds == [] and np.abs(got - 255 * (PIXELS / 255) ** (0.45455 / gamma)).max() <= 2
    gray = png_made(PIXELS[..., :1], 8, GRAY, before=chunks(gamma, None))
    got, kinds = told(gray, "srgb", "L")
    assert kinds == [] and np.abs(got - 255 * (PIXELS[..., :1] / 255) ** (0.45455 / gamma)).max() <= 2


@pytest.mark.parametrize("said", [chunks(0.45455, None), chunks(0.45455, SRGB), chunks(None, SRGB), chunks(0.46, None)])
def test_gamma_and_primaries_of_srgb_are_not_told_of(said: list[bytes]) -> None:
    got, kinds = told(png_made(PIXELS, 8, RGB, before=said), "srgb")
    assert kinds == [] and np.array_equal(got, PIXELS)


def test_srgb_and_a_profile_stand_above_gamma() -> None:
    data = png_made(PIXELS, 8, RGB, before=[chunk(b"sRGB", b"\0"), *chunks(1.0, None)])
    assert told(data)[1] == []
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(p3()))
    got, _ = told(png_made(PIXELS, 8, RGB, before=[profile, *chunks(1.0, None)]), "srgb")
    assert np.abs(got - from_p3(PIXELS)).max() <= 2
    got, _ = told(png_made(PIXELS, 8, RGB, before=[chunk(b"cICP", bytes([12, 13, 0, 1]))]), "srgb")
    assert np.abs(got - from_p3(PIXELS)).max() <= 2
    assert told(png_made(PIXELS, 8, RGB, before=[chunk(b"cICP", bytes([9, 16, 0, 1]))]))[1] == ["color-profile"]


def test_colours_are_converted_before_they_lie_on_white() -> None:
    rgba = np.concatenate([PIXELS, np.full((20, 30, 1), 128, np.uint8)], -1)
    got, _ = told(png_made(rgba, 8, RGBA, before=[chunk(b"cICP", bytes([12, 13, 0, 1]))]), "srgb")
    expected = from_p3(PIXELS) * 128 / 255 + 255 * 127 / 255
    assert np.abs(got - expected).max() <= 2


def test_cmyk_is_converted_through_its_profile() -> None:
    cmyk = Image.fromarray(PIXELS).convert("CMYK")
    data = saved(cmyk, "TIFF", icc_profile=p3())  # of RGB
    assert told(data)[1] == ["metadata"]


def test_options_are_checked() -> None:
    with pytest.raises(ArgumentError, match="color is 'p3'"):
        read_image(PIXELS, color="p3")
    with pytest.raises(ArgumentError, match="damaged is 'mend'"):
        read_image(PIXELS, damaged="mend")
