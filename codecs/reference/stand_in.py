"""The kernel's functions by the reference, under the kernel's names: what runs where no kernel was built."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.reference import lapped, projection
from latentstore.codecs.reference.adaptive import adaptive_new, coder_optimise_many
from latentstore.codecs.reference.coder import (
    coder_contexts,
    coder_cost,
    coder_decode,
    coder_decode_rows,
    coder_encode,
    coder_encode_many,
    coder_sparse_contexts,
)
from latentstore.codecs.reference.header import coder_lanes, crc32c
from latentstore.codecs.reference.model import coder_new
from latentstore.codecs.reference.network import network_layer
from latentstore.codecs.reference.optimise import coder_optimise
from latentstore.codecs.reference.tensors.frame import tensor_frames
from latentstore.codecs.reference.tensors.step import tensor_decode, tensor_encode, tensor_new
from latentstore.codecs.reference.tensors.tokens import tokens_decode, tokens_encode, tokens_new, tokens_repeats

__all__ = [
    "adaptive_new",
    "coder_contexts",
    "coder_cost",
    "coder_decode",
    "coder_decode_rows",
    "coder_encode",
    "coder_encode_many",
    "coder_lanes",
    "coder_new",
    "coder_optimise",
    "coder_optimise_many",
    "coder_sparse_contexts",
    "crc32c",
    "image_analysis",
    "image_synthesis",
    "image_to_coefs",
    "image_to_latent",
    "lapped_coefs",
    "lapped_latent",
    "lapped_samples",
    "latent_to_image",
    "network_layer",
    "tensor_decode",
    "tensor_encode",
    "tensor_frames",
    "tensor_new",
    "tokens_decode",
    "tokens_encode",
    "tokens_new",
    "tokens_repeats",
]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
Latent = npt.NDArray[np.int8]


def image_analysis(levels: int, pixels: npt.NDArray[np.uint8], out: Floats) -> None:
    """See `reference.projection.image_planes`."""
    out[...] = projection.image_planes(levels, pixels)


def image_synthesis(levels: int, planes: Floats, out: npt.NDArray[np.uint8]) -> None:
    """See `reference.projection.planes_image`."""
    out[...] = projection.planes_image(levels, planes, out.shape[:2])


def image_to_coefs(levels: int, *arrays: Any) -> None:
    """See `reference.projection`; the last argument is where the result goes."""
    *given, out = arrays
    out[...] = projection.image_to_coefs(levels, *given)


def image_to_latent(levels: int, *arrays: Any) -> int:
    """See `reference.projection`; the last argument is where the result goes. Returns how many values were limited."""
    *given, out = arrays
    out[...], outside = projection.image_to_latent(levels, *given)
    return outside


def latent_to_image(levels: int, *arrays: Any) -> None:
    """See `reference.projection`; the last argument, uint8 (H, W, C), is where the result goes."""
    *given, out = arrays
    out[...] = projection.latent_to_image(levels, *given, out.shape[:2])  # type: ignore[call-arg]


def lapped_coefs(
    places: Floats, mix: Floats, panels: Floats, lanes: Integers, sources: Integers, inverse: Floats, out: Floats
) -> None:
    """See `reference.lapped.coefficients`; panels, lanes, sources: the basis as the kernel takes it."""
    out[...] = lapped.coefficients(places, mix, *_unpacked(panels, lanes, sources, len(out)), inverse)


def lapped_latent(
    places: Floats, mix: Floats, panels: Floats, lanes: Integers, sources: Integers, inverse: Floats, rounding: Floats,
    out: Latent,
) -> int:  # fmt: skip
    """See `reference.lapped.quantised`. Returns how many values were limited."""
    basis = _unpacked(panels, lanes, sources, len(out))
    out[...], outside = lapped.quantised(lapped.coefficients(places, mix, *basis, inverse), rounding)
    return outside


def lapped_samples(span: tuple[int, int, int], latent: Latent, *arrays: Any) -> None:
    """See `reference.lapped.samples`; the last argument is where the result goes. span: (first, t, start)."""
    *tables, out = arrays
    first, t, start = span
    out[...] = lapped.samples(latent, (first, t, start, start + len(out)), *tables)


def _unpacked(panels: Floats, lanes: Integers, sources: Integers, channels: int) -> tuple[Latent, Floats]:
    """source int8 (c,) and basis float32 (c, 2 * hop) from panels float32 (p, 2 * hop, lanes)."""
    source, basis = np.zeros(channels, np.int8), np.zeros((channels, panels.shape[1]), np.float32)
    for panel, channel_of, from_mix in zip(panels, lanes, sources, strict=True):
        used = channel_of >= 0
        source[channel_of[used]] = from_mix
        basis[channel_of[used]] = panel.T[used]
    return source, basis
