"""`latentstore fit`: the same bytes again, a codec that works, and clear words where it cannot."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_images import drawn, psnr
from PIL import Image

from latentstore.cli.main import main
from latentstore.codecs import codec_from_bytes, load_codec, shipped
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.symmetry import SYMMETRIES, transform_image
from latentstore.fit import api
from latentstore.fit import images as fit_images
from latentstore.fit.audio import AUDIO_SHAPES

pytest.importorskip("scipy", reason="fitting needs SciPy (extra: train)")
pytest.importorskip("threadpoolctl", reason="fitting needs threadpoolctl (extra: train)")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of three sizes, in a folder and its subfolder."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "more").mkdir()
    for i, (name, height, width) in enumerate([("a.png", 96, 120), ("b.png", 65, 71), ("more/c.png", 128, 64)]):
        Image.fromarray(drawn("photo", height, width, 3, i)).save(folder / name)
    return folder


@pytest.fixture(scope="module", params=["rgb-f8c48", "gray-f8c16", "rgb-f16c48"])
def like(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def artifact(images: Path, like: str) -> bytes:
    return api.fit(images, "mine", api.SHAPES[like], licence="mine alone", rounds=1)


@pytest.mark.parametrize("like", ["rgb-f8c48"], indirect=True)
def test_the_same_images_give_the_same_bytes(images: Path, like: str, artifact: bytes, tmp_path: Path) -> None:
    """In another process, with another number of threads, and another hash seed."""
    out = tmp_path / "mine.safetensors"
    command = ["fit", str(images), "--name", "mine", "--like", like, "--out", str(out)]
    command += ["--licence", "mine alone", "--rounds", "1"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "3", "OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-m", "latentstore", *command], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(out.read_bytes()).hexdigest() == hashlib.sha256(artifact).hexdigest()
    assert list(tmp_path.iterdir()) == [out]
    assert "3 images" in done.stdout
    assert "round 1 of 1" in done.stdout


def test_the_codec_works(artifact: bytes, like: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(artifact)
    codec, model = load_codec(path), load_codec(like)
    assert codec.name == "mine"
    assert (codec.mode, codec.channels, codec.groups) == (model.mode, model.channels, model.groups)
    assert codec.card["licence"] == "mine alone"
    assert codec.card["fitted on"] == "3 images at full and half size"
    assert "dB" in codec.card["measured"]
    image = drawn("photo", 64, 80, codec.in_channels, 9)
    blob = codec.compress(image)
    assert len(blob) < image.size / 8
    assert (
        psnr(codec.decompress(blob, decoder="linear"), image) > psnr(model.decompress(model.compress(image)), image) - 1
    )
    np.testing.assert_array_equal(codec.read_latent(blob), codec.encode(image[None])[0])
    latent = codec.encode(image[None], effort="fast")
    for symmetry in SYMMETRIES:
        turned = np.ascontiguousarray(transform_image(image, symmetry))
        np.testing.assert_array_equal(codec.transform(latent, symmetry), codec.encode(turned[None], effort="fast"))


def test_a_codec_fits_its_own_images_best(images: Path, artifact: bytes, like: str) -> None:
    """At the bytes of the shipped codec its PSNR is higher on what it was fitted on."""
    own, model = codec_from_bytes(artifact), load_codec(like)
    image = np.asarray(Image.open(images / "a.png").convert(own.mode)).reshape(96, 120, -1)
    blobs = [own.compress(image, quality) for quality in range(30, 75, 5)]
    blob = model.compress(image, 50)
    decibels = [psnr(own.decompress(b), image) for b in blobs]
    assert np.interp(len(blob), [len(b) for b in blobs], decibels) > psnr(model.decompress(blob), image)


# what cannot be fitted


def test_files_that_are_no_images_are_named(images: Path, tmp_path: Path) -> None:
    Image.open(images / "b.png").save(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "cut.png").write_bytes((images / "a.png").read_bytes()[:2000])
    (tmp_path / ".hidden").write_text("left alone")
    said: list[str] = []
    api.fit(tmp_path, "mine", api.SHAPES["gray-f8c16"], rounds=0, say=said.append)
    left_out = [line for line in said if line.startswith("left out: ")]
    assert [line.split(": ")[1] for line in left_out] == ["cut.png"]
    passed = [line for line in said if line.startswith("passed over: ")]
    assert len(passed) == 2 and any("1 text" in line for line in passed)
    assert any(line.startswith("1 image, ") for line in said)


def test_nothing_to_fit_on(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ArgumentError, match="holds no image to fit on"):
        api.fit(tmp_path, "mine", api.SHAPES["rgb-f8c48"])


@pytest.mark.parametrize("value", [0, 128, 200])
@pytest.mark.parametrize("size", [(1, 1), (40, 64)])
def test_flat_and_tiny_images(value: int, size: tuple[int, int], tmp_path: Path) -> None:
    """Nothing to learn from is no reason to fail."""
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(tmp_path / "flat.png")
    codec = codec_from_bytes(api.fit(tmp_path, "flat", api.SHAPES["gray-f8c16"], rounds=1))
    image = np.full((*size, 1), value, np.uint8)
    assert np.abs(codec.decompress(codec.compress(image), decoder="linear").astype(int) - value).max() <= 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "nowhere"}, "nowhere is not a folder"),
        ({"folder": "file.png"}, "file.png is not a folder"),
        ({"name": "My Codec"}, "lower-case letters"),
        ({"name": ""}, "lower-case letters"),
        (
            {"like": "rgb-f16c100"},
            "like is 'rgb-f16c100'; it is one of gray-f8c16, mono-f32c32, rgb-f16c48, rgb-f8c48, stereo",
        ),
        ({"out": "mine"}, r"must have a name in \.safetensors"),
        ({"out": "folder.safetensors"}, "no folder"),
        ({"out": "nowhere/mine.safetensors"}, "nowhere is not a folder"),
        ({"rounds": -1}, "rounds is -1"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_meant(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file.png").touch()
    given = {"folder": "images", "out": "mine.safetensors", "name": "mine", "like": "rgb-f8c48", "rounds": 0}
    given |= changes
    with pytest.raises(ArgumentError, match=message):
        api.fit_file(**given)
    options = [f"--{option}={value}" for option, value in given.items() if option != "folder"]
    assert main(["fit", given["folder"], *options]) == 2
    assert capsys.readouterr().err.startswith("latentstore: ")
    assert not list(tmp_path.glob("*.partial"))


def test_without_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match=r"needs scipy.*pip install 'latentstore\[train\]'"):
        api.fit(tmp_path, "mine", api.SHAPES["rgb-f8c48"])


def test_shipped_artifacts_are_of_these_settings() -> None:
    """A setting that is changed asks for a new fit of what is shipped."""
    assert sorted(api.SHAPES) == sorted([*fit_images.IMAGE_SHAPES, *AUDIO_SHAPES]) == shipped()
    for name, shape in fit_images.IMAGE_SHAPES.items():
        codec = load_codec(name)
        facts = codec.artifact.facts
        assert (codec.mode, codec.channels, codec.group_channels) == (shape.mode, shape.channels, shape.group)
        assert facts.get("levels", 3) == shape.levels
        assert facts["model_steps"] == shape.model_steps
        assert facts["quality_steps"] == [[q, round(s * shape.unit, 6)] for q, s in shape.steps.qualities]
        assert (facts["lambda"], facts["rounding"]) == (fit_images.LAMBDA, fit_images.ROUNDING)
        assert (facts["default_quality"], facts["precision"]) == (shape.steps.default_quality, fit_images.PRECISION)
