"""A folder of images of every odd kind: each is stored, told of, or left out by its true name; and numbers add up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from odd_images import saved
from PIL import Image
from png_made import RGB, chunk, png_made
from tiff_made import RGB as TIFF_RGB
from tiff_made import tiff_of

import latentstore
from latentstore import ArgumentError
from latentstore.cli.main import main

PIXELS = np.asarray(Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).resize((64, 48)))
GAMMA = chunk(b"gAMA", (100_000).to_bytes(4, "big"))


def files() -> dict[str, bytes]:
    jpeg = saved(PIXELS, "JPEG", quality=90)
    deep = (PIXELS.astype(np.uint16) * 257) // 20
    clear = np.zeros((48, 64, 4), np.uint8)
    return {
        "plain.png": saved(PIXELS, "PNG"),
        "gamma.png": png_made(PIXELS, 8, RGB, before=[GAMMA]),
        "text.png": png_made(PIXELS, 8, RGB, before=[chunk(b"tEXt", b"a\0b", right=False)]),
        "planar.tif": tiff_of(PIXELS.astype(np.uint16) * 257, TIFF_RGB, planar=True),
        "dark.tif": tiff_of(deep, TIFF_RGB),
        "floats.tif": tiff_of(PIXELS / 255, TIFF_RGB),
        "signed.tif": tiff_of(PIXELS.astype(np.int16) - 99, TIFF_RGB),
        "clear.png": saved(clear, "PNG"),
        "half.jpg": jpeg[: len(jpeg) // 2] + b"\xff\xd9",
        "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50),
        "clip.mp4": b"\0\0\0\x18ftypisom\0\0\0\0mp42isom" + bytes(50),
        "Thumbs.db": b"\xd0\xcf\x11\xe0" + bytes(60),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name, data in files().items():
        (tmp_path / "in" / name).write_bytes(data)
    return tmp_path / "in"


def convert(folder: Path, **options: object) -> tuple[latentstore.conversion.report.Report, dict[str, int]]:
    options = {"size": "native", "quality": 95, "overwrite": True, **options}
    report = latentstore.convert(folder, folder.parent / "out.zarr", **options)  # type: ignore[arg-type]
    said = json.loads((folder.parent / "out.zarr" / "key" / "report.json").read_text())
    assert said["found"] == said["stored"] + said["left_out"] + sum(said["passed_over"].values()) == len(files())
    return report, {told["kind"]: told["count"] for told in said["remarks"] if told["kind"] != "coefficients"}


def test_every_entry_ends_in_one_place(folder: Path) -> None:
    report, told = convert(folder)
    assert {failure.key: failure.reason.split(":")[0] for failure in report.failures} == {
        "half": "cut short", "photo": "an HEIC image, which is not read",
        "clip": "a video (MPEG-4 or QuickTime), which is not read",
        "signed": "a TIFF of 16-bit signed integers, RGB",
    }  # fmt: skip
    assert told == {"color-profile": 1, "dark": 1, "floats-0-1": 1, "transparent": 1}
    page = report.page()
    assert "1 image has a colour profile other than sRGB, which was not applied; color='srgb' converts" in page
    assert "1 image is transparent everywhere, and was stored as white" in page


def test_damaged_images_are_kept_where_asked_for(folder: Path) -> None:
    report, told = convert(folder, damaged="keep")
    assert {failure.key for failure in report.failures} == {"photo", "clip", "signed"}
    assert told["damaged"] == 1


def test_colours_are_converted_where_asked_for(folder: Path) -> None:
    _, told = convert(folder, color="srgb")
    assert "color-profile" not in told
    dataset = latentstore.open(folder.parent / "out.zarr")
    by_key = {dataset[i]["key"]: i for i in range(len(dataset))}
    shown = dataset.decode(dataset[by_key["gamma"]]["latent"][None], (48, 64))[0].astype(int)
    assert np.abs(shown - 255 * (PIXELS / 255) ** 0.45455).mean() < 4


@pytest.mark.parametrize(
    ("stack", "attributes", "white"),
    [
        ([250.0, 0.5, 1.0], {}, 255),
        ([1.0, 0.5, 0.2], {}, 1),
        ([0.9, 0.5, 0.2], {"range": [0, 255]}, 255),
        ([float("nan"), 0.5, 3.0], {}, 255),
    ],
)
def test_floats_of_an_array_have_one_range(
    tmp_path: Path, stack: list[float], attributes: dict[str, object], white: int
) -> None:
    images = np.broadcast_to(np.array(stack, np.float32)[:, None, None, None], (3, 16, 16, 3))
    array = zarr.create_array(tmp_path / "in.zarr", data=images, chunks=(1, 16, 16, 3))
    array.attrs.update(attributes)
    report = latentstore.convert(tmp_path / "in.zarr", tmp_path / "out.zarr", size="native", quality=95)
    assert [(told.kind, told.count) for told in report.remarks] == [(f"floats-0-{white}", 3)]
    assert len(report.failures) == int(np.isnan(stack).any())
    dataset = latentstore.open(tmp_path / "out.zarr")
    expected = [round(value * 255 / white) for value in stack if value == value]
    for i, value in enumerate(expected):
        assert np.abs(dataset.decode(dataset[i]["latent"][None], (16, 16))[0].astype(int) - value).max() <= 2


@pytest.mark.parametrize(
    ("highest", "attributes", "words"),
    [(1.2, {}, "neither clearly 0..1 nor 0..255"), (0.5, {"range": [-1, 1]}, "says range = .-1, 1.")],
)
def test_an_unclear_range_is_an_error(
    tmp_path: Path, highest: float, attributes: dict[str, object], words: str
) -> None:
    array = zarr.create_array(tmp_path / "in.zarr", data=np.full((2, 16, 16), highest))
    array.attrs.update(attributes)
    with pytest.raises(ArgumentError, match=words):
        latentstore.convert(tmp_path / "in.zarr", tmp_path / "out.zarr", size="native")


def test_pillows_warnings_of_metadata_are_not_on_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    icon = bytearray(saved(PIXELS, "ICO", sizes=[(64, 48)]))
    icon[6:8] = b"\x21\x21"  # its list says 33 x 33
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.ico").write_bytes(icon)
    assert main(["convert", str(tmp_path / "s"), str(tmp_path / "x.zarr"), "--codec", "rgb-f8c48"]) == 0
    assert "Warning" not in capsys.readouterr().err and not recwarn.list
