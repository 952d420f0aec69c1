"""Images of floats: which value is white, and their 8 bits."""

from __future__ import annotations

import numpy as np

from latentstore.codecs.errors import ImageError
from latentstore.sources.remarks import Remark

__all__ = ["FLOATS", "floats_to_eight"]

FLOATS = {1.0: Remark("floats-0-1"), 255.0: Remark("floats-0-255")}
"""By the value that is white: what is said of floats."""


def floats_to_eight(values: np.ndarray, white: float, ranges: str = "") -> np.ndarray:
    """uint8 of floats whose white is 1 or 255. ImageError where they lie outside. ranges: what it says they may be."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= white):  # not-a-number too
        raise ImageError(f"float values from {low:g} to {high:g}; they must lie in {ranges or f'0..{white:g}'}")
    return np.rint(values.astype(np.float64) * (255 / white)).astype(np.uint8)
