"""Every kind of image becomes the pixels that an independent computation expects, or a named error."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from odd_images import BAD, GOOD, origin, png_of, saved
from PIL import Image

from latentstore import ArgumentError, ImageError
from latentstore.sources.images import MAX_PIXELS, read_image
from latentstore.sources.images.pixels import image_of, square

WIDTH, HEIGHT = 45, 31


def scene(channels: int = 3) -> np.ndarray:
    """Smooth and textured uint8 (HEIGHT, WIDTH, channels) with every value range in use."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rng = np.random.default_rng(8)
    planes = [(x * (5 - c) + y * (3 + c) + rng.integers(0, 20, x.shape)) % 256 for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)


def png(array: np.ndarray, **options: object) -> bytes:
    return saved(Image.fromarray(array), "PNG", **options)


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114])


def refused(data: object, *words: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(data)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP", "QOI", "PCX", "SGI", "JPEG2000"])
def test_lossless_formats_come_back_exactly(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(Image.fromarray(scene()), format, **options)
    np.testing.assert_array_equal(read_image(data), scene())


def test_jpeg_is_what_pillow_decodes() -> None:
    data = saved(Image.fromarray(scene()), "JPEG", quality=90)
    np.testing.assert_array_equal(read_image(data), np.asarray(Image.open(io.BytesIO(data))))


def test_gray_is_luma_and_colour_of_gray_repeats_it() -> None:
    gray = read_image(png(scene()), "L")
    assert gray.shape == (HEIGHT, WIDTH, 1)
    assert np.abs(gray[..., 0] - luma(scene())).max() <= 1
    flat = scene(1)[..., 0]
    np.testing.assert_array_equal(read_image(png(flat)), np.repeat(flat[..., None], 3, -1))
    np.testing.assert_array_equal(read_image(png(flat), "L")[..., 0], flat)
    jpeg = saved(Image.fromarray(scene()), "JPEG", quality=95, subsampling=0)
    # Colours out of range are cut to it in RGB, not in the Y plane: so the mean.
    assert np.abs(read_image(jpeg, "L")[..., 0] - luma(read_image(jpeg))).mean() <= 0.5


def test_alpha_lies_on_white() -> None:
    rgba = scene(4)
    rgba[0, :, 3], rgba[1, :, 3] = 0, 255
    alpha = rgba[..., 3:].astype(int)
    expected = np.rint((rgba[..., :3] * alpha + 255 * (255 - alpha)) / 255)
    got = read_image(png(rgba)).astype(int)
    assert np.abs(got - expected).max() <= 1
    np.testing.assert_array_equal(got[0], np.full((WIDTH, 3), 255))
    np.testing.assert_array_equal(got[1], rgba[1, :, :3])
    np.testing.assert_array_equal(read_image(rgba), got)
    la = scene(2)
    on_white = np.rint((la[..., 0] * la[..., 1].astype(int) + 255 * (255 - la[..., 1].astype(int))) / 255)
    assert np.abs(read_image(saved(Image.fromarray(la), "PNG"), "L")[..., 0] - on_white).max() <= 1


def test_palettes_are_looked_up_and_their_clear_entry_is_white() -> None:
    indices = (scene(1)[..., 0] % 4).astype(np.uint8)
    colours = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250], [90, 90, 90]], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    for format in ("PNG", "GIF", "TIFF"):
        np.testing.assert_array_equal(read_image(saved(image, format)), colours[indices])
    colours[2] = 255
    np.testing.assert_array_equal(read_image(saved(image, "PNG", transparency=2)), colours[indices])


def test_a_transparent_colour_is_white() -> None:
    rgb = scene()
    rgb[3:9, 5:20] = (1, 2, 3)
    expected = rgb.copy()
    expected[3:9, 5:20] = 255
    np.testing.assert_array_equal(read_image(png(rgb, transparency=(1, 2, 3))), expected)
    deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 40
    whitened = np.rint(deep / 257)
    whitened[deep == 4000] = 255
    np.testing.assert_array_equal(read_image(png(deep, transparency=4000), "L")[..., 0], whitened)


def test_one_bit_becomes_black_and_white() -> None:
    bits = scene(1)[..., 0] > 100
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(bits), "PNG"), "L")[..., 0], bits * 255)
    np.testing.assert_array_equal(read_image(bits, "L")[..., 0], bits * 255)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_rounded(format: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
    deep[0, :4] = 0, 128, 129, 65535
    expected = np.rint(deep / 257)
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(deep), format), "L")[..., 0], expected)
    np.testing.assert_array_equal(read_image(deep.astype(">u2"), "L")[..., 0], expected)
    colour = np.stack([deep, deep[::-1], deep[:, ::-1]], -1)
    np.testing.assert_array_equal(read_image(colour), np.rint(colour / 257))


