"""Every kind of file becomes the samples it stands for, or is refused with the reason."""

from __future__ import annotations

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from audio_made import chirp, encoded

from latentstore.codecs.errors import AudioError, LatentstoreError
from latentstore.sources.audio import reader as clips
from latentstore.sources.audio.files import audio_length
from latentstore.sources.audio.reader import AudioReader, read_audio, resampled_length

RATE = 8000


def refused(data: bytes, inputs: int = 1) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(data, inputs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("format", "subtype", "error"),
    [
        ("WAV", "PCM_U8", 2**-7), ("WAV", "PCM_16", 2**-15), ("WAV", "PCM_24", 2**-23), ("WAV", "PCM_32", 2**-24),
        ("WAV", "FLOAT", 0), ("WAV", "DOUBLE", 0), ("RF64", "PCM_16", 2**-15), ("AIFF", "PCM_16", 2**-15),
        ("FLAC", "PCM_16", 2**-15), ("FLAC", "PCM_24", 2**-23),
    ],
)  # fmt: skip
def test_every_depth(format: str, subtype: str, error: float) -> None:
    audio = chirp(1, 3000, 2)
    got, rate = read_audio(encoded(audio, 44100, format, subtype), 2)
    assert (got.dtype, got.shape, rate) == (np.float32, (3000, 2), 44100)
    assert np.abs(got - audio).max() <= error


@pytest.mark.parametrize(("format", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)])
def test_lossy_formats(format: str, subtype: str | None) -> None:
    audio = 0.5 * np.sin(np.arange(48000, dtype=np.float32)[:, None] / 20)
    got, rate = read_audio(encoded(audio, 48000, format, subtype), 1)
    assert (got.shape, rate) == (audio.shape, 48000)
    assert np.square(got - audio).mean() < 0.02 * np.square(audio).mean()


def test_channels() -> None:
    stereo = chirp(3, 500, 2)
    mono, data = stereo[:, :1], encoded(stereo, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(data, 1)[0], stereo.mean(1, keepdims=True), atol=1e-7)
    copied = read_audio(encoded(mono, RATE, subtype="FLOAT"), 2)[0]
    assert np.array_equal(copied, np.repeat(mono, 2, axis=1))
    assert "6 channels" in refused(encoded(chirp(3, 500, 6), RATE), 2)
    assert "2 channels" in refused(data, 3)


