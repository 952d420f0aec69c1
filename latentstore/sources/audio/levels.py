"""How loud a recording is, and what the report of a conversion tells of that."""

from __future__ import annotations

import numpy as np

from latentstore.codecs.errors import AudioError
from latentstore.sources.remarks import Remark

__all__ = ["Levels", "require_scale"]

# Music with headroom goes beyond full scale by some decibels; 24 of them are another scale.
MOST_PEAK = 16.0
# -80 dBFS, about three steps of 16 bits.
FAINT = 1e-4
# A mix keeps half of the energy of channels that have nothing in common.
CANCELLED = 0.1
# The largest value of 16 bits; loud audio reaches it now and then, clipped audio again and again.
FULL = 32767 / 32768
CLIPPED_SAMPLES = 10
INTEGERS = (8, 16, 24, 32)


class Levels:
    """What was read so far. peak: the largest magnitude. clipped: samples at full scale."""

    def __init__(self) -> None:
        self.peak, self.clipped = 0.0, 0
        self._channels = self._mono = 0.0
        self._last = (0.0, 0.0)

    def add(self, samples: np.ndarray) -> bool:
        """Takes float32 (n, inputs), n at least 1, into account; False if some are not finite."""
        low, high = float(samples.min()), float(samples.max())
        peak = max(high, -low)
        if not np.isfinite(low + high):
            return False
        self.peak = max(self.peak, peak)
        if FULL <= peak <= 1:
            self.clipped += int(np.count_nonzero((samples >= FULL) | (samples <= -FULL)))
        return True

    def mix(self, channels: np.ndarray, mono: np.ndarray) -> None:
        """Takes into account that channels, float32 (n, c), were mixed to float32 (n, 1)."""
        self._last = (float(np.vdot(channels, channels)) / channels.shape[1], float(np.vdot(mono, mono)))
        self._channels, self._mono = self._channels + self._last[0], self._mono + self._last[1]

    def next(self) -> Levels:
        """For what is read from here on, which begins in the block that was mixed last."""
        levels = Levels()
        levels._last = levels._channels, levels._mono = self._last
        return levels

    def remarks(self) -> list[Remark]:
        """What is worth knowing."""
        found = []
        if self._mono < CANCELLED * self._channels:
            found.append(Remark("cancelled", f"{10 * np.log10(max(self._mono / self._channels, 1e-12)):.0f} dB"))
        elif self.peak == 0:
            found.append(Remark("silent"))
        elif self.peak < FAINT:
            found.append(Remark("faint", _decibels(self.peak)))
        if self.peak > 1:
            found.append(Remark("beyond-full-scale", _decibels(self.peak)))
        elif self.clipped >= CLIPPED_SAMPLES:
            found.append(Remark("clipped", f"{self.clipped:,} samples"))
        return found


def require_scale(peak: float) -> None:
    """AudioError where samples with this peak cannot be in the scale of -1 to 1."""
    if peak <= MOST_PEAK:
        return
    bits = next((bits for bits in INTEGERS if peak <= 1 << bits - 1), 0)
    scale = f"they are in the scale of {bits}-bit integers: divide them by {1 << bits - 1:,}" if bits else "scale them"
    raise AudioError(f"its samples reach {peak:,.0f}, and full scale is 1; {scale}")


def _decibels(peak: float) -> str:
    return f"peak {20 * np.log10(peak):+.1f} dBFS"