def test_integers_of_32_bits_count_as_16() -> None:
    deep = np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(HEIGHT, WIDTH) * 46
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(deep), "TIFF"), "L")[..., 0], np.rint(deep / 257))
    deep[2, 2] = 65536
    refused(saved(Image.fromarray(deep), "TIFF"), "integer values from 0 to 65536", "0..65535")


def test_floats_have_one_of_two_ranges() -> None:
    unit = (scene(1)[..., 0] / 255).astype(np.float32)
    expected = np.rint(unit.astype(np.float64) * 255)
    np.testing.assert_array_equal(read_image(saved(Image.fromarray(unit), "TIFF"), "L")[..., 0], expected)
    np.testing.assert_array_equal(read_image(unit * 255, "L")[..., 0], scene(1)[..., 0])
    refused(unit - 0.5, "0..1 or in 0..255")
    refused(unit * 1000, "0..1 or in 0..255")
    unit[0, 0] = np.nan
    refused(unit, "nan")


def test_other_colour_spaces_are_converted() -> None:
    image = Image.fromarray(scene())
    cmyk = 255 - np.asarray(image.convert("CMYK")).astype(int)
    got = read_image(saved(image.convert("CMYK"), "TIFF"))
    assert np.abs(got - cmyk[..., :3] * cmyk[..., 3:] / 255).max() <= 1
    np.testing.assert_array_equal(
        read_image(saved(image.convert("YCbCr"), "TIFF")), np.asarray(image.convert("YCbCr").convert("RGB"))
    )
    lab = Image.merge("LAB", [Image.new("L", (2, 2), v) for v in (255, 128, 128)])
    assert read_image(saved(lab, "TIFF")).min() >= 253  # white


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_orientation_is_applied(orientation: int, format: str) -> None:
    # What each value says, in words of the EXIF standard: where row 0 and column 0 of the stored pixels lie.
    stored_to_shown = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(scene())
    plain = read_image(saved(image, format))
    np.testing.assert_array_equal(read_image(saved(image, format, exif=exif)), stored_to_shown[orientation](plain))


def test_exif_that_makes_no_sense_turns_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    image = Image.fromarray(scene())
    np.testing.assert_array_equal(read_image(saved(image, "PNG", exif=exif)), scene())


