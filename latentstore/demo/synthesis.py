"""Makes audio of sines and noise, for a demonstration without recordings. The same seed gives the same audio."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["chords", "speech_like"]

Floats = npt.NDArray[np.float32]

LOUDEST = 0.7
# Semitones above the root: major, minor, and both with a seventh.
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 11), (0, 3, 7, 10))
PARTIALS = 12
# Centre and width in hertz of three formants, of some vowels (after Peterson and Barney 1952).
VOWELS = (
    ((730, 90), (1090, 110), (2440, 170)),
    ((270, 60), (2290, 150), (3010, 200)),
    ((300, 60), (870, 90), (2240, 150)),
    ((530, 80), (1840, 130), (2480, 170)),
    ((570, 80), (840, 90), (2410, 160)),
)
FORMANT_GAINS = (1.0, 0.5, 0.25)
HARMONICS = 40


def chords(seed: int, seconds: float, rate: int) -> Floats:
    """Plucked chords, float32 (n, 2) at `rate` hertz: higher partials decay faster."""
    rng = np.random.default_rng([seed, 0])
    out = np.zeros((round(seconds * rate), 2))
    at, root = 0.0, rng.integers(45, 57)
    while at < seconds:
        for offset in (-12, *CHORDS[rng.integers(len(CHORDS))]):
            pitch = 440 * 2 ** ((root + offset - 69) / 12)
            start = round((at + rng.uniform(0, 0.03)) * rate)
            note = _plucked(pitch, rng.uniform(0.4, 1.2), seconds - start / rate, rate, rng)
            turn = rng.uniform(0.1, 0.4) * np.pi  # between left and right, at equal power
            out[start : start + len(note)] += note[:, None] * (np.cos(turn), np.sin(turn))
        at += rng.choice((0.4, 0.8))
        root = np.clip(root + rng.choice((-5, -2, 0, 3, 5)), 43, 60)
    return _levelled(out)


def _plucked(pitch: float, seconds: float, most: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """One note, of `most` seconds at most. seconds: the time in which its first partial falls by a factor of e."""
    t = np.arange(max(0, round(min(most, 5 * seconds) * rate))) / rate
    note = np.zeros(len(t))
    for k in range(1, PARTIALS + 1):
        # the higher partials of stiff strings are a little sharp
        partial = k * pitch * (1 + 0.0002 * k * k)
        if partial < 0.45 * rate:
            phase = rng.uniform(0, 2 * np.pi)
            note += np.sin(2 * np.pi * partial * t + phase) * np.exp(-t * (0.5 + 0.5 * k) / seconds) / k
    return note * np.minimum(1, t / 0.004)


def speech_like(seed: int, seconds: float, rate: int) -> Floats:
    """Syllables, float32 (n, 2) at `rate` hertz, left and right the same.

    Each is a voice whose pitch and formants glide; before many there is a burst of noise, like an s or a t.
    """
    rng = np.random.default_rng([seed, 1])
    n = round(seconds * rate)
    out, base = np.zeros(n), rng.uniform(95, 210)
    at = 0.05
    while at < seconds - 0.1:
        burst, voiced = rng.uniform(0.03, 0.12), rng.uniform(0.12, 0.35)
        if rng.random() < 0.7:
            _add(out, at, 0.12 * _burst(rng.uniform(2500, 7000), burst, rate, rng), rate)
            at += burst
        first, last = rng.choice(len(VOWELS), 2, replace=False)
        pitch = base * np.exp(rng.normal(0, 0.12, 2))
        _add(out, at, _voice(pitch, VOWELS[first], VOWELS[last], voiced, rate), rate)
        at += voiced + rng.choice((0.02, 0.02, 0.25))
    return _levelled(np.repeat(out[:, None], 2, axis=1))


def _voice(pitch: np.ndarray, first: object, last: object, seconds: float, rate: int) -> np.ndarray:
    """Harmonics of a pitch that glides from pitch[0] to pitch[1] hertz, weighted by formants that glide too."""
    u = np.linspace(0, 1, round(seconds * rate))
    hertz = pitch[0] + (pitch[1] - pitch[0]) * u
    phase = 2 * np.pi * np.cumsum(hertz) / rate
    formants = np.array(first)[..., None] * (1 - u) + np.array(last)[..., None] * u
    audio = np.zeros(len(u))
    for k in range(1, HARMONICS + 1):
        weight = sum(
            gain / (1 + ((k * hertz - centre) / width) ** 2)
            for gain, (centre, width) in zip(FORMANT_GAINS, formants, strict=True)
        )
        audio += np.where(k * hertz < 0.45 * rate, weight, 0) * np.sin(k * phase)
    return audio * np.sin(np.pi * u) ** 0.5


def _burst(centre: float, seconds: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise an octave wide around a frequency in hertz; it begins suddenly and dies away."""
    n = round(seconds * rate)
    spectrum = np.fft.rfft(rng.normal(size=n))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(n, 1 / rate), 1) / centre)
    noise = np.fft.irfft(spectrum * np.exp(-2 * octaves**2), n)
    return noise / max(noise.std(), 1e-9) * np.exp(-3 * np.linspace(0, 1, n))


def _add(out: np.ndarray, seconds: float, audio: np.ndarray, rate: int) -> None:
    start = round(seconds * rate)
    out[start : start + len(audio)] += audio[: max(0, len(out) - start)]


def _levelled(audio: np.ndarray) -> Floats:
    return (audio * (LOUDEST / max(float(np.abs(audio).max(initial=0)), 1e-9))).astype(np.float32)
