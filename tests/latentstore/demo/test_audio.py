"""The demo of audio, with fewer recordings than people get; what it is made of; what it draws."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentstore.cli.main import main
from latentstore.codecs.errors import LatentstoreError, StoreError
from latentstore.demo.audio import demo_audio
from latentstore.demo.audio_sheet import HEAD, SPECTRUM, TITLE, WAVE, Cell, draw_audio_sheet
from latentstore.demo.synthesis import chords, speech_like


def test_demo_prints_a_table_and_writes_the_sheet(tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    out = io.StringIO()
    sheet = demo_audio(str(tmp_path / "demo"), out=out, recordings=2)
    told = out.getvalue()
    assert "2 recordings of 4 s" in told
    for words in ("FLAC", "Ogg Vorbis", "108 channels", "27 channels", "effort=fast", "PSNR", "samples/s"):
        assert words in told
    assert "nan" not in told
    with Image.open(sheet) as image:
        assert image.width > 3 * 500
        assert image.height > 2 * 350
        assert np.asarray(image).std() > 20
    again = demo_audio(str(tmp_path / "demo"), out=io.StringIO(), recordings=2)  # its own folder may be used again
    assert again == sheet


def test_the_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        demo_audio(str(tmp_path))
    assert main(["demo", "--audio", str(tmp_path)]) == 1


def test_without_soundfile_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LatentstoreError, match=r"latentstore\[demo\]"):
        demo_audio(str(tmp_path / "demo"), out=io.StringIO())
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("make", [chords, speech_like])
def test_audio_is_made_from_its_seed(make: type) -> None:
    first, again, other = make(0, 1.0, 16000), make(0, 1.0, 16000), make(1, 1.0, 16000)
    assert first.shape == (16000, 2)
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert 0.69 < np.abs(first).max() < 0.71
    assert np.isfinite(first).all()


def test_a_tone_is_drawn_where_it_is() -> None:
    rate = 16000
    tone = (0.5 * np.sin(2 * np.pi * 4000 * np.arange(rate) / rate)).astype(np.float32)
    sheet = np.asarray(draw_audio_sheet("a tone", [[Cell("4 kHz", tone)]], rate)).astype(int)
    top = HEAD + TITLE + WAVE
    light = sheet[top : top + SPECTRUM, 200:400].sum((1, 2))
    assert abs(int(np.argmax(light)) - SPECTRUM // 2) < 3  # 4 of 8 kHz: half-way up


@pytest.mark.parametrize("n", [1, 100, 3000])
def test_short_and_silent_audio_is_drawn(n: int) -> None:
    draw_audio_sheet("short", [[Cell("one", np.zeros(n, np.float32))], [Cell("two", np.ones(n, np.float32))]], 8000)
