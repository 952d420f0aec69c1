"""Training on tiny images: what is learned, resumed, kept and said."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_or_skip
from drawn_images import drawn
from PIL import Image

from latentstore.cli.main import main
from latentstore.codecs.artifact.decoder import NetworkShape
from latentstore.codecs.errors import ArgumentError, LatentstoreError, StoreError
from latentstore.codecs.neural.decoder import load_decoder
from latentstore.train import api, checkpoint
from latentstore.train.api import train
from latentstore.train.batches import Batches
from latentstore.train.checkpoint import read_checkpoint
from latentstore.train.training import Training

torch = torch_or_skip.torch

TINY = (
    'images = [{folder = "images"}]\nout = "out.safetensors"\nwork = "work"\nname = "tiny"\n'
    "batch = 2\nside = 6\nwidth = 8\nblocks = 1\nhead = 8\nqualities = {49 = 1, 30 = 1}\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images/ and a recipe of 8 steps."""
    (tmp_path / "images").mkdir()
    for i in range(3):
        Image.fromarray(drawn("photo", 64, 72, 3, i)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "recipe.toml").write_text(TINY + 'steps = 8\nwatch = "images"\n')
    return tmp_path


def shape() -> Any:
    return asdict(NetworkShape(48, 192, 8, 1, 8))


def test_a_decoder_is_trained(folder: Path, codec: Any) -> None:
    said: list[str] = []
    decoder = train(folder / "recipe.toml", say=said.append)
    assert decoder.sha256 == load_decoder(folder / "out.safetensors").sha256
    assert (decoder.name, decoder.codec_sha256) == ("tiny", codec.sha256)
    assert (decoder.prefixes, decoder.qualities) == ((12, 48), (30, 49))
    assert decoder.card["trained on"].startswith("3 images, 0.0 megapixels, for 8 steps in ")
    assert "12" in decoder.card["measured"]
    assert str(folder) not in json.dumps(decoder.card)
    lines = [json.loads(line) for line in (folder / "work" / "log.jsonl").read_text().splitlines()]
    assert [set(line) - {"step", "minutes"} for line in lines] == [{"train_gain"}, {"gain"}]
    with Image.open(folder / "work" / "curves.png") as curves:
        assert curves.size == (900, 500)
    assert {path.name for path in (folder / "work").iterdir()} == {"checkpoint.pt", "log.jsonl", "curves.png"}
    image = drawn("photo", 40, 56, 3, 9)
    assert codec.decompress(codec.compress(image), decoder=decoder).shape == image.shape


def test_it_learns(folder: Path) -> None:
    """Enough steps on few images gain on them."""
    (folder / "recipe.toml").write_text(TINY + 'steps = 120\nrate = 0.03\nwatch = "images"\nprefixes = {12 = 1}\n')
    train(folder / "recipe.toml")
    last = json.loads((folder / "work" / "log.jsonl").read_text().splitlines()[-1])
    assert last["gain"]["12"] > 0.02


def test_a_resumed_training_gives_the_same_bytes(folder: Path, stop_early: Any) -> None:
    whole = train(folder / "recipe.toml").file.tensors
    for path in (folder / "work").iterdir():
        path.unlink()
    stop_early(Training, lambda: train(folder / "recipe.toml"))
    said: list[str] = []
    again = train(folder / "recipe.toml", say=said.append).file.tensors
    assert any(line.startswith("goes on from step 3 of ") for line in said)
    for name, tensor in whole.items():
        np.testing.assert_array_equal(again[name], tensor)


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(folder / "recipe.toml")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("tiny for rgb-f8c48, SHA-256 ")
    (folder / "recipe.toml").write_text(TINY + "steps = 8\nsteppes = 3")
    assert main(["train", str(folder / "recipe.toml")]) == 2
    assert "unknown key 'steppes': did you mean steps?" in capsys.readouterr().err


# what cannot be trained


