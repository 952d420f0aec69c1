"""A grid of PNGs written by hand: every depth, colour type and transparency; and chunks that decide no pixel."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from png_made import GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA, chunk, png_made

from latentstore import ImageError
from latentstore.sources.images import read_image
from latentstore.sources.remarks import Remark

HEIGHT, WIDTH = 29, 43
KINDS = [
    *((GRAY, depth) for depth in (1, 2, 4, 8, 16)), *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((kind, depth) for kind in (RGB, GRAY_ALPHA, RGBA) for depth in (8, 16)),
]  # fmt: skip
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
COLOURS = np.random.default_rng(9).integers(0, 256, (256, 3))


def made(kind: int, depth: int) -> np.ndarray:
    return np.random.default_rng(depth + kind).integers(0, 1 << depth, (HEIGHT, WIDTH, SAMPLES[kind]))


def palette(depth: int) -> list[bytes]:
    return [chunk(b"PLTE", COLOURS[: 1 << depth].astype(np.uint8).tobytes())]


def shown(values: np.ndarray, kind: int, depth: int) -> np.ndarray:
    """RGB 0..255 on white, not rounded."""
    if kind == PALETTE:
        return COLOURS[values[..., 0]]
    light = values / ((1 << depth) - 1)
    if kind in (GRAY_ALPHA, RGBA):
        light = light[..., :-1] * light[..., -1:] + 1 - light[..., -1:]
    return np.broadcast_to(255 * light, (HEIGHT, WIDTH, 3))


def told(data: bytes, **options: str) -> tuple[np.ndarray, list[Remark]]:
    remarks: list[Remark] = []
    return read_image(data, remarks=remarks, **options), remarks  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "depth"), KINDS)
@pytest.mark.parametrize("interlaced", [False, True])
def test_every_depth_and_colour_type(kind: int, depth: int, interlaced: bool) -> None:
    values = made(kind, depth)
    before = palette(depth) if kind == PALETTE else []
    got = read_image(png_made(values, depth, kind, interlaced=interlaced, before=before))
    # Two roundings where there is alpha.
    assert np.abs(got - shown(values, kind, depth)).max() <= (1.51 if kind in (GRAY_ALPHA, RGBA) else 0.51)


@pytest.mark.parametrize(("kind", "depth"), [one for one in KINDS if one[0] in (GRAY, RGB)])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_transparent_colour_is_white_at_any_depth(kind: int, depth: int, interlaced: bool) -> None:
    values = made(kind, depth)
    clear = values[3, 5]
    # Bits above the depth are not looked at.
    before = [chunk(b"tRNS", (clear | (0 if depth == 16 else 0x100 << (depth == 8))).astype(">u2").tobytes())]
    expected = shown(values, kind, depth).copy()
    expected[(values == clear).all(-1)] = 255
    got, remarks = told(png_made(values, depth, kind, interlaced=interlaced, before=before))
    assert np.abs(got - expected).max() <= 0.51 and remarks == []


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_have_an_alpha_for_each_colour(depth: int) -> None:
    values = made(PALETTE, depth)
    alpha = np.random.default_rng(4).integers(0, 256, 1 << depth)
    before = [*palette(depth), chunk(b"tRNS", alpha.astype(np.uint8).tobytes())]
    solid = alpha[values] / 255
    expected = shown(values, PALETTE, depth) * solid + 255 * (1 - solid)
    assert np.abs(read_image(png_made(values, depth, PALETTE, before=before)) - expected).max() <= 1.01


@pytest.mark.parametrize("kind", [GRAY, RGBA, GRAY_ALPHA])
@pytest.mark.parametrize("depth", [8, 16])
def test_an_image_that_is_transparent_everywhere_is_told_of(kind: int, depth: int) -> None:
    values, before = np.full((HEIGHT, WIDTH, SAMPLES[kind]), 7), []
    if kind == GRAY:
        before = [chunk(b"tRNS", b"\0\7")]
    else:
        values[..., -1] = 0
    got, remarks = told(png_made(values, depth, kind, before=before))
    assert got.min() == 255 and Remark("transparent") in remarks


BROKEN = {
    "text of a wrong checksum": [chunk(b"tEXt", b"Software\0x", right=False)],
    "a huge text": [chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80 << 20)))],
    "a huge international text": [chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(80 << 20)))],
    "many texts": [chunk(b"tEXt", b"k%d\0" % i + bytes(1 << 20)) for i in range(70)],
    "text that is not compressed": [chunk(b"zTXt", b"Comment\0\0no zlib")],
    "a time of no length": [chunk(b"tIME", b"", right=False)],
    "a size of no length": [chunk(b"pHYs", b"")],
    "an animation of no frames": [chunk(b"acTL", bytes(8)), chunk(b"acTL", b"")],
    "a frame out of order": [chunk(b"acTL", b"\0\0\0\2" + bytes(4)), chunk(b"fcTL", bytes(3))],
    "a chunk of nobody's": [chunk(b"quZz", b"what", right=False)],
}


@pytest.mark.parametrize("name", BROKEN)
def test_chunks_that_decide_no_pixel_lose_none(name: str) -> None:
    values = made(RGB, 8)
    for place in ("before", "after"):
        got, remarks = told(png_made(values, 8, RGB, **{place: BROKEN[name]}))  # type: ignore[arg-type]
        np.testing.assert_array_equal(got, values)
        assert remarks == []


@pytest.mark.parametrize(
    "broken",
    [
        chunk(b"iCCP", b"x\0\0" + zlib.compress(b"none"), right=True),
        chunk(b"iCCP", b"x\0\0no zlib"),
        chunk(b"iCCP", b"x" * 90),
        chunk(b"iCCP", b"x\0\0" + zlib.compress(b"p" * 400)),
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200 << 20))),
        chunk(b"iCCP", b"x\0\0", right=False),
        chunk(b"gAMA", b"\0"),
        chunk(b"eXIf", b"MM\0*", right=False),
    ],
)
def test_a_broken_profile_or_exif_only_loses_that(broken: bytes) -> None:
    values = made(RGB, 8)
    for color in (None, "srgb"):
        got, remarks = told(png_made(values, 8, RGB, before=[broken]), color=color)  # type: ignore[arg-type]
        np.testing.assert_array_equal(got, values)
        assert [remark.kind for remark in remarks] == ["metadata"]


def test_missing_rows_are_an_error_or_kept() -> None:
    values = made(RGB, 8)
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in values)
    whole = png_made(values, 8, RGB)
    files = {
        "its pixel data ends after": png_made(values, 8, RGB, rows=rows[: 12 * (1 + 3 * WIDTH) + 40]),
        "chunk IDAT at byte 33 has": whole[: 33 + 8 + 2000],
        "checksum of PNG chunk IDAT": whole[:2000] + bytes([whole[2000] ^ 4]) + whole[2001:],
        "without its last chunk": whole[:-12],
    }
    for words, data in files.items():
        with pytest.raises(ImageError, match=words):
            read_image(data)
        got, remarks = told(data, damaged="keep")
        assert [remark.kind for remark in remarks] == ["damaged"]
        np.testing.assert_array_equal(got[:5], values[:5])
        assert got.shape == values.shape
    short = png_made(values, 8, RGB, interlaced=True, rows=rows[:600])
    with pytest.raises(ImageError, match="its pixel data ends after 600"):
        read_image(short)
    assert told(short, damaged="keep")[1][0].kind == "damaged"


def test_data_that_cannot_be_decompressed_is_not_cut_short() -> None:
    values = made(RGB, 8) // 64
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in values)
    packed, head = zlib.compress(rows), png_made(values, 8, RGB)[:33]

    def with_data(pixels: bytes) -> bytes:
        # in pieces, the first of which ends within the header of zlib
        chunks = [chunk(b"IDAT", pixels[:1]), chunk(b"IDAT", pixels[1:]), chunk(b"IEND", b"")]
        return head + b"".join(chunks)

    np.testing.assert_array_equal(read_image(with_data(packed)), values)
    sum_wrong = with_data(packed[:-4] + b"\1\2\3\4")
    with pytest.raises(ImageError, match=r"^damaged: broken data stream"):
        read_image(sum_wrong)
    got, remarks = told(sum_wrong, damaged="keep")
    np.testing.assert_array_equal(got, values)
    assert [remark.kind for remark in remarks] == ["damaged"]
    middle = len(packed) // 2
    with pytest.raises(ImageError, match=r"cannot be decompressed after [1-9][0-9]* of"):
        read_image(with_data(packed[:middle] + b"\xff" * 64 + packed[middle + 64 :]))


def test_black_rows_at_the_end_are_an_image() -> None:
    for kind, depth in ((GRAY, 1), (GRAY, 16), (RGB, 8), (RGB, 16)):
        values = made(kind, depth)
        values[-4:] = 0
        got, remarks = told(png_made(values, depth, kind))
        assert np.abs(got - shown(values, kind, depth)).max() <= 0.51 and remarks == []


def test_what_makes_no_sense_is_refused() -> None:
    values = made(RGB, 8)
    files = {
        "CgBI": b"\x89PNG\r\n\x1a\n" + chunk(b"CgBI", b"\x50\0\x20\6") + png_made(values, 8, RGB)[8:],
        "changes its pixels": png_made(values, 8, RGB, before=[chunk(b"ABCD", b"")]),
        "colour type 2 has no samples of 4 bits": png_made(values, 4, RGB),
        "no palette": png_made(made(PALETTE, 8), 8, PALETTE),
        "has no pixel data": b"\x89PNG\r\n\x1a\n" + png_made(values, 8, RGB)[8:33] + chunk(b"IEND", b""),
        "checksum of PNG chunk tRNS": png_made(values, 8, RGB, before=[chunk(b"tRNS", bytes(6), right=False)]),
        "does not begin with its header": b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b""),
    }
    for words, data in files.items():
        with pytest.raises(ImageError, match=words):
            read_image(data)


@pytest.mark.parametrize("kind", [GRAY, RGB, RGBA, GRAY_ALPHA])
def test_dark_images_of_16_bits_are_told_of(kind: int) -> None:
    values = made(kind, 16)
    values[..., : 3 if kind in (RGB, RGBA) else 1] %= 4096
    _, remarks = told(png_made(values, 16, kind))
    assert [remark.kind for remark in remarks] == ["dark"]