@pytest.mark.parametrize(("own", "wanted"), [(8000, 16000), (192000, 44100), (44100, 8000), (11025, 22050)])
def test_resampling_keeps_the_audio(own: int, wanted: int) -> None:
    def tone(rate: int) -> np.ndarray:
        t = np.arange(rate // 2)[:, None] / rate
        return (0.5 * np.sin(2 * np.pi * 700 * t)).astype(np.float32)

    got, rate = read_audio(encoded(tone(own), own, subtype="FLOAT"), 1, wanted)
    expected = tone(wanted)
    assert rate == wanted and len(got) == resampled_length(own // 2, own, wanted)
    inner = slice(wanted // 20, wanted // 2 - wanted // 20)
    assert np.abs(got[inner] - expected[inner]).max() < 1e-3


def test_one_sample() -> None:
    assert read_audio(encoded(np.full((1, 1), 0.5), RATE), 1)[0].tolist() == [[0.5]]
    assert read_audio(encoded(np.full((1, 1), 0.5), 44100), 1, 8000)[0].shape == (1, 1)


def test_windows_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "BLOCK", 1000)
    data = encoded(chirp(4, 30_000, 2), 44100, "FLAC")
    whole = read_audio(data, 2, RATE)[0]
    with AudioReader(data, 2, RATE) as reader:
        assert np.array_equal(reader.read(100, 350), whole[100:350])
        assert np.array_equal(reader.read(2000, reader.samples), whole[2000:])
        assert np.array_equal(np.concatenate(list(reader.blocks())), whole)
    with AudioReader(data, 2, RATE) as reader:
        assert np.array_equal(np.concatenate(list(reader.blocks())), whole)


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", None)]
)
def test_what_lies_before_changes_nothing(format: str, subtype: str | None) -> None:
    data = encoded(chirp(4, 300_000, 2), 44100, format, subtype)
    whole = read_audio(data, 2)[0]
    with AudioReader(data, 2) as reader:
        for start, stop in ((90_000, 90_100), (90_100, 170_000), (280_000, 300_000)):
            assert np.array_equal(reader.read(start, stop), whole[start:stop])
    if format == "FLAC":
        with AudioReader(data[: len(data) // 2], 2) as reader, pytest.raises(AudioError, match="damaged or cut short"):
            reader.read(280_000, 290_000)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64", "float16"])
def test_arrays(dtype: str) -> None:
    audio = chirp(5, 400)
    full = -float(np.iinfo(dtype).min) if dtype.startswith("int") else 1.0
    with AudioReader((audio * full).astype(dtype)[:, 0], 2, own=RATE) as reader:
        got = reader.read(0, 400)
    assert got.shape == (400, 2) and np.abs(got - audio).max() < 1e-3


# ---- what is refused


def test_no_audio() -> None:
    assert refused(b"") == "the file is empty"
    assert "not audio of a known format" in refused(b"this is no audio, but text" * 9)
    assert "no samples" in refused(encoded(np.zeros((0, 1)), RATE))
    assert "chunk of samples is missing" in refused(encoded(chirp(1, 500), RATE)[:40])


def test_no_traceback_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    for format in ("WAV", "FLAC", "OGG", "MP3", "AIFF"):
        data = encoded(chirp(6, 20_000), 44100, format)
        for cut in (5, 30, 44, 60, 200):
            assert refused(data[:cut])
    assert "Traceback" not in capfd.readouterr().err


def test_no_channels() -> None:
    data = bytearray(encoded(chirp(1, 500), RATE))
    data[22:24] = b"\0\0"
    assert "hannel" in refused(bytes(data))


@pytest.mark.parametrize("format", ["WAV", "RF64", "AIFF", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_files_cut_short(format: str, share: float) -> None:
    data = encoded(chirp(7, 60_000, 2), 44100, format)
    said = refused(data[: int(len(data) * share)], 2)
    assert any(words in said for words in ("cut short", "damaged")), said


def test_an_ogg_cut_between_pages() -> None:
    data = encoded(chirp(7, 200_000), 44100, "OGG")
    assert "not marked as the end" in refused(data[: data.rindex(b"OggS")])


def test_damage_inside() -> None:
    data = bytearray(encoded(np.random.default_rng(0).normal(size=50_000) / 10, 44100, "FLAC"))
    data[len(data) // 2 : len(data) // 2 + 9] = b"damaged!!"
    assert "damaged" in refused(bytes(data))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number(value: float) -> None:
    audio = chirp(8, 500)
    audio[321] = value
    assert "sample 321 is not a finite number" in refused(encoded(audio, RATE, subtype="FLOAT"))


def test_a_header_that_claims_too_much() -> None:
    data = bytearray(encoded(chirp(9, 5000), RATE))
    data[40:44] = struct.pack("<I", 1 << 30)
    assert "cut short" in refused(bytes(data))
    flac = bytearray(encoded(chirp(9, 5000), RATE, "FLAC"))
    packed = int.from_bytes(flac[18:26], "big") >> 36 << 36
    for samples, words in (((1 << 36) - 1, "cut short"), (6000, "and it holds 5,000")):
        flac[18:26] = (packed | samples).to_bytes(8, "big")
        assert words in refused(bytes(flac))


def test_a_length_that_a_pipe_left_open() -> None:
    audio = chirp(9, 5000)
    data = bytearray(encoded(audio, RATE))
    data[4:8] = data[40:44] = b"\xff" * 4
    assert len(read_audio(bytes(data), 1)[0]) == 5000


def test_other_formats() -> None:
    assert "SVX is not read" in refused(encoded(chirp(1, 500), RATE, "SVX"))


def test_lengths_from_headers() -> None:
    for format in ("WAV", "FLAC", "OGG", "MP3"):
        found = audio_length(io.BytesIO(encoded(chirp(1, 20_000, 2), 44100, format)))
        assert (found.samples, found.rate, found.channels) == (20_000, 44100, 2)


# ---- libraries


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(LatentstoreError, match=r"pip install 'latentstore\[audio\]'"):
        read_audio(b"RIFF", 1)


def test_importing_loads_neither() -> None:
    program = (
        "import sys, latentstore.conversion.api, latentstore.conversion.run\n"
        "import latentstore.sources.audio.reader, latentstore.sources.audio.windows\n"
        "assert not {'soundfile', 'soxr'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