def test_a_loss_that_is_not_finite_ends_it_and_keeps_the_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "recipe.toml").write_text(TINY + "steps = 8\nsave_minutes = 1e-9\n")
    batch, calls = Batches.batch, []

    def spoiled(self: Batches, *arguments: Any) -> Any:
        made = batch(self, *arguments)
        calls.append(None)
        if len(calls) == 12:  # eight are for the deviations
            made.lacking[0, 0, 0, 0] = np.nan
        return made

    monkeypatch.setattr(Batches, "batch", spoiled)
    with pytest.raises(LatentstoreError, match=r"not finite at step 4 or shortly before: a lower rate than 0.008"):
        train(folder / "recipe.toml")
    state = read_checkpoint(folder / "work" / "checkpoint.pt", shape(), api.load_codec("rgb-f8c48").sha256)
    assert state is not None and state["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["weights"].values())
    assert not (folder / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": "nowhere"}, "nowhere is not a folder"),
        ({"folder": "empty"}, "empty holds no image of 48 x 48 pixels or more"),
        ({"folder": "small"}, "small holds no image of 48 x 48 pixels or more"),
        ({"artifact": "mono-f32c32"}, "is a codec of recordings; the recipe lists folders of images"),
        ({"artifact": "rgb-f8c49"}, "There is no codec"),
        ({"prefixes": "{60 = 1}"}, "prefixes has 60 channels; rgb-f8c48 has 48"),
        ({"out": "nowhere/x.safetensors"}, "nowhere is not a folder"),
    ],
    ids=str,
)
def test_recipes_whose_images_or_codec_do_not_serve(folder: Path, change: dict[str, str], message: str) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").write_text("no image")
    (folder / "small").mkdir()
    Image.fromarray(drawn("photo", 47, 100, 3)).save(folder / "small" / "a.png")
    text = TINY + "steps = 2\n"
    for key, value in change.items():
        if key == "prefixes":
            text += f"prefixes = {value}\n"
        elif key == "folder":
            text = text.replace('"images"', f'"{value}"')
        elif key == "out":
            text = text.replace('"out.safetensors"', f'"{value}"')
        else:
            text += f'{key} = "{value}"\n'
    (folder / "recipe.toml").write_text(text)
    with pytest.raises(ArgumentError, match=message):
        train(folder / "recipe.toml")
    assert not (folder / "work").exists()


def test_files_left_out_are_said(folder: Path) -> None:
    (folder / "images" / "notes.txt").write_text("no image")
    Image.fromarray(drawn("photo", 20, 100, 3)).save(folder / "images" / "small.png")
    said: list[str] = []
    train(folder / "recipe.toml", say=said.append)
    assert any(line.startswith("passed over: 1 text") for line in said)
    assert any(line.startswith("left out: 1 image of ") and "48 pixels" in line for line in said)


def test_checkpoints_that_do_not_fit(folder: Path, other_artifact: bytes) -> None:
    train(folder / "recipe.toml")
    text = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(text.replace("width = 8", "width = 9"))
    with pytest.raises(ArgumentError, match=r"of another network, .*width 8.*; the recipe asks for .*width 9.*: give"):
        train(folder / "recipe.toml")
    (folder / "other.safetensors").write_bytes(other_artifact)
    (folder / "recipe.toml").write_text(text + 'artifact = "other.safetensors"\n')
    with pytest.raises(ArgumentError, match="is for the codec with SHA-256"):
        train(folder / "recipe.toml")


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def test_a_checkpoint_runs_no_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "work").mkdir()
    path = folder / "work" / "checkpoint.pt"
    for save in (torch.save, lambda thing, to: to.write_bytes(pickle.dumps(thing, 2))):
        save({"version": 1, "step": Malicious()}, path)
        with pytest.raises(ArgumentError, match="asks for more than tensors, numbers and texts"):
            train(folder / "recipe.toml")
    assert not (folder / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut"])
def test_files_that_are_no_checkpoints(folder: Path, content: bytes) -> None:
    (folder / "work").mkdir()
    (folder / "work" / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ArgumentError, match=r"checkpoint\.pt (is not a checkpoint|asks for more)"):
        train(folder / "recipe.toml")
    torch.save({"version": 1}, folder / "work" / "checkpoint.pt")
    with pytest.raises(ArgumentError, match="is not a checkpoint of version 1"):
        train(folder / "recipe.toml")


def test_a_full_disk_keeps_the_last_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(folder / "recipe.toml")
    path = folder / "work" / "checkpoint.pt"
    before = path.read_bytes()

    def full(content: Any, file: Any) -> None:
        file.write(b"a part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    (folder / "recipe.toml").write_text(TINY + "steps = 12\n")
    said: list[str] = []
    train(folder / "recipe.toml", say=said.append)
    assert any("could not be written: No space left on device. The checkpoint before it is kept." in x for x in said)
    assert path.read_bytes() == before
    assert not list((folder / "work").glob("*.partial"))
    with pytest.raises(StoreError, match="No space left"):
        checkpoint.write_checkpoint(path, shape(), "0" * 64, {})


def test_without_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match=r"needs torch, .*pip install 'latentstore\[train\]'"):
        train(folder / "recipe.toml")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_cuda(folder: Path) -> None:
    (folder / "recipe.toml").write_text(TINY + 'steps = 2\ndevice = "cuda"\n')
    with pytest.raises(ArgumentError, match="finds no such device"):
        train(folder / "recipe.toml")
