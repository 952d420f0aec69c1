"""The README does what it says: its commands and its Python run, in order, on a small folder of images."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT
from PIL import Image

from latentstore.cli.main import main

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/ with 33 images in two classes, and photo.jpg beside it; the working directory."""
    y, x = np.mgrid[:96, :128]
    for i in range(33):
        image = np.stack([x + i, y + 2 * i, (x * y) // 64], -1) % 256
        path = tmp_path / "photos" / ("even", "odd")[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(path, quality=90)
    path.rename(tmp_path / "photo.jpg")
    Image.open(tmp_path / "photo.jpg").save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_and_python_run(photos: Path) -> None:
    pytest.importorskip("torch")
    commands = [
        shlex.split(line, comments=True)[1:]
        for block in blocks("bash")
        for line in block.splitlines()
        if line.startswith("latentstore ")
    ]
    assert [command[0] for command in commands] == ["convert", "info", "verify", "export"]
    for command in commands:
        assert main(command) == 0, command
    assert len(list((photos / "seen").rglob("*.png"))) == 20
    python = blocks("python")
    assert len(python) == 4
    names: dict[str, Any] = {}
    for block in python:
        names = {}
        exec(compile(block, "README.md", "exec"), names)
        if "batch" in names:
            assert names["batch"]["latent"].shape == (32, 12, 32, 32)
        if "latents" in names:
            assert names["latents"].shape == (8, 48, 32, 32) and names["images"].shape == (8, 256, 256, 3)
            assert names["latent"].shape == (12, 12, 16)
            assert names["preview"].shape == names["image"].shape == (96, 128, 3)
    assert names["image"].shape == (64, 96, 3)


def test_its_image_is_small() -> None:
    assert (ROOT / "docs" / "images" / "demo-sheet.png").stat().st_size < 300_000
