"""Training the decoders of checkpoints of WaLLoC and LiVeAction, with random weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import foreign_checkpoints
import numpy as np
import pytest
from drawn_images import drawn
from foreign_checkpoints import CASES
from PIL import Image

import latentstore
from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError, LatentstoreError
from latentstore.codecs.image.symmetry import SYMMETRIES, transform_image
from latentstore.foreign.packets import PACKETS
from latentstore.train.api import train
from latentstore.train.foreign.pixels import Pixels
from latentstore.train.foreign.transform import packets_on
from latentstore.train.training import Training

torch = foreign_checkpoints.torch
CPU = torch.device("cpu")
COLOURS = {"L": 1, "RGB": 3}
TRAINED = sorted(name for name, case in CASES.items() if case["size"][2] in COLOURS.values())


def recipe(folder: Path, name: str, more: str = "steps = 6\n") -> Path:
    """Writes the checkpoint of a case, images, and a recipe for it."""
    checkpoint = foreign_checkpoints.write(folder, name)
    package = checkpoint.partition(":")[0]
    (folder / "images").mkdir(exist_ok=True)
    for i in range(2):
        Image.fromarray(drawn("photo", 96, 112, 3, i)).save(folder / "images" / f"{i}.png")
    text = f'artifact = "{package}:{name}.pth"\nimages = [{{folder = "images"}}]\nout = "out.pth"\nwork = "work"\n'
    (folder / "recipe.toml").write_text(text + "batch = 2\n" + ("" if "side" in more else "side = 4\n") + more)
    return folder / "recipe.toml"


@pytest.mark.parametrize("name", TRAINED)
def test_a_decoder_is_trained_for_the_same_latents(tmp_path: Path, name: str) -> None:
    said: list[str] = []
    trained = train(recipe(tmp_path, name, 'steps = 40\nrate = 0.02\nside = 5\nwatch = "images"\n'), say=said.append)
    package = CASES[name]["package"]
    begun = latentstore.load_codec(f"{package}:{tmp_path}/{name}.pth")
    again = latentstore.load_codec(f"{package}:{tmp_path}/out.pth")
    assert (trained.name, trained.sha256) == (again.name, again.sha256) == (f"{package}:out", again.sha256)
    assert said[-1].startswith(f"{package}:out, SHA-256 {again.sha256[:12]}..., ")
    images = drawn("photo", 96, 96, begun.in_channels, 0)[None]
    latents = begun.encode(images)
    np.testing.assert_array_equal(again.encode(images), latents)
    decoded = again.decode(latents)
    np.testing.assert_array_equal(trained.decode(latents), decoded)

    def error(pixels: Any) -> float:
        return float(np.square(pixels.astype(np.float32) - images).mean())

    assert error(decoded) < 0.99 * error(begun.decode(latents))
    last = json.loads((tmp_path / "work" / "log.jsonl").read_text().splitlines()[-1])
    assert last["gain"][str(begun.channels)] > 0.05


def test_a_checkpoint_holds_what_it_held_and_a_card(tmp_path: Path) -> None:
    """The filters of the transform too, which the authors' packages ask for."""
    train(recipe(tmp_path, "linear"))
    begun, made = (torch.load(tmp_path / name, weights_only=True) for name in ("linear.pth", "out.pth"))
    weights, trained = begun["model_state_dict"], made["model_state_dict"]
    assert list(trained) == list(weights)
    changed = {name for name, tensor in trained.items() if not torch.equal(tensor, weights[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)
    assert made["card"]["trained on"].startswith("2 images, 0.0 megapixels, for 6 steps in ")
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "linear.json").read_bytes()


def test_a_resumed_training_gives_the_same_weights(tmp_path: Path, stop_early: Any) -> None:
    path = recipe(tmp_path, "light")
    whole = train(path).networks.state_dict()
    (tmp_path / "work" / "checkpoint.pt").unlink()
    stop_early(Training, lambda: train(path))
    for name, weight in train(path).networks.state_dict().items():
        np.testing.assert_array_equal(weight, whole[name])


@pytest.mark.parametrize(("size", "levels"), [((48, 80), 3), ((40, 40), 3), ((96, 80), 4), ((24, 64), 2)])
def test_the_transform_of_pytorch_wavelets_is_ours(size: tuple[int, int], levels: int) -> None:
    """Values and gradients."""
    pytest.importorskip("pytorch_wavelets")
    theirs = packets_on(CPU, min(size) >> levels)
    assert theirs is not PACKETS
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, *size, generator=generator).requires_grad_()
    found = []
    for packets in (theirs, PACKETS):
        bands = packets.analysis(images, levels)
        back = packets.synthesis(bands * bands.detach().abs(), levels)
        (gradient,) = torch.autograd.grad((back**2).sum(), images)
        found.append((bands.detach(), back.detach(), gradient))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5])
