"""The demo, on fewer tiles than people get."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentstore.codecs.errors import LatentstoreError, StoreError
from latentstore.demo.images import demo_images
from latentstore.demo.jpeg_match import match_jpeg
from latentstore.evaluate.images.metrics import psnr

pytest.importorskip("skimage", reason="the demo's images come with scikit-image")


def test_demo_prints_tables_and_writes_the_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentstore.demo.images.TIMED_TILES", 2)
    out = io.StringIO()
    sheet = demo_images(str(tmp_path / "demo"), out=out, most_tiles=2)
    told = out.getvalue()
    assert "16 overlapping tiles" in told
    for words in (
        "12 of 48 channels",
        "24 of 48 channels",
        "48 of 48 channels",
        "JPEG quality",
        "PSNR",
        "samples/s",
    ):
        assert words in told
    with Image.open(sheet) as image:
        assert image.width > 8 * 256
        assert image.height > 6 * 256
        assert np.asarray(image).std() > 20
    again = demo_images(str(tmp_path / "demo"), out=io.StringIO(), most_tiles=1)  # its own folder may be used again
    assert again == sheet


def test_the_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        demo_images(str(tmp_path))


def test_without_scikit_image_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LatentstoreError, match=r"latentstore\[demo\]"):
        demo_images(str(tmp_path / "demo"), out=io.StringIO())


def test_jpeg_is_matched_from_above() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (4, 6, 6, 3), np.uint8)
    images = np.stack([np.asarray(Image.fromarray(p).resize((64, 64), Image.Resampling.BICUBIC)) for p in small])
    low, high = match_jpeg(images, 30.0, images[:1]), match_jpeg(images, 33.0, images[:1])
    assert low.psnr >= 30.0
    assert high.psnr >= 33.0
    assert low.quality < high.quality
    assert low.bytes_at_psnr <= low.bytes < high.bytes


def test_psnr() -> None:
    black = np.zeros((1, 4, 4, 3), np.uint8)
    assert psnr(black, black) == float("inf")
    assert psnr(black, black + np.uint8(255)) == pytest.approx(0.0)
    assert psnr(black, black + np.uint8(1)) == pytest.approx(48.1308, abs=1e-3)
