"""The front end of audio: its options, recordings and windows of them, and the fields it adds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_made import chirp, write

from latentstore.codecs import load_codec
from latentstore.codecs.errors import ArgumentError, AudioError
from latentstore.codecs.modality import AUDIO
from latentstore.sources import open_source
from latentstore.sources.audio.reader import AudioReader
from latentstore.sources.item import Item
from latentstore.sources.signals.audio import AudioSignals
from latentstore.sources.signals.base import Signal
from latentstore.sources.signals.front_ends import front_end_of
from latentstore.sources.signals.settings import Settings

FRONT_END, RATE = front_end_of(AUDIO), 8000


def settings(**options: Any) -> Settings:
    given: dict[str, Any] = {"size": None, "color": None, "damaged": None, "seconds": None, "rate": None, **options}
    return FRONT_END.settings(load_codec("mono-f32c32"), quality=60, effort="default", raise_errors=False, **given)


def signals(chosen: Settings) -> AudioSignals:
    return AudioSignals(chosen, load_codec("mono-f32c32"))


def read(chosen: Settings, item: Item) -> Signal:
    with closing(signals(chosen)) as reader:
        return reader.read(item)


def test_options_are_filled_in() -> None:
    assert settings() == Settings("audio", 60)
    assert settings(rate=16000) == Settings("audio", 60, rate=16000)
    windows = settings(seconds=0.5)
    assert windows == Settings("audio", 60, window=4000, rate=RATE)  # the codec's rate
    assert settings(seconds=0.5, rate=16000).window == 8000
    assert windows.fixed_size == (1, 4000) and settings().fixed_size is None
    assert windows.nouns == AUDIO.window_nouns and settings().nouns == AUDIO.nouns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 64}, "size applies to images, and mono-f32c32 is a codec of audio"),
        ({"color": "srgb"}, "color applies to images, and mono-f32c32 is a codec of audio"),
        ({"rate": 0}, "rate is 0"),
        ({"rate": 1 << 28}, "rate is 268435456"),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seconds": 1e9}, "window lasts"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        settings(**options)


def test_whole_recordings(tmp_path: Path) -> None:
    audio = chirp(1, 1700)
    (item,) = open_source(write(tmp_path, a=(audio, RATE)), modality=AUDIO)
    assert FRONT_END.entries([item], settings()) == [item]
    reader = signals(settings())
    signal = reader.read(item)
    assert isinstance(signal.values, np.ndarray)
    assert (signal.width, signal.height, signal.fields) == (1700, 1, {"rate": RATE})
    assert np.abs(signal.values - audio.reshape(-1, 1)).max() <= 1 / 32768
    assert reader.bytes_in == (tmp_path / "a.wav").stat().st_size
    reader.close()


def test_long_recordings_come_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = open_source(write(tmp_path, a=(chirp(1, 1700), RATE)), modality=AUDIO)
    whole = read(settings(), item).values
    monkeypatch.setattr("latentstore.sources.signals.audio.LONG_SAMPLES", 999)
    monkeypatch.setattr("latentstore.sources.audio.reader.BLOCK", 512)
    reader = signals(settings())
    values = reader.read(item).values
    assert callable(values)
    for _ in range(2):  # each call begins anew
        blocks = list(values())
        assert [len(block) for block in blocks] == [512, 512, 512, 164]
        assert np.array_equal(np.concatenate(blocks), whole)
    reader.close()


def test_windows_decode_a_recording_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    begin = AudioReader._begin

    def counting(self: AudioReader) -> None:
        opened.append(1)
        begin(self)

    source = open_source(write(tmp_path, a=(chirp(1, 1700), RATE), b=(chirp(2, 900), RATE)), modality=AUDIO)
    chosen = settings(seconds=0.1)
    items = FRONT_END.entries(list(source), chosen)
    assert [item.key for item in items] == ["a_00000", "a_00001", "b_00000"]
    monkeypatch.setattr(AudioReader, "_begin", counting)
    reader = signals(chosen)
    found = [reader.read(item) for item in items]
    assert len(opened) == 2
    assert [signal.fields for signal in found] == [
        {"rate": RATE, "samples": 800},
        {"rate": RATE, "samples": 800},
        {"rate": RATE, "samples": 800},
    ]
    whole = read(settings(), source[0]).values
    assert isinstance(whole, np.ndarray)
    assert np.array_equal(np.concatenate([signal.values for signal in found[:2]]), whole[:1600])  # type: ignore[misc]
    reader.close()


def test_a_window_that_is_not_full_ends_in_zeros(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, a=(chirp(1, 1500), RATE)), modality=AUDIO)
    chosen = settings(seconds=0.1)
    last = read(chosen, FRONT_END.entries(list(source), chosen)[-1])
    assert isinstance(last.values, np.ndarray)
    assert (last.width, last.fields["samples"]) == (800, 700)
    assert last.values[:700].any() and not last.values[700:].any()


def test_a_recording_that_became_shorter_is_refused(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, a=(chirp(1, 1700), RATE)), modality=AUDIO)
    chosen = settings(seconds=0.1)
    items = FRONT_END.entries(list(source), chosen)
    write(tmp_path, a=(chirp(1, 900), RATE))
    with pytest.raises(AudioError, match="fewer than when the source was listed"):
        read(chosen, items[-1])


@pytest.mark.parametrize("name", ["rate", "step", "samples"])
def test_fields_that_audio_has_itself_are_refused(tmp_path: Path, name: str) -> None:
    (item,) = open_source(write(tmp_path, a=(chirp(1, 900), RATE)), modality=AUDIO)
    with pytest.raises(ArgumentError, match=f"has a field '{name}'.*rename"):
        read(settings(), item.with_(fields={name: 1}))


def test_facts_tell_what_decides_the_bytes() -> None:
    plain, cut = FRONT_END.facts(settings(), 7), FRONT_END.facts(settings(seconds=0.5), 9)
    assert plain | {"window": None, "rate": None, "recordings": 7} == plain
    assert cut | {"window": 4000, "rate": RATE, "windows": 9} == cut
    assert "soxr" in cut and "soxr" not in plain and "libsndfile" in plain