@pytest.mark.parametrize("format", ["GIF", "TIFF", "PNG", "WEBP"])
def test_the_first_frame_counts(format: str) -> None:
    first = Image.fromarray(scene()).quantize(16)
    frames = [first if format == "GIF" else first.convert("RGB"), Image.new("RGB", first.size, "red")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(frames[0], format, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(read_image(data), np.asarray(first.convert("RGB")))


def test_size_takes_the_middle_square() -> None:
    y, x = np.mgrid[:200, :300]
    array = np.stack([x // 2, y, (x + y) // 2], -1).astype(np.uint8)
    small = read_image(png(array), size=50).astype(int)
    assert small.shape == (50, 50, 3)
    # The square is columns 50 to 249: pixel k of the result is centred on 50 + 4 k + 1.5.
    at = 4 * np.arange(50) + 1.5
    assert np.abs(small[:, :, 0] - (50 + at)[None, :] / 2).max() <= 1.5
    assert np.abs(small[:, :, 1] - at[:, None]).max() <= 1.5
    np.testing.assert_array_equal(read_image(png(array), size=200), array[:, 50:250])
    np.testing.assert_array_equal(read_image(array, size=200), array[:, 50:250])
    assert read_image(png(array[:1]), size=8).shape == (8, 8, 3)
    assert read_image(png(array[:, :1]), "L", size=8).shape == (8, 8, 1)


def test_size_of_a_turned_image_is_that_of_the_upright_one() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(scene())
    upright = Image.fromarray(np.rot90(scene(), -1))
    np.testing.assert_array_equal(
        read_image(saved(image, "PNG", exif=exif), size=16), read_image(saved(upright, "PNG"), size=16)
    )


def test_a_large_jpeg_scaled_while_decoding_looks_the_same() -> None:
    smooth = np.asarray(Image.fromarray(scene()).resize((900, 620), Image.Resampling.BICUBIC))
    data = saved(Image.fromarray(smooth), "JPEG", quality=95)
    whole = Image.open(io.BytesIO(data)).crop((140, 0, 760, 620)).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.abs(read_image(data, size=64).astype(int) - np.asarray(whole).astype(int)).mean() < 1


def test_arrays_of_right_pixels_are_not_copied() -> None:
    array = scene()
    assert np.shares_memory(read_image(array), array)
    np.testing.assert_array_equal(read_image(scene(1), "L"), scene(1))
    np.testing.assert_array_equal(read_image(array[:, ::-1]), array[:, ::-1])
    refused(np.zeros((4, 4, 5), np.uint8), "(4, 4, 5)")
    refused(np.zeros((0, 4, 3), np.uint8), "(0, 4, 3)")
    refused(np.zeros((4, 4), np.int64), "int64")
    with pytest.raises(ArgumentError, match="mode"):
        read_image(array, "RGBA")
    with pytest.raises(ArgumentError, match="size"):
        read_image(array, size=0)


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("PPM", {}),
        ("QOI", {}),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_cut_at_any_length_it_is_an_error(format: str, options: dict[str, object]) -> None:
    data = saved(Image.fromarray(scene()), format, **options)
    whole = read_image(data)
    for length in range(0, len(data), max(1, len(data) // 300)):
        try:
            got = read_image(data[:length])
        except ImageError as error:
            assert str(error)
        else:  # only what follows the pixels was cut off
            np.testing.assert_array_equal(got, whole)
            assert length > 0.9 * len(data)


def test_a_flipped_bit_in_a_png_is_an_error() -> None:
    data = png(scene())
    rng = np.random.default_rng(1)
    for at in rng.integers(8, len(data), 300):
        broken = bytearray(data)
        broken[at] ^= 1 << rng.integers(8)
        try:
            got = read_image(bytes(broken))
        except ImageError:
            continue
        np.testing.assert_array_equal(got, scene())


def test_bombs_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("it is decoded"))
    refused(png_of(60_000, 60_000, bytes(1)), "60000 x 60000", str(MAX_PIXELS))
    bmp = bytearray(saved(Image.fromarray(scene()), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    refused(bytes(bmp), "pixels")


def test_what_is_no_image_says_so(tmp_path: Path) -> None:
    refused(b"", "the file is empty")
    refused(b"a shopping list", "not an image of a known format", "15 bytes", "shopping")
    refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS", "render it to PNG")
    refused(tmp_path / "absent.png", "No such file")
    refused(str(tmp_path), "Is a directory")


def test_every_odd_file_is_accounted_for(odd_images: Path) -> None:
    there = {p.relative_to(odd_images).as_posix() for p in odd_images.rglob("*") if p.is_file()}
    assert there == set(GOOD) | set(BAD)


@pytest.mark.parametrize("name", BAD)
def test_odd_files_that_are_refused(odd_images: Path, name: str) -> None:
    refused(odd_images / name, BAD[name])


@pytest.mark.parametrize("name", GOOD)
def test_odd_files_that_are_read(odd_images: Path, name: str) -> None:
    tolerance = GOOD[name]
    got = read_image(odd_images / name).astype(int)
    expected = origin().astype(int)
    if tolerance == "gray":
        assert np.abs(got - luma(expected)[..., None]).max() <= 1
    elif tolerance is not None:
        assert got.shape == expected.shape
        assert np.abs(got - expected).mean() <= float(tolerance)
    with Image.open(odd_images / name) as image:
        turned = image.getexif().get(0x0112, 1) >= 5
        assert got.shape == (*(image.size if turned else image.size[::-1]), 3)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_random_damage_is_an_error_or_a_image() -> None:
    image = Image.fromarray(scene())
    formats = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TGA", "ICO", "QOI", "JPEG2000"]
    files = [saved(image, format) for format in formats]
    rng = np.random.default_rng(2)
    for i in range(2000):
        data = bytearray(files[i % len(files)])
        for at in rng.integers(0, min(len(data), 300), rng.integers(1, 6)):
            data[at] = rng.integers(256)
        try:
            got = read_image(bytes(data), size=16)
        except ImageError as error:
            assert str(error)
        else:
            assert got.shape == (16, 16, 3)


@pytest.mark.parametrize(("width", "height", "size"), [(91, 60, 25), (300, 40, 64), (64, 63, 32), (257, 100, 7)])
def test_columns_that_the_square_does_not_look_at_change_nothing(width: int, height: int, size: int) -> None:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    whole = square(Image.fromarray(pixels), size)
    assert (np.asarray(square(image_of(pixels, size), size)) == np.asarray(whole)).all()


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_wide_jpeg_is_cut_and_turned_as_one_of_which_all_is_turned(turn: int) -> None:
    pixels = np.random.default_rng(turn).integers(0, 256, (40, 151, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(Image.fromarray(pixels), "JPEG", quality=95, exif=exif)
    whole = Image.fromarray(read_image(data))
    assert (read_image(data, size=24) == np.asarray(square(whole, 24))).all()
