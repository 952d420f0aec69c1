"""How near decoded audio is to the original: SNR, PSNR, SI-SDR, and a distance between spectra.

Signals are float arrays (n, channels) of one shape, full scale -1 to 1. Errors and powers are summed over all channels.
None of these figures says how well audio sounds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentstore.codecs.codec import SILENT_SHARE

__all__ = ["aligned", "is_silenced", "psnr", "si_sdr", "snr", "spectral_distance"]

Floats = npt.NDArray[np.floating]

# The windows of DDSP's multi-scale spectral loss (Engel et al., ICLR 2020).
WINDOWS = (2048, 1024, 512, 256, 128, 64)
# 100 dB below a sine of full scale, above the noise of 16-bit samples in each of these windows.
FLOOR = 1e-5
# What rounding in double precision leaves of an exact copy, as a share of its power, is less than this.
ROUNDING = 1e-28
# Values of frames at a time.
BLOCK = 1 << 20
# Samples: more than the delay of any encoder, and enough audio to find it.
MOST_DELAY, LOOKED_AT = 1 << 13, 1 << 21


def snr(original: Floats, decoded: Floats) -> float:
    """Power of the signal over that of the error, in dB: infinite without an error, minus infinite for silence with
    one."""
    return _decibel(_power(original), _power(_error(original, decoded)))


def psnr(original: Floats, decoded: Floats) -> float:
    """Full scale from peak to peak, 2, over the root mean square error, in dB."""
    return _decibel(4.0 * original.size, _power(_error(original, decoded)))


def si_sdr(original: Floats, decoded: Floats) -> float:
    """SNR in dB, with the original scaled so that it fits the decoded audio best (Le Roux et al., ICASSP 2019).

    Minus infinite where the decoded audio has nothing of the original, as silence has; infinite where it is the
    original at any other scale, as one sample always is.
    """
    a, b = original.astype(np.float64).ravel(), decoded.astype(np.float64).ravel()
    power = float(a @ a)
    if not power:
        return snr(original, decoded)
    target = a * (float(a @ b) / power)
    kept, error = _power(target), _power(b - target)
    if not kept:
        return float("-inf")
    return _decibel(kept, error if error > ROUNDING * kept else 0.0)


def is_silenced(original: Floats, decoded: Floats) -> bool:
    """Whether decoded audio is silence, or 20 dB weaker than the original, which is not silent itself."""
    return _power(decoded) < SILENT_SHARE * _power(original)


def spectral_distance(original: Floats, decoded: Floats) -> float:
    """The mean absolute difference of log magnitudes, in dB, averaged over six resolutions.

    This is the logarithmic term of DDSP's multi-scale spectral loss (Engel et al., ICLR 2020): short-time Fourier
    transforms by Hann windows of 2048, 1024, 512, 256, 128 and 64 samples, a quarter of a window apart. Magnitudes more
    than 100 dB below a sine of full scale count as that.
    """
    return float(np.mean([_distance(original, decoded, window) for window in WINDOWS]))


def aligned(original: Floats, decoded: Floats) -> Floats:
    """`decoded` (m, channels), shifted to where it correlates best with `original` (n, channels), as (n, channels).

    Encoders delay their output, by up to 8192 samples here. Samples that are missing after the shift are 0.
    """
    n, delay = len(original), _delay(original[:LOOKED_AT], decoded[: LOOKED_AT + MOST_DELAY])
    out = np.zeros_like(original)
    part = decoded[max(delay, 0) : max(delay + n, 0)]
    out[max(-delay, 0) :][: len(part)] = part[: n - max(-delay, 0)]
    return out


def _delay(original: Floats, decoded: Floats) -> int:
    if not len(decoded):
        return 0
    size = 1 << (len(original) + len(decoded) - 1).bit_length()
    cross = np.zeros(size // 2 + 1, np.complex128)
    for a, b in zip(original.T, decoded.T, strict=True):
        cross += np.fft.rfft(b, size) * np.fft.rfft(a, size).conj()
    correlation = np.fft.irfft(cross, size)
    most = min(MOST_DELAY, size // 2)
    delays = np.arange(-most, most)
    return int(delays[np.argmax(correlation[delays])]) if correlation.any() else 0


def _error(original: Floats, decoded: Floats) -> Floats:
    return decoded.astype(np.float64) - original


def _power(values: Floats) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _decibel(power: float, error: float) -> float:
    if not error:
        return float("inf")
    return float(10 * np.log10(power / error)) if power else float("-inf")


def _distance(original: Floats, decoded: Floats, window: int) -> float:
    # the first and the last samples lie in four windows, like all others, and no window is empty
    ends = ((window - window // 4, window - window // 4), (0, 0))
    a, b = (np.pad(signal, ends).astype(np.float32) for signal in (original, decoded))
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    frames = range(0, len(a) - window + 1, window // 4)
    step = max(1, BLOCK // (window * a.shape[1]))
    total = 0.0
    for at in range(0, len(frames), step):
        some = slice(frames[at], frames[min(at + step, len(frames)) - 1] + window)
        total += float(np.abs(_logarithms(a[some], hann) - _logarithms(b[some], hann)).sum(dtype=np.float64))
    return total / (len(frames) * (window // 2 + 1) * a.shape[1])


def _logarithms(signal: Floats, hann: Floats) -> Floats:
    """Magnitudes in dB of a sine of full scale, (frames, channels, window / 2 + 1)."""
    frames = np.lib.stride_tricks.sliding_window_view(signal, len(hann), axis=0)[:: len(hann) // 4]
    magnitudes = np.abs(np.fft.rfft(frames * hann)) * (2 / hann.sum())
    return 20 * np.log10(np.maximum(magnitudes, FLOOR))
