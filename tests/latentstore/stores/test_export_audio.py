"""`export` of audio: 16-bit WAV of the right rate and length, clipped at full scale."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from audio_made import chirp, soundfile, write

import latentstore
from latentstore.stores.export import export


def test_whole_recordings_come_back(tmp_path: Path) -> None:
    clips = {"a__x": (chirp(1, 3000, 2), 44100), "b__y": (chirp(2, 777, 2), 48000)}
    store = latentstore.convert(
        write(tmp_path / "s", **clips), tmp_path / "x.zarr", codec="stereo-f256c108", quality=90
    ).url
    assert export(store, str(tmp_path / "out")).count == 2
    codec = latentstore.load_codec("stereo-f256c108")
    for name, (audio, rate) in clips.items():
        path = tmp_path / "out" / f"{name.replace('__', '/')}.wav"
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, rate)
        got, _ = soundfile.read(path)
        source = tmp_path / "s" / f"{name.replace('__', '/')}.wav"
        given, _ = soundfile.read(source, dtype="float32")
        expected = codec.decompress(codec.compress(given, 90)).clip(-1, 1)
        assert got.shape == audio.shape
        assert np.abs(got - expected).max() <= 1 / 32768
        # such short chirps begin and end with a step, which the most important channels hold in part
        assert np.square(got - audio).mean() < 0.05 * np.square(audio).mean()


def test_windows_lose_their_padding(tmp_path: Path) -> None:
    source = write(tmp_path / "s", a=(chirp(1, 1700), 8000))
    store = latentstore.convert(source, tmp_path / "x", format="wds", codec="mono-f32c32", seconds=0.125).url
    assert export(store, str(tmp_path / "out"), channels=16).count == 2
    assert [len(soundfile.read(tmp_path / "out" / f"a_0000{i}.wav")[0]) for i in (0, 1)] == [1000, 700]


def test_beyond_full_scale_is_clipped(tmp_path: Path) -> None:
    loud = 4 * chirp(3, 2000)
    path = tmp_path / "s" / "a.wav"
    path.parent.mkdir()
    soundfile.write(path, loud, 8000, subtype="FLOAT")
    store = latentstore.convert(path.parent, tmp_path / "x.zarr", codec="mono-f32c32", quality=90).url
    export(store, str(tmp_path / "out"))
    got, _ = soundfile.read(tmp_path / "out" / "a.wav", dtype="int16")
    assert got.max() == 32767 and got.min() == -32768
    wrong = np.abs(got / 32768 - np.clip(loud[:, 0], -1, 1))
    assert np.median(wrong) < 0.2


def test_a_rate_that_no_wav_holds_is_named(tmp_path: Path) -> None:
    from latentstore.codecs.modality import MAX_RATE_HZ
    from latentstore.stores.export import _Wav  # the limit of the format; a store of such a codec would be large

    wav = _Wav()
    wav.write(tmp_path / "a.wav", np.zeros((4, 4), np.float32), MAX_RATE_HZ)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getframerate() == MAX_RATE_HZ
    with pytest.raises(Exception, match=r"rate of 268,435,455 hertz is too high for a WAV file"):
        wav.write(tmp_path / "b.wav", np.zeros((4, 16), np.float32), MAX_RATE_HZ)


def test_rates_have_one_limit(tmp_path: Path) -> None:
    import struct

    from latentstore.codecs.modality import AUDIO, MAX_RATE_HZ

    header = bytearray((write(tmp_path / "s", a=(chirp(1, 500), 8000)) / "a.wav").read_bytes())
    for rate, name in ((MAX_RATE_HZ, "most"), (MAX_RATE_HZ + 1, "more")):
        header[24:28] = struct.pack("<I", rate)
        (tmp_path / "s" / f"{name}.wav").write_bytes(header)
    report = latentstore.convert(tmp_path / "s", tmp_path / "x.zarr", codec="mono-f32c32")
    assert [(failure.path, failure.reason) for failure in report.failures] == [
        ("more.wav", "it announces 1 channels at 268,435,456 hertz; 1 to 268,435,455 hertz are stored")
    ]
    assert export(report.url, str(tmp_path / "out")).count == 2
    with wave.open(str(tmp_path / "out" / "most.wav")) as file:
        assert file.getframerate() == MAX_RATE_HZ
    with pytest.raises(latentstore.ArgumentError, match="from 1 to 268,435,455"):
        AUDIO.check(1, 1, MAX_RATE_HZ + 1)
    with pytest.raises(latentstore.CorruptError):
        AUDIO.from_header(1, MAX_RATE_HZ + 1)
