"""Measures of audio, against what is known of them, and the alignment of what encoders delay."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.evaluate.audio.metrics import aligned, is_silenced, psnr, si_sdr, snr, spectral_distance


@pytest.fixture
def audio() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.1, (9000, 2)).astype(np.float32)


def test_known_ratios(audio: np.ndarray) -> None:
    assert snr(audio, audio * np.float32(1.1)) == pytest.approx(20.0, abs=1e-3)
    step = np.zeros_like(audio)
    assert psnr(step, step + np.float32(0.02)) == pytest.approx(40.0, abs=1e-3)
    assert si_sdr(audio, audio * np.float32(0.5)) > 120
    noise = np.random.default_rng(4).normal(0, 0.01, audio.shape)
    # noise that has nothing to do with the signal counts the same, whatever the gain
    assert si_sdr(audio, 3 * (audio + noise)) == pytest.approx(20.0, abs=0.1)


def test_a_gain_moves_every_spectrum_by_its_decibels(audio: np.ndarray) -> None:
    assert spectral_distance(audio, audio * np.float32(2)) == pytest.approx(20 * np.log10(2), abs=0.01)
    assert spectral_distance(audio, audio) == 0


def test_what_cannot_be_heard_is_no_distance() -> None:
    silence = np.zeros((5000, 1), np.float32)
    noise = np.random.default_rng(5).uniform(-1, 1, silence.shape).astype(np.float32) / 65536
    assert spectral_distance(silence, noise) < 0.05


def test_exact_and_silent(audio: np.ndarray) -> None:
    silence = np.zeros_like(audio)
    assert snr(audio, audio) == psnr(audio, audio) == si_sdr(audio, audio) == float("inf")
    assert snr(silence, audio) == si_sdr(silence, audio) == float("-inf")
    assert snr(silence, silence) == si_sdr(silence, silence) == float("inf")
    assert snr(audio, silence) == pytest.approx(0)
    assert si_sdr(audio, silence) == float("-inf")


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 5000])
def test_any_length(n: int) -> None:
    one = np.full((n, 1), 0.25, np.float32)
    assert spectral_distance(one, one * np.float32(0.5)) >= 0
    assert np.array_equal(aligned(one, one), one)


@pytest.mark.parametrize("delay", [-700, -1, 0, 1, 529, 2257])
def test_delays_are_taken_out(audio: np.ndarray, delay: int) -> None:
    moved = np.pad(audio, ((delay, 100), (0, 0))) if delay >= 0 else audio[-delay:]
    back = aligned(audio, moved)
    assert back.shape == audio.shape
    first = max(-delay, 0)
    assert np.array_equal(back[first:], audio[first:])
    assert not back[:first].any()


def test_nothing_to_align(audio: np.ndarray) -> None:
    assert not aligned(audio, np.zeros((0, 2), np.float32)).any()
    assert not aligned(audio, np.zeros((50, 2), np.float32)).any()


def test_silence_is_no_copy() -> None:
    """Silence fits every original at the scale 0: it has nothing of it, and an error of 0 is no merit."""
    original = np.random.default_rng(0).standard_normal((500, 2)).astype(np.float32)
    silence = np.zeros_like(original)
    assert si_sdr(original, silence) == float("-inf")
    assert snr(original, silence) == 0
    assert si_sdr(silence, original) == snr(silence, original) == float("-inf")
    assert si_sdr(silence, silence) == snr(silence, silence) == psnr(silence, silence) == float("inf")
    assert is_silenced(original, silence) and is_silenced(original, 0.05 * original)
    assert not is_silenced(original, 0.2 * original) and not is_silenced(silence, silence)
    assert not is_silenced(silence, original)


@pytest.mark.parametrize("scale", [1.0, 0.3, -2.0, 1e-6])
def test_the_original_at_another_scale_is_exact(scale: float) -> None:
    rng = np.random.default_rng(1)
    for samples in (1, 7, 40_000):
        original = rng.standard_normal((samples, 1)).astype(np.float32)
        assert si_sdr(original, scale * original.astype(np.float64)) == float("inf")
    assert si_sdr(original, np.float32(scale) * original + np.float32(1e-6 * abs(scale))) < 150


def test_nothing_of_the_original() -> None:
    original = np.tile(np.array([[1.0], [-1.0]]), (50, 1))
    assert si_sdr(original, np.full((100, 1), 0.5)) == float("-inf")
