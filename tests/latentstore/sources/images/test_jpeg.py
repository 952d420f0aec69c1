"""JPEG: the pixels are Pillow's, and missing data is heard."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from drawn_images import photo
from odd_images import saved
from PIL import Image

import latentstore
from latentstore import ImageError
from latentstore.sources.images import read_image
from latentstore.sources.remarks import Remark

OPTIONS = [
    {}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"restart_marker_rows": 1}, {"optimize": True},
]  # fmt: skip
PIXELS = np.asarray(Image.fromarray(photo(75, 100, 3, 5)).resize((601, 452), Image.Resampling.BICUBIC))
EOI = b"\xff\xd9"


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    return saved(Image.fromarray(PIXELS).convert(mode), "JPEG", quality=90, **options)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [None, 32, 60, 100, 300])
def test_pixels_are_pillows(options: dict[str, object], mode: str, size: int | None) -> None:
    data = jpeg(mode, **options)
    for wanted in ("RGB", "L"):
        image = Image.open(io.BytesIO(data))
        image.draft(wanted, None if size is None else (2 * size, 2 * size))
        image = image.convert(wanted)
        if size is not None:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
            image = image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
        expected = np.asarray(image).reshape(image.height, image.width, -1)
        np.testing.assert_array_equal(read_image(data, wanted, size), expected)


def damages(data: bytes) -> dict[str, bytes]:
    half = len(data) // 2
    return {
        "half, and the end's mark": data[:half] + EOI,
        "a tenth is missing, and the end's mark": data[: len(data) * 9 // 10] + EOI,
        "cut": data[:half],
        "zeros": data[:half] + bytes(len(data) - half - 2) + EOI,
    }


# simplejpeg does not know CMYK whose first ink alone is at full size; see `test_what_cannot_be_heard_is_told_of`
@pytest.mark.parametrize(
    ("mode", "options"),
    [(mode, o) for mode in ("RGB", "L", "CMYK") for o in OPTIONS if (mode, o.get("subsampling")) != ("CMYK", 1)],
)
def test_missing_data_is_heard(options: dict[str, object], mode: str) -> None:
    data = jpeg(mode, **options)
    for name, broken in damages(data).items():
        for size in (None, 64):
            with pytest.raises(ImageError, match=r"cut short|damaged"):
                read_image(broken, size=size)
                pytest.fail(name)
        remarks: list[Remark] = []
        kept = read_image(broken, damaged="keep", remarks=remarks)
        assert kept.shape == PIXELS.shape
        assert [remark.kind for remark in remarks] == ["damaged"], name
        if "progressive" not in options:
            np.testing.assert_array_equal(kept[:100], read_image(data)[:100])


@pytest.mark.parametrize("subsampling", [1, 2])
def test_what_cannot_be_heard_is_told_of(subsampling: int, tmp_path: Path) -> None:
    """Of every such file, whole or not; a conversion counts them."""
    data = jpeg("CMYK", subsampling=subsampling)
    for name, broken in {"whole": data, **damages(data)}.items():
        remarks: list[Remark] = []
        if name == "cut":  # that Pillow notices, too
            with pytest.raises(ImageError, match="cut short"):
                read_image(broken, size=64)
        else:
            read_image(broken, size=64, remarks=remarks)
            assert [remark.kind for remark in remarks] == ["unheard"], name
        (tmp_path / f"{name[:4].strip()}.jpg").write_bytes(broken)
    (tmp_path / "usual.jpg").write_bytes(jpeg("CMYK"))
    report = latentstore.convert(tmp_path, tmp_path / "x.zarr", size=64, progress=False)
    assert (report.stored, len(report.failures)) == (5, 1)
    assert "4 images are JPEGs of a rare kind, in whose pixels damage cannot be noticed" in report.page()


def test_bytes_that_lose_no_pixel_are_told_of() -> None:
    data = jpeg()
    remarks: list[Remark] = []
    got = read_image(data[:-2] + b"some more of it" + EOI, remarks=remarks)
    np.testing.assert_array_equal(got, read_image(data))
    assert [remark.kind for remark in remarks] == ["decoder-warning"] and "extraneous" in remarks[0].detail
    remarks.clear()
    np.testing.assert_array_equal(read_image(data + b"behind the end", remarks=remarks), read_image(data))
    assert remarks == []


def test_random_damage_is_told_or_refused_or_no_damage() -> None:
    rng = np.random.default_rng(0)
    files = [jpeg(), jpeg(progressive=True), jpeg("L")]
    for i in range(300):
        data = bytearray(files[i % 3])
        for at in rng.integers(0, len(data), rng.integers(1, 5)):
            data[at] = rng.integers(256)
        for damaged in ("skip", "keep"):
            try:
                assert read_image(bytes(data), size=16, damaged=damaged).shape == (16, 16, 3)
            except ImageError as error:
                assert str(error)
