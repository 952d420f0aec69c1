"""Fitting codecs of audio, on audio made here (seeded)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from latentstore.codecs import AudioCodec, load_codec
from latentstore.codecs.artifact.file import read_artifact
from latentstore.codecs.errors import ArgumentError
from latentstore.fit import api
from latentstore.fit import audio as fit_audio
from latentstore.fit.audio import AUDIO_SHAPES, AudioShape

TINY = AudioShape(
    3, 16, 12, 6, 8000, True, (0.7, 0.2), ((1, 4.0), (50, 0.4), (100, 0.04)), 50,
)  # fmt: skip


def chirps(inputs: int, count: int = 6, samples: int = 3000) -> list[np.ndarray]:
    """float32 (samples, inputs) each."""
    rng = np.random.default_rng(1)
    time = np.arange(samples)[:, None] / 8000
    made = []
    for _ in range(count):
        tones = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 900, inputs) * time * (1 + time))
        made.append((tones + 0.01 * rng.normal(size=(samples, inputs))).astype(np.float32))
    return made


@pytest.fixture(scope="module")
def content() -> bytes:
    return fit_audio.fit_audio(chirps(3), "tiny", TINY, "none", 1, lambda _: None)


def test_any_number_of_inputs(content: bytes) -> None:
    codec = AudioCodec(read_artifact(content))
    assert (codec.in_channels, codec.channels, codec.groups, codec.reduction) == (3, 12, 2, 16)
    signal = chirps(3)[0]
    coarse, fine = (codec.compress(signal, quality) for quality in (30, 70))
    assert len(coarse) < len(fine) < signal.size * 2 / 4
    errors = [np.square(codec.decompress(blob) - signal).sum() for blob in (coarse, fine)]
    assert errors[1] < errors[0] < 0.5 * np.square(signal).sum()


def test_the_same_audio_gives_the_same_bytes(content: bytes) -> None:
    assert fit_audio.fit_audio(chirps(3), "tiny", TINY, "none", 1, lambda _: None) == content


def test_models_code_better_than_none(content: bytes) -> None:
    """Fitted models against the flat ones that a fit begins with: 6 bits a symbol."""
    codec = AudioCodec(read_artifact(content))
    signal = chirps(3)[2]
    latent = codec.encode(signal[None])[0]
    assert 8 * sum(map(len, codec.encode_latent_groups(latent, 50))) < 0.8 * 6 * latent.size


@pytest.mark.parametrize("name", AUDIO_SHAPES)
def test_shipped_artifacts_are_of_these_settings(name: str) -> None:
    """A setting that is changed asks for a new fit of what is shipped."""
    codec, shape = load_codec(name), AUDIO_SHAPES[name]
    assert isinstance(codec, AudioCodec)
    facts = codec.artifact.facts
    assert (codec.in_channels, codec.reduction, codec.channels) == (shape.inputs, shape.hop, shape.channels)
    assert (codec.group_channels, codec.rate, codec.steps.levels) == (shape.group, shape.rate, shape.floors)
    assert facts["model_steps"] == list(shape.model_steps)
    assert facts["quality_steps"] == [list(pair) for pair in shape.quality_steps]
    assert (facts["lambda"], facts["rounding"]) == (fit_audio.LAMBDA, fit_audio.ROUNDING)


def test_a_folder_of_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(api.SHAPES, "tiny", AudioShape(**{**TINY.__dict__, "inputs": 1}))
    for i, signal in enumerate(chirps(1, 3)):
        soundfile.write(tmp_path / f"{i}.wav", signal, 8000)
    (tmp_path / "notes.txt").write_text("no audio")
    said: list[str] = []
    out = tmp_path / "mine.safetensors"
    codec = api.fit_file(tmp_path, out, "mine", "tiny", rounds=0, say=said.append)
    assert isinstance(codec, AudioCodec) and load_codec(out).sha256 == codec.sha256
    assert any(line.startswith("passed over: 1 text") for line in said) and any("3 recordings" in line for line in said)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ArgumentError, match="holds no recording"):
        api.fit_file(empty, out, "mine", "tiny", rounds=0)


@pytest.mark.parametrize("floors", [False, True])
def test_silence_among_the_recordings(floors: bool) -> None:
    shape = AudioShape(**{**TINY.__dict__, "inputs": 1, "floors": floors})
    silent = [*chirps(1), np.zeros((500, 1), np.float32)]
    codec = AudioCodec(read_artifact(fit_audio.fit_audio(silent, "tiny", shape, "", 1, lambda _: None)))
    assert not codec.decompress(codec.compress(silent[-1])).any()
