"""The wavelet packet transform of these checkpoints in torch: CDF 9/7 (bior4.4), periodic.

`codecs.image.wavelet` has the same transform in NumPy, by lifting. This one is a filter bank, as the checkpoints' own
is, and equals it on planes of every size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional

from latentstore.codecs.image.wavelet import filter_bank

__all__ = ["FILTERS", "PACKETS", "TAPS", "Packets", "analysis", "synthesis", "taps"]

TAPS = 10
MIDDLE = TAPS // 2

FILTERS = {"h0": 0, "h1": 1, "g0": 2, "g1": 3}
"""The filters as checkpoints name them, and their places in what `taps` gives."""


@lru_cache(maxsize=4)
def taps(device: str = "cpu") -> torch.Tensor:
    """On a device, float32 (4, 10): the low and the high filter of the analysis, reversed in time, and those of the
    synthesis."""
    low, high, rec_low, rec_high = filter_bank("bior4.4")
    with torch.inference_mode(False):  # a training may use those that an encoding made
        return torch.from_numpy(np.stack([low[::-1], high[::-1], rec_low, rec_high]).astype(np.float32)).to(device)


def analysis(images: torch.Tensor, levels: int) -> torch.Tensor:
    """Splits planes, float32 (N, C, H, W), into bands (N, C * 4**levels, H / 2**levels, W / 2**levels).

    Each split of a plane gives four bands, numbered 2 * (high along the width) + (high along the height). The sides
    must be multiples of 2**levels.
    """
    for _ in range(levels):
        wide = _split(images)  # (N, C, H, 2, W / 2)
        both = _split(wide.permute(0, 1, 3, 4, 2))  # (N, C, 2, W / 2, 2, H / 2)
        n, c, _, w, _, h = both.shape
        images = both.permute(0, 1, 2, 4, 5, 3).reshape(n, 4 * c, h, w)
    return images


def synthesis(bands: torch.Tensor, levels: int) -> torch.Tensor:
    """The inverse of `analysis`."""
    for _ in range(levels):
        n, c, h, w = bands.shape
        both = bands.reshape(n, c // 4, 2, 2, h, w).permute(0, 1, 2, 5, 3, 4)
        wide = _merge(both)  # (N, C / 4, 2, W / 2, H)
        bands = _merge(wide.permute(0, 1, 4, 2, 3))
    return bands


@dataclass(frozen=True)
class Packets:
    """A way to compute `analysis` and `synthesis`."""

    analysis: Callable[[torch.Tensor, int], torch.Tensor]
    synthesis: Callable[[torch.Tensor, int], torch.Tensor]


PACKETS = Packets(analysis, synthesis)


def _split(signals: torch.Tensor) -> torch.Tensor:
    """Signals (..., length) to their two bands (..., 2, length / 2), before the axis of time."""
    length = signals.shape[-1]
    shift = MIDDLE if length > 2 else 0  # two values are not turned by the checkpoints' transform
    rows = torch.roll(signals.reshape(-1, 1, length), -shift, -1)
    bands = functional.conv1d(rows, taps(str(rows.device))[:2, None], stride=2, padding=TAPS - 1)
    return _wrapped(bands, length // 2).reshape(*signals.shape[:-1], 2, length // 2)


def _merge(bands: torch.Tensor) -> torch.Tensor:
    """The inverse of `_split`."""
    half = bands.shape[-1]
    rows = functional.conv_transpose1d(bands.reshape(-1, 2, half), taps(str(bands.device))[2:, None], stride=2)
    rows = torch.roll(_wrapped(rows, 2 * half), 1 - MIDDLE, -1)
    return rows.reshape(*bands.shape[:-2], 2 * half)


def _wrapped(rows: torch.Tensor, length: int) -> torch.Tensor:
    """The first `length` values, with those past them added to the beginning.

    Of signals shorter than the filters, more than one length stands past the end. The checkpoints were trained with
    a transform that wraps once, so this does too.
    """
    past = rows[..., length : 2 * length]
    out = rows[..., :length].clone()
    out[..., : past.shape[-1]] += past
    return out
