"""The bands that the linear synthesis makes of a latent, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np


def linear_planes(codec: Any, latent: np.ndarray, quality: int) -> np.ndarray:
    """int8 (c, h, w), the first channels, to float32 (planes, h, w)."""
    size, kept = np.abs(latent.astype(np.float32)), len(latent)
    delta = codec.artifact.tensors["delta"][:kept].T[:, :, None, None]
    values = np.sign(latent) * (size - np.where(size == 1, *delta)) * codec.scale(quality)[:kept, None, None]
    planes: np.ndarray = np.einsum("pk,khw->phw", codec.matrix[:, :kept], values)
    return planes
