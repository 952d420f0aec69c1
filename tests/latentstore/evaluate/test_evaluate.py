"""`latentstore evaluate`, on recordings and images made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from drawn_images import shapes
from PIL import Image

from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.evaluate.api import Evaluation, evaluate
from latentstore.evaluate.equal_bytes import nearest_bytes
from latentstore.evaluate.figures import figures
from latentstore.evaluate.images.peers import image_peers


def test_nearest_bytes() -> None:
    for wanted, found in ((0, 10), (10, 10), (37, 40), (34, 30), (5000, 1000)):
        level, made = nearest_bytes(lambda level: bytes(10 * level), 1, 100, wanted)
        assert len(made) == 10 * level == found


def chord(rate: int, seconds: float, channels: int) -> np.ndarray:
    """float32 (n, channels)."""
    t = np.arange(round(rate * seconds))[:, None] / rate
    tones = sum(np.sin(2 * np.pi * pitch * t * (1 + 0.002 * np.arange(channels))) for pitch in (220, 277, 330, 880))
    return np.asarray(0.15 * tones * np.exp(-2 * t), np.float32)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path_factory.mktemp("recordings")
    soundfile.write(folder / "one.wav", chord(44100, 2.0, 2), 44100)
    soundfile.write(folder / "two.flac", chord(48000, 1.5, 1), 48000)
    (folder / "notes.txt").write_text("no audio")
    return folder


@pytest.fixture(scope="module")
def result(recordings: Path) -> Evaluation:
    pytest.importorskip("soxr")
    return evaluate(str(recordings), quality=70)


def test_recordings_beside_peers(result: Evaluation) -> None:
    assert result.codecs == ["stereo-f256c108, quality 70", "Opus", "Ogg Vorbis", "MP3"]
    assert (result.failures, result.passed_over) == ([], {"text beside the data (.txt)": 1})
    assert result.chosen.startswith("the codec is stereo-f256c108: the source holds 2 recordings, most with 2 channels")
    ours = result.of(result.codecs[0])
    assert [score.entry for score in ours] == ["one.wav", "two.flac"]
    # two channels of the first, the one of the second that was copied
    assert [score.units for score in ours] == [2 * 88200, 72000]
    for codec in result.codecs:
        assert len(result.of(codec)) == 2
        # of this signal, every peer is some 10 dB above nothing, if it is aligned
        assert result.mean(codec, "SNR") > 5, codec
        assert 0 < result.mean(codec, "spectral") < 40
    opus = result.of("Opus")[1]
    assert abs(opus.bytes - ours[1].bytes) < 0.2 * ours[1].bytes or opus.bytes < 5000


def test_the_table(result: Evaluation) -> None:
    table = str(result)
    assert table.count("stereo-f256c108, quality 70") == 3
    for words in (
        "mean of 2",
        "aim at what is heard, not at PSNR",
        "compression",
        "SI-SDR",
        "soxr resamples it to 48,000 Hz",
    ):
        assert words in table
    assert "nan" not in table


def test_first_channels_take_fewer_bytes(recordings: Path, result: Evaluation) -> None:
    fewer = evaluate(str(recordings), quality=70, channels=27)
    assert fewer.codecs[0] == "stereo-f256c108, quality 70, 27 channels"
    assert fewer.scores[0].bytes < result.scores[0].bytes
    assert fewer.scores[0].figures[0] <= result.scores[0].figures[0]


def test_the_figures_as_json(result: Evaluation) -> None:
    found = json.loads(json.dumps(figures(result), allow_nan=False))
    assert (found["modality"], found["curves"]) == ("audio", [])
    assert found["figures"] == ["SNR", "PSNR", "SI-SDR", "spectral"]
    assert found["means"]["Opus"]["SNR"] == pytest.approx(result.mean("Opus", "SNR"))
    assert [score["bytes"] for score in found["scores"]] == [score.bytes for score in result.scores]
    assert found["scores"][0]["compression"] == pytest.approx(2 * 2 * 88200 / result.scores[0].bytes)


def test_silence_and_one_sample(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "silence.wav", np.zeros((4000, 1), np.float32), 8000)
    soundfile.write(tmp_path / "one.wav", np.full((1, 1), 0.5), 8000)
    result = evaluate(str(tmp_path), "mono-f32c32")
    assert len(result.of(result.codecs[0])) == 2
    assert np.isfinite(result.mean(result.codecs[0], "spectral"))
    assert "* not of equal bytes" in str(result)
    # the silent file is an exact copy, so that neither its SNR nor its SI-SDR is a number; one sample is always
    # the original at some scale
    ours = result.of(result.codecs[0])
    assert [score.figures[2] for score in ours] == [float("inf")] * 2
    assert np.isnan(result.mean(result.codecs[0], "SI-SDR"))
    assert figures(result)["means"][result.codecs[0]]["SI-SDR"] is None
    assert "means leave out what is not finite: SNR of 1, PSNR of 1, SI-SDR of 0 of 2 recordings." in str(result)
    assert "nan" not in str(result)


def test_what_became_silence_is_counted(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    time = np.arange(44100)[:, None] / 44100
    soundfile.write(tmp_path / "10 kHz.wav", 0.2 * np.sin(2 * np.pi * 10_000 * time), 44100)
    soundfile.write(tmp_path / "220 Hz.wav", 0.2 * np.sin(2 * np.pi * 220 * time), 44100)
    soundfile.write(tmp_path / "quiet.wav", 2e-4 * np.sin(2 * np.pi * 220 * time), 44100, "FLOAT")
    result = evaluate(str(tmp_path), "stereo-f256c108")
    ours = result.of(result.codecs[0])
    assert [score.silenced for score in ours] == [True, False, False]
    assert ours[0].figures[2] < 0 and ours[2].figures[2] > 15
    assert f"{result.codecs[0]}: 1 recording became silence." in str(result)


def test_images_beside_other_codecs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (24, 16, 3)), ("b.png", (9, 30, 3))):
        small = Image.fromarray(rng.integers(0, 256, shape, np.uint8))
        small.resize((8 * shape[1], 8 * shape[0]), Image.Resampling.BICUBIC).save(tmp_path / name)
    for codec, best in (("rgb-f8c48", "large"), ("gray-f8c16", "small")):
        result = evaluate(str(tmp_path), codec)
        assert result.codecs == [f"{codec}, quality 49, decoder {best}", *image_peers()[0]]
        assert [score.units for score in result.of("JPEG")] == [24 * 16 * 64, 9 * 30 * 64]
        for name in result.codecs:
            assert 15 < result.mean(name, "PSNR") < 60
        assert "bits/pixel" in str(result)


def test_a_trained_decoder_scores_more_at_the_same_bytes(tmp_path: Path) -> None:
    Image.fromarray(shapes(192, 256)).save(tmp_path / "a.png")
    linear, small = (evaluate(str(tmp_path), "rgb-f8c48", decoder=name) for name in ("linear", "small"))
    assert small.codecs[0] == "rgb-f8c48, quality 49, decoder small"
    ours = [result.of(result.codecs[0])[0] for result in (linear, small)]
    assert ours[0].bytes == ours[1].bytes
    assert ours[1].figures[0] > ours[0].figures[0] + 0.1


def test_the_command(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--codec", "mono-f32c32", "--quality", "20"]
    assert main(["evaluate", str(recordings), *asked]) == 0
    told = capsys.readouterr()
    assert "mono-f32c32, quality 20" in told.out
    assert "passed over: 1 text beside the data (.txt)" in told.out
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(recordings / "cover.png")
    try:
        assert main(["evaluate", str(recordings), *asked]) == 3
        told = capsys.readouterr()
        assert main(["evaluate", str(recordings)]) == 2
        mixed = capsys.readouterr().err
    finally:
        (recordings / "cover.png").unlink()
    assert "left out: cover.png: an image (PNG): use a codec of images" in told.err
    assert "holds 1 image and 2 recordings: say which" in mixed and "--codec decides it" in mixed
    assert "skipped 1 entry that could not be read" in told.err


def test_mistakes(tmp_path: Path, recordings: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        evaluate(str(tmp_path / "nowhere"))
    with pytest.raises(ArgumentError, match="holds no image"):
        evaluate(str(tmp_path))
    with pytest.raises(ArgumentError, match="quality"):
        evaluate(str(recordings), quality=101)
    with pytest.raises(ArgumentError, match="channels"):
        evaluate(str(recordings), channels=109)
    with pytest.raises(ArgumentError, match="f9"):
        evaluate(str(recordings), "stereo-f9")
