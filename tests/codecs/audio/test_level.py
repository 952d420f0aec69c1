"""The level of a recording: its step follows it, so quiet music is kept as well as loud music; silence is silence."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from latentstore.codecs import AudioCodec, load_codec
from latentstore.codecs.audio.steps import level_of

# music at its highest quality has a few coefficients that int8 does not hold
pytestmark = pytest.mark.filterwarnings("ignore::latentstore.codecs.OutlierWarning")

RATE = 44100
CODECS = {"stereo-f256c108": 44100, "mono-f32c32": 8000}


def codec_of(name: str) -> AudioCodec:
    codec = load_codec(name)
    assert isinstance(codec, AudioCodec)
    return codec


def pink(samples: int, inputs: int, seed: int = 0) -> np.ndarray:
    """Noise of equal power in each octave, float64 (samples, inputs), root mean square 1."""
    bins = np.fft.rfft(np.random.default_rng(seed).standard_normal((inputs, samples)))
    bins[:, 0] = 0
    noise = np.fft.irfft(bins / np.sqrt(np.maximum(np.arange(bins.shape[1]), 1)), samples).T
    return noise / np.sqrt(np.mean(noise**2))


def at(signal: np.ndarray, decibel: float) -> np.ndarray:
    """`signal`, of root mean square 1, at this level below full scale, float32."""
    return (signal * 10 ** (decibel / 20)).astype(np.float32)


def snr(signal: np.ndarray, rebuilt: np.ndarray) -> float:
    error = np.square(rebuilt.astype(np.float64) - signal).sum()
    return float(10 * np.log10(np.square(signal, dtype=np.float64).sum() / error))


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("effort", ["default", "fast"])
@pytest.mark.parametrize("quality", [20, 50, 90])
def test_the_level_does_not_change_what_is_kept(name: str, effort: Any, quality: int) -> None:
    codec = codec_of(name)
    noise = pink(30_000, codec.in_channels)
    kept, sizes = {}, {}
    for decibel in (-100, -83.3, -60, -41.7, -20, -9):
        signal = at(noise, decibel)
        blob = codec.compress(signal, quality, effort)
        kept[decibel], sizes[decibel] = snr(signal, codec.decompress(blob)), len(blob)
    assert kept[-20] > 0.5
    assert all(abs(one - kept[-20]) < 0.7 for one in kept.values()), kept
    # steps are known to an eighth of an octave, which is some per cent of the bytes
    assert max(sizes.values()) < 1.3 * min(sizes.values())


def test_16_bit_samples_of_quiet_music() -> None:
    """At 60 dB below full scale, 16 bits leave a noise of their own, which is 38 dB below the music."""
    codec = codec_of("stereo-f256c108")
    noise = pink(60_000, 2)
    quiet, loud = (np.rint(at(noise, decibel) * 32768).astype(np.int16) for decibel in (-60, -20))
    kept = [snr(signal / 32768, codec.decompress(codec.compress(signal))) for signal in (quiet, loud)]
    assert abs(kept[0] - kept[1]) < 1


@pytest.mark.parametrize("name", CODECS)
def test_digital_silence_is_silence(name: str) -> None:
    codec = codec_of(name)
    silence = np.zeros((5000, codec.in_channels), np.float32)
    for effort in ("default", "fast"):
        made = codec.compress_counted(silence, effort=effort)
        assert made.limited == 0 and made.kept == 1 and not made.silenced
        assert not codec.decompress(codec.join_groups(made.groups, 1, 5000)).any()


@pytest.mark.parametrize("decibel", [-60, -20])
@pytest.mark.parametrize("loud", ["mid", "side", "left"])
def test_very_different_inputs(loud: str, decibel: float) -> None:
    """One mixed signal 40 dB below the other, or one silent input: the louder one is kept as well as alone."""
    codec = codec_of("stereo-f256c108")
    # below 1 kHz, which mid and side both hold
    time = np.arange(60_000)[:, None] / RATE
    pitches = np.array([[110, 220, 330, 440, 550], [130, 261, 392, 523, 784]])
    tones = np.sin(2 * np.pi * time[..., None] * pitches).sum(2)
    weight = {"mid": (1, 0.01), "side": (0.01, 1), "left": (1, 0)}[loud]
    mixed = tones * weight
    stereo = mixed if loud == "left" else np.stack([mixed.sum(1), mixed[:, 0] - mixed[:, 1]], 1)
    signal = at(stereo / np.sqrt(np.mean(stereo**2)), decibel)
    rebuilt = codec.decompress(codec.compress(signal))
    assert snr(signal, rebuilt) > 15
    if loud == "left":
        leak = np.square(rebuilt[:, 1], dtype=np.float64).sum() / np.square(signal, dtype=np.float64).sum()
        assert 10 * np.log10(leak) < -15


@pytest.mark.parametrize("decibel", [-60, -20])
@pytest.mark.parametrize("silent", [0.5, 0.95])
def test_recordings_that_start_silent(decibel: float, silent: float) -> None:
    codec = codec_of("stereo-f256c108")
    noise = pink(80_000, 2)
    begin = int(silent * len(noise))
    noise[:begin] = 0
    signal = at(noise, decibel)
    rebuilt = codec.decompress(codec.compress(signal))
    whole = at(pink(80_000, 2), decibel)
    least = snr(whole, codec.decompress(codec.compress(whole)))
    assert snr(signal, rebuilt) > least - 1
    # an instant sees the samples around it
    assert not rebuilt[: begin - 3 * codec.reduction].any()


def test_every_window_has_its_own_level() -> None:
    """A fade: windows at its end are kept as well as those at its beginning; as a whole the end is below the step."""
    codec = codec_of("stereo-f256c108")
    window = 11_025
    signal = at(pink(8 * window, 2), -20) * np.geomspace(1, 1e-4, 8 * window, dtype=np.float32)[:, None]
    windows = np.split(signal, 8)
    kept = [snr(one, codec.decompress(codec.compress(one))) for one in windows]
    assert max(kept) - min(kept) < 3
    steps = [codec.sample_fields(codec.compress_groups(one))["step"] for one in windows]
    assert all(level_of(a) > level_of(b) for a, b in pairwise(steps))
    assert not codec.decompress(codec.compress(signal))[-window // 2 :].any()


@pytest.mark.parametrize("decibel", [-60, -20])
@pytest.mark.parametrize("effort", ["default", "fast"])
@pytest.mark.parametrize("kind", ["pink", "10 kHz", "100 Hz"])
def test_what_becomes_silence_is_known(kind: str, effort: Any, decibel: float) -> None:
    codec = codec_of("stereo-f256c108")
    if kind == "pink":
        signal = pink(44_100, 2)
    else:
        pitch = 10_000 if kind == "10 kHz" else 100
        signal = np.tile(np.sin(2 * np.pi * pitch * np.arange(44_100) / RATE)[:, None] * 2**0.5, 2)
    made = codec.compress_counted(at(signal, decibel), effort=effort)
    decoded = codec.decompress(codec.join_groups(made.groups, 1, len(signal)))
    share = np.square(decoded, dtype=np.float64).sum() / np.square(at(signal, decibel), dtype=np.float64).sum()
    assert made.silenced == (kind == "10 kHz")
    # the decoder puts values nearer to zero than the middle of their step
    assert share <= made.kept <= 1.15 * share + 1e-3


def test_blocks_tell_what_was_kept() -> None:
    codec = codec_of("stereo-f256c108")
    signal = at(pink(700_000, 2), -50)
    blocks = np.array_split(signal, 11)
    made = codec.compress_counted(lambda: blocks, effort="fast")
    whole = codec.compress_counted(signal, effort="fast")
    assert made.groups == whole.groups and made.kept == pytest.approx(whole.kept)
    assert 0.5 < made.kept < 1
