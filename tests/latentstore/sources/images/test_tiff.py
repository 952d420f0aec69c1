"""A grid of TIFFs written by hand: each is read as the pixels that were written, or refused by its true name."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from odd_images import saved
from PIL import Image
from tiff_made import CMYK, GRAY, RGB, WHITE_IS_ZERO, tiff_of, with_thumbnail

from latentstore import ImageError
from latentstore.sources.images import read_image
from latentstore.sources.remarks import Remark

HEIGHT, WIDTH = 37, 51
SAMPLES = {WHITE_IS_ZERO: 1, GRAY: 1, RGB: 3, CMYK: 4}
TYPES = ("u1", "u2", "u4", "i2", "f2", "f4", "f8")
ALPHAS = [(dtype, colours) for dtype in ("u1", "u2", "f4") for colours in (GRAY, RGB, WHITE_IS_ZERO)]
PLACES = [
    {}, {"order": ">"}, {"planar": True}, {"tile": 16}, {"tile": 16, "planar": True, "order": ">", "deflate": True},
    {"deflate": True, "rows": 37}, {"deflate": True, "predictor": 2}, {"deflate": True, "predictor": 2, "order": ">"},
    {"deflate": True, "predictor": 3}, {"deflate": True, "predictor": 3, "tile": 32, "planar": True, "order": ">"},
]  # fmt: skip


def made(dtype: str, samples: int) -> tuple[np.ndarray, float]:
    """(values of every kind, the value that is white)."""
    random = np.random.default_rng(3).random((HEIGHT, WIDTH, samples))
    if dtype[0] == "f":
        return random.astype(dtype), 1.0
    white = {"u1": 255, "u2": 65535, "u4": 65535, "i2": 65535}[dtype]
    most = min(white, np.iinfo(dtype).max)
    return np.rint(random * most).astype(dtype), float(white)


def shown(values: np.ndarray, white: float, photometric: int) -> np.ndarray:
    """RGB 0..255 of samples that have no alpha, not rounded."""
    light = values.astype(np.float64) / white
    if photometric == WHITE_IS_ZERO:
        light = 1 - light
    if photometric == CMYK:
        light = (1 - light[..., :3]) * (1 - light[..., 3:])
    return np.broadcast_to(255 * light, (*light.shape[:2], 3))


def close(got: np.ndarray, expected: np.ndarray, tolerance: float = 0.51) -> None:
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= tolerance


@pytest.mark.parametrize("photometric", SAMPLES)
@pytest.mark.parametrize("dtype", TYPES)
def test_samples_of_every_type_lie_anywhere(dtype: str, photometric: int) -> None:
    values, white = made(dtype, SAMPLES[photometric])
    expected = shown(values, white, photometric)
    for place in PLACES:
        if (place.get("predictor") == 3) != (dtype[0] == "f") and "predictor" in place:
            continue
        got = read_image(tiff_of(values, photometric, **place))
        close(got, expected, 2 if photometric == CMYK else 0.51)


@pytest.mark.parametrize("bits", range(1, 16))
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, GRAY, RGB])
def test_any_number_of_bits_is_scaled_to_white(bits: int, photometric: int) -> None:
    most = (1 << bits) - 1
    random = np.random.default_rng(bits).integers(0, most + 1, (HEIGHT, WIDTH, SAMPLES[photometric]))
    values = random.astype(np.uint16)
    values[0, 0], values[0, 1] = 0, most
    close(read_image(tiff_of(values, photometric, bits=bits)), shown(values, most, photometric))


@pytest.mark.parametrize(("dtype", "photometric"), ALPHAS)
@pytest.mark.parametrize("planar", [False, True])
def test_alpha_lies_on_white(dtype: str, photometric: int, planar: bool) -> None:
    count = SAMPLES[photometric]
    values, white = made(dtype, count + 1)
    values[0, :, count], values[1, :, count] = 0, white
    solid = values[..., count:].astype(np.float64) / white
    # Alpha that colours were not multiplied by.
    opaque = shown(values[..., :count], white, photometric)
    expected = opaque * solid + 255 * (1 - solid)
    close(read_image(tiff_of(values, photometric, extra=[2], planar=planar)), expected, 1)
    # Alpha that they were multiplied by.
    many = values.astype(np.float64)
    many[..., :count] *= solid
    multiplied = many.astype(dtype) if dtype[0] == "f" else np.rint(many).astype(dtype)
    if photometric != WHITE_IS_ZERO:
        close(read_image(tiff_of(multiplied, photometric, extra=[1], planar=planar)), expected, 1.6)
    # Something that is no alpha.
    close(read_image(tiff_of(values, photometric, extra=[0], planar=planar)), opaque)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("place", [{}, {"planar": True}, {"tile": 16, "deflate": True}])
def test_palettes_are_looked_up(bits: int, place: dict[str, bool]) -> None:
    rng = np.random.default_rng(bits)
    colours = rng.integers(0, 256, (3, 1 << bits))
    values = rng.integers(0, 1 << bits, (HEIGHT, WIDTH, 1)).astype(np.uint8)
    data = tiff_of(values, 3, bits=bits, more={320: ("H", (colours * 257).ravel().tolist())}, **place)
    np.testing.assert_array_equal(read_image(data), colours.T[values[..., 0]])


def test_a_transparent_page_is_white_and_told_of() -> None:
    values, _ = made("u2", 4)
    values[..., 3] = 0
    remarks: list[Remark] = []
    assert read_image(tiff_of(values, RGB, extra=[2]), remarks=remarks).min() == 255
    assert remarks == [Remark("transparent")]


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "tiff_adobe_deflate", "zstd", "lzma"])
def test_libtiffs_compressions(compression: str) -> None:
    values, white = made("u2", 1)
    data = saved(Image.fromarray(values[..., 0]), "TIFF", compression=compression)
    close(read_image(data), shown(values, white, GRAY))


@pytest.mark.parametrize("child", [False, True])
def test_the_first_page_that_is_no_thumbnail_is_read(child: bool) -> None:
    small = np.zeros((9, 12, 3), np.uint8)
    reduced = {254: ("I", [1]), 330: ("I", [0])} if child else {254: ("I", [1])}
    for dtype in ("u1", "u2"):
        values, white = made(dtype, 3)
        data = with_thumbnail(tiff_of(values, RGB, order="<"), tiff_of(small, RGB, more=reduced), child)
        close(read_image(data), shown(values, white, RGB))
    # A page that is not marked is the image, however small.
    values, _ = made("u1", 3)
    pages = with_thumbnail(tiff_of(values, RGB), tiff_of(small, RGB), False)
    assert read_image(pages).shape == (9, 12, 3)


@pytest.mark.parametrize("photometric", [32803, 34892])
def test_camera_raw_is_refused_by_name(photometric: int) -> None:
    sensor = tiff_of(np.zeros((20, 30, 1), np.uint16), photometric)
    small = tiff_of(np.zeros((9, 12, 3), np.uint8), RGB, more={254: ("I", [1]), 330: ("I", [0])})
    for data in (sensor, with_thumbnail(sensor, small, True), with_thumbnail(sensor, small, False)):
        with pytest.raises(ImageError, match=r"camera raw file .* develop it"):
            read_image(data)


def test_what_is_not_read_says_its_depth() -> None:
    signed, _ = made("i2", 1)
    signed[3, 3] = -5
    cases = {
        "a TIFF of 16-bit signed integers, gray: integer values from -5": tiff_of(signed, GRAY),
        "a TIFF of 8-bit signed integers, gray: values from -1": tiff_of(np.full((4, 4, 1), -1, np.int8), GRAY),
        "a TIFF of 64-bit floats, RGB: .*300": tiff_of(np.full((4, 4, 3), 300.0), RGB),
        "a TIFF of 64-bit complex numbers, gray.*convert it": tiff_of(
            np.zeros((4, 4, 1)), GRAY, more={339: ("H", [6])}
        ),
        "a TIFF of 5-bit and 6-bit integers, RGB": tiff_of(
            np.zeros((4, 4, 3), np.uint8), RGB, more={258: ("H", [5, 6, 5])}
        ),
        "a TIFF of 16-bit integers, Lab": tiff_of(np.zeros((4, 4, 3), np.uint16), 8),
    }
    for words, data in cases.items():
        with pytest.raises(ImageError, match=words):
            read_image(data)


@pytest.mark.parametrize("highest", [255, 4095, 4096])
def test_dark_images_of_16_bits_are_told_of(highest: int) -> None:
    values = np.full((4, 4, 3), highest, np.uint16)
    remarks: list[Remark] = []
    read_image(tiff_of(values, RGB), remarks=remarks)
    assert remarks == ([Remark("dark", f"up to {highest}")] if highest < 4096 else [])


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_the_range_of_floats_is_told(white: float) -> None:
    values = np.linspace(0, white, 48).reshape(4, 4, 3)
    remarks: list[Remark] = []
    close(read_image(tiff_of(values, RGB), remarks=remarks), values * (255 / white))
    assert remarks == [Remark("floats-0-1" if white == 1 else "floats-0-255")]


@pytest.mark.parametrize("options", [{}, {"deflate": True}, {"tile": 16}, {"planar": True}])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_what_is_cut_off_or_forged_is_an_error(options: dict[str, bool]) -> None:
    values, _ = made("u2", 3)
    data = tiff_of(values, RGB, **options)
    for length in range(0, len(data), 97):
        with pytest.raises(ImageError):
            read_image(data[:length])
    rng = np.random.default_rng(5)
    for _ in range(300):
        forged = bytearray(data)
        for at in rng.integers(len(data) - 300, len(data), 3):
            forged[at] = rng.integers(256)
        try:
            read_image(bytes(forged), size=8)
        except ImageError as error:
            assert str(error)


def test_missing_strips_are_kept_where_asked_for() -> None:
    values, white = made("u2", 3)
    data = tiff_of(values, RGB)
    remarks: list[Remark] = []
    # The first strip lies near the end of the file, so that there is too little of it.
    offset = data.index((8).to_bytes(4, "little"), int.from_bytes(data[4:8], "little") + 2 + 12 * 12)
    forged = data[:offset] + (len(data) - 500).to_bytes(4, "little") + data[offset + 4 :]
    with pytest.raises(ImageError, match=r"cut short: .* bytes of its pixels are missing"):
        read_image(forged)
    assert read_image(forged, damaged="keep", remarks=remarks).shape == values.shape
    assert [remark.kind for remark in remarks] == ["damaged"]
    expected = shown(values, white, RGB)
    close(read_image(forged, damaged="keep")[7:], expected[7:])


def test_big_tiff_of_pillow() -> None:
    values, _ = made("u1", 3)
    file = BytesIO()
    Image.fromarray(values).save(file, "TIFF", big_tiff=True)
    np.testing.assert_array_equal(read_image(file.getvalue()), values)
