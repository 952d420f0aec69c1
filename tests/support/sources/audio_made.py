"""Short clips for tests: seeded, and written by soundfile."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile", reason="audio is read by soundfile: pip install latentstore[audio]")


def chirp(seed: int, samples: int, channels: int = 1) -> np.ndarray:
    """float32 (samples, channels): a sweep with some noise, below full scale."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples)[:, None] / 8000
    sweep = np.sin(2 * np.pi * (200 + 60 * seed) * t * (1 + t) + np.arange(channels))
    return (0.4 * sweep + 0.01 * rng.normal(size=(samples, channels))).astype(np.float32)


def encoded(audio: np.ndarray, rate: int, format: str = "WAV", subtype: str | None = None) -> bytes:
    """The bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=format, subtype=subtype)
    return file.getvalue()


def write(folder: Path, **clips: tuple[np.ndarray, int]) -> Path:
    """Writes NAME.wav for each (audio, rate); ``__`` in a name is a slash."""
    for name, (audio, rate) in clips.items():
        path = folder / f"{name.replace('__', '/')}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(audio, rate))
    return folder