def test_gradients_of_small_crops_are_right(side: int) -> None:
    """Those of a linear map, held against the map itself."""
    packets, generator = packets_on(CPU, side), torch.Generator().manual_seed(side)
    images, other = torch.randn(2, 1, 1, 8 * side, 8 * side, generator=generator).unbind(0)
    weights = torch.randn(1, 64, side, side, generator=generator)
    images.requires_grad_()
    (gradient,) = torch.autograd.grad((packets.analysis(images, 3) * weights).sum(), images)
    expected = float((packets.analysis(other, 3) * weights).sum())
    assert abs(float((gradient * other).sum()) - expected) < 1e-3 * max(1, abs(expected))


def test_without_pytorch_wavelets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_wavelets", None)
    assert packets_on(CPU, 16) is PACKETS


def test_crops_are_pieces_of_the_images() -> None:
    images = [drawn("noise", 9, 12, 3, 1), drawn("noise", 6, 7, 3, 2)]
    pixels = Pixels(images, 6)
    picked = pixels.draw(np.random.default_rng(0), 200)
    assert set(picked[:, 2]) == set(range(8)) and set(picked[:, 1]) == {7, 12}
    crops = pixels.crops(torch.from_numpy(picked)).numpy()
    assert crops.shape == (200, 3, 6, 6) and crops.dtype == np.float32
    for (start, width, turned), crop in zip(picked, crops, strict=True):
        image, first = (images[0], 0) if width == 12 else (images[1], 9 * 12)
        y, x = divmod(start - first, width)
        piece = image[y : y + 6, x : x + 6]
        expected = transform_image(piece, SYMMETRIES[turned])
        np.testing.assert_array_equal(crop, expected.transpose(2, 0, 1))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(recipe(tmp_path, "linear", "steps = 1\n"))]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("walloc:out, SHA-256 ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("out.pth", "out.safetensors"), "out is 'out.safetensors'; it is the name of a file that ends in .pth"),
        (("out.pth", "linear.pth"), "out is 'linear.pth'; it is another file than the artifact"),
        (("side = 4", "width = 88"), "width is 88; it is no key for the checkpoint walloc:"),
        (("side = 4", 'stage = "joint"'), "stage is 'joint'; it is no key for the checkpoint walloc:"),
        (("side = 4", "qualities = {49 = 1}"), "qualities is {'49': 1}; it is no key for the checkpoint walloc:"),
        (("linear.pth", "none.pth"), "none.json"),
        (("side = 4", "side = 40"), "images holds no image of 320 x 320 pixels or more"),
        (('"images"', '"nowhere"'), "nowhere is not a folder"),
        (("side = 4", "sides = 4"), "unknown key 'sides': did you mean side?"),
    ],
    ids=str,
)
def test_recipes_that_cannot_be_meant(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = recipe(tmp_path, "linear")
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ArgumentError, match=message):
        train(path)
    assert not (tmp_path / "work").exists()


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    train(recipe(tmp_path, "linear"))
    with pytest.raises(ArgumentError, match=r"another network, package walloc, .* asks for package livecodec"):
        train(recipe(tmp_path, "light"))


def test_a_loss_that_is_not_finite_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe(tmp_path, "linear", "steps = 3\n")
    crops = Pixels.crops
    monkeypatch.setattr(Pixels, "crops", lambda self, picked: crops(self, picked) * np.nan)
    with pytest.raises(LatentstoreError, match="not finite at step 3"):
        train(path)
    assert not (tmp_path / "out.pth").exists()
