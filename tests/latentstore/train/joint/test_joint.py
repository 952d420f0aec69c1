"""The stage "joint" on tiny images: what it writes, resumes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_or_skip
from drawn_images import drawn
from PIL import Image
from tiny_decoders import tiny_parts

import latentstore
from latentstore.codecs.artifact.decoder import make_decoder
from latentstore.codecs.errors import ArgumentError, LatentstoreError
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.neural.decoder import load_decoder
from latentstore.fit import api as fit_api
from latentstore.train import checkpoint
from latentstore.train.api import train
from latentstore.train.batches import Batches
from latentstore.train.joint import refit, task
from latentstore.train.joint.training import JointTraining

torch = torch_or_skip.torch

TINY = (
    'stage = "joint"\nimages = [{folder = "images"}]\nout = "tiny.safetensors"\ncodec = "new-f8c48.safetensors"\n'
    'work = "work"\nname = "tiny"\nbatch = 2\nside = 6\nwidth = 8\nblocks = 1\nhead = 6\n'
    "prefixes = {6 = 1, 12 = 1, 48 = 2}\nqualities = {49 = 1, 30 = 1}\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images/ and a recipe of 5 steps."""
    monkeypatch.setattr(refit, "ROUNDS", 0)
    (tmp_path / "images").mkdir()
    for i in range(2):
        Image.fromarray(drawn("photo", 64, 72, 3, i)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "recipe.toml").write_text(TINY + 'steps = 5\nwatch = "images"\n')
    return tmp_path


