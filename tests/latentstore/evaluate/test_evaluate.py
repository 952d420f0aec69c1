"""`latentstore evaluate`, on recordings and images made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_images import shapes
from PIL import Image

from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.evaluate.api import Evaluation, evaluate
from latentstore.evaluate.equal_bytes import nearest_bytes
from latentstore.evaluate.image_peers import IMAGE_PEERS


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
    assert [path for path, _ in result.failures] == ["notes.txt"]
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


def test_silence_and_one_sample(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "silence.wav", np.zeros((4000, 1), np.float32), 8000)
    soundfile.write(tmp_path / "one.wav", np.full((1, 1), 0.5), 8000)
    result = evaluate(str(tmp_path), "mono-f32c32")
    assert len(result.of(result.codecs[0])) == 2
    assert np.isfinite(result.mean(result.codecs[0], "spectral"))
    assert "* not of equal bytes" in str(result)


def test_images_beside_jpeg_and_webp(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (24, 16, 3)), ("b.png", (9, 30, 3))):
        small = Image.fromarray(rng.integers(0, 256, shape, np.uint8))
        small.resize((8 * shape[1], 8 * shape[0]), Image.Resampling.BICUBIC).save(tmp_path / name)
    for codec in ("rgb-f8c48", "gray-f8c16"):
        result = evaluate(str(tmp_path), codec)
        assert result.codecs == [f"{codec}, quality 49", *IMAGE_PEERS]
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
    assert main(["evaluate", str(recordings), "--codec", "mono-f32c32", "--quality", "20"]) == 3
    told = capsys.readouterr()
    assert "mono-f32c32, quality 20" in told.out
    assert "left out: notes.txt: " in told.err
    assert "skipped 1 entry that could not be read" in told.err


def test_mistakes(tmp_path: Path, recordings: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        evaluate(str(tmp_path / "nowhere"))
    with pytest.raises(ArgumentError, match="holds no recording"):
        evaluate(str(tmp_path))
    with pytest.raises(ArgumentError, match="quality"):
        evaluate(str(recordings), quality=101)
    with pytest.raises(ArgumentError, match="channels"):
        evaluate(str(recordings), channels=109)
    with pytest.raises(ArgumentError, match="f9"):
        evaluate(str(recordings), "stereo-f9")
