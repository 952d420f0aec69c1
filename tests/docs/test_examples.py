"""The scripts of docs/examples run and do what they promise."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

import latentstore

EXAMPLES = ROOT / "docs" / "examples"


def run(name: str, *arguments: str, ignored: str = "") -> str:
    """What the script prints. Warnings are errors, but for those `ignored` (a filter of Python's -W)."""
    filters = ["-W", "error", *(["-W", ignored] if ignored else [])]
    done = subprocess.run(
        [sys.executable, *filters, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # more threads than cores would wait for each other
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def percent(text: str) -> float:
    (found,) = re.findall(r"accuracy on 72 other images: ([\d.]+)%", text)
    return float(found)


def test_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a folder, as a user has one; the example under Lightning draws its own."""
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from shapes import draw_folder

    draw_folder(tmp_path / "train", 64, seed=0)
    draw_folder(tmp_path / "test", 24, seed=1)
    printed = run("classifier.py", str(tmp_path))
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert len(losses) == 8 and losses[-1] < losses[0] / 3
    assert percent(printed) > 85  # a third by guessing


def test_classifier_under_lightning() -> None:
    pytest.importorskip("torch")
    if subprocess.run([sys.executable, "-c", "import lightning"], capture_output=True, check=False).returncode:
        pytest.skip("lightning is not installed")
    # Lightning calls what torch and others have deprecated; nothing of ours is in those warnings.
    assert percent(run("classifier_lightning.py", ignored="ignore")) > 85


def test_tiled_zarr() -> None:
    printed = run("tiled_zarr.py", "1300")
    assert "1300 x 1300 pixels in 9 tiles" in printed
    (psnr,) = re.findall(r"PSNR ([\d.]+) dB", printed)
    assert float(psnr) > 38


def test_own_codec() -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("threadpoolctl")
    printed = run("own_codec.py")
    found = {
        (name, int(quality)): (float(bits), float(psnr))
        for name, quality, bits, psnr in re.findall(
            r"(\S+) +quality (\d+): ([\d.]+) bits a pixel, ([\d.]+) dB", printed
        )
    }
    assert len(found) == 4
    for quality in (50, 90):  # fitted to such images, it is much better at about the same bits
        (bits, psnr), (shipped_bits, shipped_psnr) = found["pages-f8c48", quality], found["rgb-f8c48", quality]
        assert bits < 1.05 * shipped_bits and psnr > shipped_psnr + 2


def test_every_example_is_tested_and_named() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    pages = "".join(p.read_text(encoding="utf-8") for p in (EXAMPLES / "README.md", ROOT / "README.md"))
    for script in EXAMPLES.glob("*.py"):
        if script.stem != "shapes":
            assert f'"{script.name}"' in source
        assert script.name in pages


def test_cache_latents() -> None:
    pytest.importorskip("torch")
    printed = run("cache_latents.py")
    assert "192 new: 192 to encode" in printed and "191 unchanged; 1 changed, 0 new: 1 to encode" in printed
    (bytes_each,) = re.findall(r"192 samples, (\d+) bytes each; as float16 2048", printed)
    assert int(bytes_each) < 1024, "less than half"
    (found,) = re.findall(r"accuracy: ([\d.]+)%", printed)
    assert float(found) > 60  # a third by guessing
    assert "version 2" in printed


def test_sdxl_latents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a pipeline that has the shapes of SDXL's and none of its weights."""
    pytest.importorskip("torch")
    for folder in (EXAMPLES, Path(__file__).parent / "stubs"):
        monkeypatch.syspath_prepend(str(folder))
    from shapes import draw_folder

    from latentstore.loaders import LatentLoader

    draw_folder(tmp_path / "drawn", 1, seed=0)
    (tmp_path / "images").mkdir()
    drawn = sorted((tmp_path / "drawn").rglob("*.png"))
    for number, path in enumerate(drawn):
        path.rename(tmp_path / "images" / f"{number}.png")
        (tmp_path / "images" / f"{number}.txt").write_text("x" * number + "\n")
    given = (str(tmp_path / "images"), str(tmp_path / "sdxl.store"))
    main = runpy.run_path(str(EXAMPLES / "sdxl_latents.py"))["main"]
    main(*given)
    assert f"{len(drawn)} samples, " in capsys.readouterr().out
    (tmp_path / "images" / "more.png").write_bytes((tmp_path / "images" / "0.png").read_bytes())
    (tmp_path / "images" / "more.txt").write_text("one more")
    main(*given)
    printed = capsys.readouterr().out
    assert f"{len(drawn) + 1} samples, " in printed
    assert re.search(r"'latent': \(\d, 4, 128, 128\), 'text': \(\d, 77, 2048\), 'pooled': \(\d, 1280\)", printed)
    assert "'time_ids': (4, 6)" in printed
    ds = latentstore.open(given[1])
    assert ds.version == 2 and [sample["caption"] for sample in map(ds.__getitem__, range(len(ds)))][-1] == "one more"
    assert ds.encoders["latent"].scale == 0.13025 and ds.encoders["text"].scale == 1
    loader = LatentLoader(ds, 1, output="latents")
    for sample, batch in zip(map(ds.__getitem__, range(len(ds))), loader, strict=True):
        assert np.allclose(batch["latent"][0].numpy(), 0.13025 * sample["latent"].astype(np.float32), atol=1e-3)
        assert (batch["text"] == len(sample["caption"])).all()
