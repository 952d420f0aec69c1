"""Training a decoder of audio on made recordings: what a window is, what both networks answer, what is learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_or_skip
from audio_made import chirp, write
from tiny_decoders import tiny_audio_parts

import latentstore
from latentstore.codecs.artifact.decoder import make_decoder, read_decoder
from latentstore.codecs.audio.steps import step_of
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.folded import FoldedNetwork
from latentstore.train.api import train
from latentstore.train.audio.network import FoldedRefinement
from latentstore.train.audio.task import AudioTask
from latentstore.train.recipe import read_recipe

torch = torch_or_skip.torch

CODECS = ("mono-f32c32", "stereo-f256c108")
TINY = (
    'artifact = "mono-f32c32"\nrecordings = [{folder = "clips"}]\nout = "out.safetensors"\nwork = "work"\n'
    'name = "tiny"\nbatch = 2\nside = 24\nwidth = 8\nblocks = 1\nsteps = 6\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with clips/ and a recipe of 6 steps."""
    clips = tmp_path / "clips"
    clips.mkdir()
    write(clips, **{f"c{i}": (chirp(i, 1500 + 100 * i), 8000) for i in range(3)})
    (tmp_path / "recipe.toml").write_text(TINY + 'watch = "clips"\n')
    return tmp_path


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(("kept", "t"), [(27, 1), (32, 30)])
def test_both_networks_answer_alike(name: str, kept: int, t: int) -> None:
    codec = latentstore.load_codec(name)
    file = read_decoder(make_decoder(*tiny_audio_parts(codec)))
    bands = codec.bands(file.folded.bands)
    trained = FoldedRefinement(file.folded, bands.shares)
    trained.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in file.tensors.items()})
    given = np.random.default_rng(2).normal(0, 3, (sum(file.folded.bands), t)).astype(np.float32)
    with torch.no_grad():
        expected = trained(torch.from_numpy(given)[None], torch.tensor([float(kept)]), torch.tensor([0.7]))[0]
    found = FoldedNetwork(file).answer(given, bands.shares[kept - 1], kept / codec.channels, 0.7)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4)
    assert not FoldedRefinement(file.folded, bands.shares)(
        torch.from_numpy(given)[None], torch.tensor([float(kept)]), torch.tensor([0.7])
    ).any()


@pytest.mark.parametrize("name", CODECS)
def test_a_window_is_what_the_codec_says(name: str, folder: Path) -> None:
    """Of the first version, which is as recorded: what is given and what is lacking are its bands."""
    codec: Any = latentstore.load_codec(name)
    text = TINY.replace(CODECS[0], name) + "qualities = {50 = 1}\nprefixes = {30 = 1}\n"
    (folder / "recipe.toml").write_text(text)
    task = AudioTask(read_recipe(folder / "recipe.toml"), codec, print)
    task.read()
    task.network(torch.device("cpu"))
    picked = torch.tensor([[0, 0, 0, 30], [0, 0, 1, 30]])
    made = task.batch(picked)
    sums = made.given + made.lacking
    np.testing.assert_allclose(sums[0].numpy(), task.windows.bands[:24].T.astype(np.float32), rtol=0, atol=1e-3)
    turned = task.shape.bands[0]
    torch.testing.assert_close(made.given[1, :turned], -made.given[0, :turned])
    torch.testing.assert_close(made.given[1, turned:], made.given[0, turned:])


def test_an_answer_adds_what_is_lacking(folder: Path) -> None:
    """The linear signal and all that is lacking is the signal, as all bands of this codec are refined."""
    codec: Any = latentstore.load_codec(CODECS[0])
    signal = chirp(0, 40 * codec.reduction)
    (folder / "recipe.toml").write_text(TINY + "qualities = {50 = 1}\nprefixes = {32 = 1}\n")
    task = AudioTask(read_recipe(folder / "recipe.toml"), codec, print)
    assert task.shape.bands == (32,)
    code = codec.step_code(float(np.sqrt(np.square(signal).mean())), 50)
    latent = codec.encode(signal[None], 50)
    bands = task.bands
    linear = bands.linear(latent[0, :, 0], code) * np.float32(step_of(code))
    own = np.concatenate(
        [one.signal_to_coefficients(signal, np.ones(32, np.float32)) for one in _transforms(task, folder)]
    )
    decoded = codec.decode(latent, codes=[code])[0]
    again = decoded + bands.samples(own - linear, 0, 40, 0, len(signal))
    np.testing.assert_allclose(again, signal, rtol=0, atol=1e-5)


def _transforms(task: AudioTask, folder: Path) -> list[Any]:
    task.read()
    return task.windows._transforms


@pytest.mark.parametrize("name", CODECS)
def test_a_decoder_is_trained(name: str, folder: Path) -> None:
    codec: Any = latentstore.load_codec(name)
    (folder / "recipe.toml").write_text(TINY.replace(CODECS[0], name) + 'watch = "clips"\n')
    said: list[str] = []
    decoder = train(folder / "recipe.toml", say=said.append)
    assert decoder.codec_sha256 == codec.sha256 and decoder.file.is_folded
    assert decoder.prefixes == (codec.group_channels, codec.channels)
    assert decoder.card["trained on"].startswith("3 recordings, ")
    assert str(codec.group_channels) in decoder.card["measured"]
    lines = [json.loads(line) for line in (folder / "work" / "log.jsonl").read_text().splitlines()]
    assert [set(line) - {"step", "minutes"} for line in lines] == [{"train_gain"}, {"gain"}]
    blob = codec.compress(np.zeros((5000, codec.in_channels), np.float32))
    assert codec.decompress(blob, decoder=decoder).shape == (5000, codec.in_channels)
    again = train(folder / "recipe.toml", say=said.append)  # from its checkpoint, which is at the end
    assert again.file.tensors.keys() == decoder.file.tensors.keys()
    assert any(line.startswith("goes on from step 6 of ") for line in said)


def test_it_learns(folder: Path) -> None:
    text = TINY.replace("steps = 6", "steps = 150\nrate = 0.03\nprefixes = {32 = 1}\nqualities = {50 = 1}\n")
    (folder / "recipe.toml").write_text(text + 'watch = "clips"\n')
    train(folder / "recipe.toml")
    last = json.loads((folder / "work" / "log.jsonl").read_text().splitlines()[-1])
    assert last["gain"]["32"] > 0.1


def test_what_cannot_be_trained(folder: Path) -> None:
    recipe = folder / "recipe.toml"
    recipe.write_text(TINY.replace("clips", "none"))
    with pytest.raises(ArgumentError, match="none is not a folder: the recipe must name folders of recordings"):
        train(recipe)
    (folder / "empty").mkdir()
    recipe.write_text(TINY.replace("clips", "empty"))
    with pytest.raises(ArgumentError, match="holds no recording"):
        train(recipe)
    recipe.write_text(TINY.replace("recordings =", "images ="))
    with pytest.raises(ArgumentError, match="mono-f32c32 is a codec of recordings; the recipe lists folders of images"):
        train(recipe)
    recipe.write_text(TINY + "prefixes = {33 = 1}\n")
    with pytest.raises(ArgumentError, match="prefixes has 33 channels; mono-f32c32 has 32"):
        train(recipe)