@pytest.fixture
def quick(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, without the fit at the end."""
    monkeypatch.setattr(task, "refitted", lambda start, vectors, *_: refit.moved(start, vectors))
    return folder


def test_a_codec_and_its_decoder_are_made(folder: Path, codec: Any) -> None:
    said: list[str] = []
    decoder = train(folder / "recipe.toml", say=said.append)
    new = latentstore.load_codec(folder / "new-f8c48.safetensors")
    assert isinstance(new, ImageCodec)
    assert (new.name, new.channels, new.sha256) == ("new-f8c48", 48, decoder.codec_sha256)
    assert decoder.sha256 == load_decoder(folder / "tiny.safetensors").sha256
    assert said[-1].startswith("new-f8c48, SHA-256 ") and "; tiny for new-f8c48, SHA-256 " in said[-1]
    assert new.card["began with"] == f"{codec.name}, SHA-256 {codec.sha256}"
    assert new.card["trained on"].startswith("2 images, 0.0 megapixels, for 5 steps in ")
    assert new.card["measured"].endswith("on the images of the fit")
    assert "dB of error and bits over the linear decoder" in decoder.card["measured"]
    assert str(folder) not in json.dumps(new.card)
    lines = [json.loads(line) for line in (folder / "work" / "log.jsonl").read_text().splitlines()]
    assert [set(line) - {"step", "minutes"} for line in lines] == [{"train_gain"}, {"gain"}]
    assert set(lines[1]["gain"]) == {"6", "12", "48"}
    image = drawn("photo", 64, 56, 3, 9)
    blob = new.compress(image)
    assert new.decompress(blob, decoder=decoder).shape == image.shape
    assert not np.array_equal(new.artifact.tensors["analysis"], codec.artifact.tensors["analysis"])
    latent = new.encode(image[None], effort="fast")[0]
    turned = new.encode(np.ascontiguousarray(np.rot90(image))[None], effort="fast")[0]
    np.testing.assert_array_equal(new.transform(latent, "rot90"), turned)


def test_the_rows_learn(quick: Path) -> None:
    """On few images error and bits together become less, without help of the network too."""
    (quick / "recipe.toml").write_text(TINY + 'steps = 60\nwatch = "images"\nrate = 1e-6\n')
    train(quick / "recipe.toml")
    last = json.loads((quick / "work" / "log.jsonl").read_text().splitlines()[-1])
    assert last["gain"]["48"] > 0.02


def test_a_resumed_training_gives_the_same_bytes(quick: Path, stop_early: Any) -> None:
    train(quick / "recipe.toml")
    whole = latentstore.load_codec(quick / "new-f8c48.safetensors")
    for path in (quick / "work").iterdir():
        path.unlink()
    stop_early(JointTraining, lambda: train(quick / "recipe.toml"))
    said: list[str] = []
    train(quick / "recipe.toml", say=said.append)
    assert any(line.startswith("goes on from step 3 of ") for line in said)
    again = latentstore.load_codec(quick / "new-f8c48.safetensors")
    for name, tensor in whole.artifact.tensors.items():
        np.testing.assert_array_equal(again.artifact.tensors[name], tensor)


def test_it_starts_with_a_decoder(quick: Path, codec: Any) -> None:
    """A checkpoint after no step at all answers as the decoder; `small` and files of the same network serve."""
    (quick / "begin.safetensors").write_bytes(make_decoder(*tiny_parts(codec)))
    (quick / "recipe.toml").write_text(TINY + 'steps = 1\nrate = 1e-9\nstart = "begin.safetensors"\n')
    made = train(quick / "recipe.toml").file.tensors
    begun = load_decoder(quick / "begin.safetensors").file.tensors
    np.testing.assert_array_equal(made["first.weight"], begun["first.weight"])
    np.testing.assert_array_equal(made["deviation"], begun["deviation"])
    for start, message in (
        ("small", "start with has width 88, blocks 4 and head 96; the recipe asks for width 8, blocks 1 and head 6"),
        ("linear", "start is 'linear'"),
        ("tiny", "decoder is 'tiny'; for rgb-f8c48 it is one of best, linear, large, small"),
        ("none.safetensors", "none.safetensors"),
    ):
        (quick / "recipe.toml").write_text(TINY + f'steps = 1\nstart = "{start}"\n')
        with pytest.raises(ArgumentError, match=message):
            train(quick / "recipe.toml")


def test_a_checkpoint_of_the_other_stage_is_refused(quick: Path) -> None:
    train(quick / "recipe.toml")
    text = TINY.replace('stage = "joint"\n', "").replace('codec = "new-f8c48.safetensors"\n', "")
    (quick / "recipe.toml").write_text(text + "steps = 5\n")
    with pytest.raises(ArgumentError, match=r"another network, stage joint, channels 48, .*; the recipe asks for"):
        train(quick / "recipe.toml")


def test_a_loss_that_is_not_finite_ends_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "recipe.toml").write_text(TINY + "steps = 8\nsave_minutes = 1e-9\n")
    originals, calls = Batches.originals, []

    def spoiled(self: Batches, picked: Any) -> Any:
        calls.append(None)
        made = originals(self, picked)
        return made * np.nan if len(calls) > 14 else made  # eight are for the deviations, two for each step

    monkeypatch.setattr(Batches, "originals", spoiled)
    with pytest.raises(LatentstoreError, match=r"not finite at step 4 or shortly before"):
        train(folder / "recipe.toml")
    kept = torch.load(folder / "work" / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 3 and all(torch.isfinite(value).all() for value in kept["weights"].values())
    assert not (folder / "new-f8c48.safetensors").exists() and not (folder / "tiny.safetensors").exists()


def test_a_full_disk_keeps_the_last_checkpoint(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(quick / "recipe.toml")
    before = (quick / "work" / "checkpoint.pt").read_bytes()

    def full(content: Any, file: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    (quick / "recipe.toml").write_text(TINY + "steps = 6\n")
    said: list[str] = []
    train(quick / "recipe.toml", say=said.append)
    assert any("No space left on device. The checkpoint before it is kept." in line for line in said)
    assert (quick / "work" / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"images"', '"empty"'), "empty holds no image of 48 x 48 pixels"),
        (('"images"', '"nowhere"'), "nowhere is not a folder"),
        (('"images"', '"small"'), "small holds no image of 48 x 48 pixels"),
        (("images = ", "recordings = "), "head is 6; it is a key of images only"),
        (("blocks = 1\nhead = 6", 'artifact = "mono-f32c32"'), "is a codec of recordings"),
        (("new-f8c48", "nowhere/new"), "nowhere is not a folder"),
        (("new-f8c48", "kept"), "kept.safetensors is a folder"),
        (("new-f8c48", "New codec"), "codec is 'New codec.safetensors'; it is the file of the new codec"),
        (('codec = "new-f8c48.safetensors"\n', ""), "codec is missing; it is the file of the new codec"),
        (('stage = "joint"', 'stage = "decoder"'), "codec is 'new-f8c48.safetensors'; it is a key of stage"),
        (('stage = "joint"', 'stage = "both"'), "stage is 'both'; it is 'decoder' or 'joint'"),
        (("new-f8c48", "tiny"), "codec is 'tiny.safetensors'; it is another file than out"),
        (("batch = 2", 'artifact = "new-f8c48.safetensors"'), "it is another file than the artifact"),
        (("batch = 2", "batches = 2"), "unknown key 'batches': did you mean batch?"),
    ],
    ids=str,
)
def test_recipes_that_cannot_be_meant(folder: Path, change: tuple[str, str], message: str) -> None:
    (folder / "empty").mkdir()
    (folder / "small").mkdir()
    (folder / "kept.safetensors").mkdir()
    Image.fromarray(drawn("photo", 47, 100, 3)).save(folder / "small" / "a.png")
    assert change[0] in TINY
    (folder / "recipe.toml").write_text(TINY.replace(*change) + "steps = 2\n")
    with pytest.raises(ArgumentError, match=message):
        train(folder / "recipe.toml")
    assert not (folder / "work").exists()


def test_audio_has_no_such_stage(folder: Path) -> None:
    text = 'stage = "joint"\ncodec = "new.safetensors"\nout = "x.safetensors"\nartifact = "mono-f32c32"\nsteps = 1\n'
    (folder / "recipe.toml").write_text(text + 'recordings = [{folder = "images"}]\n')
    with pytest.raises(ArgumentError, match="mono-f32c32 is a codec of recordings: the stage 'joint' is for images"):
        train(folder / "recipe.toml")


def test_without_scipy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_api, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match=r"Fitting needs scipy, .*latentstore\[train\]"):
        train(folder / "recipe.toml")
