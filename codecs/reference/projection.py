"""Images to channels and back in NumPy: the kernel's float32 operations in the same order, so the same bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentstore.codecs.reference.wavelet import bands_of, planes_of

__all__ = ["image_planes", "image_to_coefs", "image_to_latent", "latent_to_image"]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


def image_planes(levels: int, pixels: npt.NDArray[np.uint8]) -> Floats:
    """All bands: uint8 (H, W, C) to float32 (4**levels * C, h, w), plane = band * C + colour, of pixel - 128."""
    planar = np.moveaxis(pixels, -1, 0).astype(np.float32) - np.float32(128)
    bands = bands_of(planar, levels)
    return np.ascontiguousarray(bands.reshape(-1, *bands.shape[-2:]))


def planes_image(levels: int, planes: Floats, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The inverse, to the nearest pixel value: float32 (4**levels * C, h, w) to uint8 (H, W, C)."""
    planar = planes_of(planes.reshape(4**levels, -1, *planes.shape[-2:]), size) + np.float32(128.5)
    return np.ascontiguousarray(np.moveaxis(np.clip(planar, 0, 255).astype(np.uint8), 0, -1))


def _channels(levels: int, pixels: npt.NDArray[np.uint8], basis: Integers, runs: Integers, weights: Floats) -> Floats:
    planes = image_planes(levels, pixels)
    entries = []
    for a, b, sign in basis.tolist():
        if b < 0:
            entries.append(planes[a])
        else:
            entries.append(planes[a] + planes[b] if sign > 0 else planes[a] - planes[b])
    channels = np.zeros((len(runs), *planes.shape[1:]), np.float32)
    used = 0
    for k, (start, count) in enumerate(runs.tolist()):
        for j in range(count):
            channels[k] += weights[used + j] * entries[start + j]
        used += count
    return channels


def image_to_coefs(
    levels: int, pixels: npt.NDArray[np.uint8], basis: Integers, runs: Integers, weights: Floats, inv_step: Floats
) -> Floats:
    """Channels in units of their steps, float32 (K, h, w)."""
    return _channels(levels, pixels, basis, runs, weights) * inv_step[:, None, None]


def image_to_latent(
    levels: int,
    pixels: npt.NDArray[np.uint8],
    basis: Integers,
    runs: Integers,
    weights: Floats,
    inv_step: Floats,
    rounding: Floats,
) -> tuple[npt.NDArray[np.int8], int]:
    """Quantised channels, int8 (K, h, w), and how many values were limited to +-127."""
    channels = _channels(levels, pixels, basis, runs, weights)
    size = np.abs(channels) * inv_step[:, None, None] + rounding[:, None, None]
    fits = size < 128
    symbols = np.where(fits, size, 127).astype(np.int8)
    return np.where(np.signbit(channels), -symbols, symbols), int(np.count_nonzero(~fits))


def latent_to_image(
    levels: int,
    latent: npt.NDArray[np.int8],
    starts: Integers,
    channel_list: Integers,
    weights: Floats,
    assembly: Integers,
    step: Floats,
    delta1: Floats,
    delta2: Floats,
    added: Floats,
    size: tuple[int, int],
) -> npt.NDArray[np.uint8]:
    """uint8 (H, W, C) from int8 (K' <= K, h, w). added: float32 (planes, h, w), or of no planes."""
    values = _dequantised(latent, step, delta1, delta2)
    entries = np.zeros((len(starts) - 1, *latent.shape[1:]), np.float32)
    for j, entry in enumerate(entries):
        for i in range(starts[j], starts[j + 1]):
            if channel_list[i] < len(latent):
                entry += weights[i] * values[channel_list[i]]
    planes = np.empty((len(assembly), *latent.shape[1:]), np.float32)
    for plane, (p, q, sign) in zip(planes, assembly.tolist(), strict=True):
        if q < 0:
            plane[...] = entries[p]
        else:
            plane[...] = entries[p] + entries[q] if sign > 0 else entries[p] - entries[q]
    if len(added):
        planes += added
    return planes_image(levels, planes, size)


def _dequantised(latent: npt.NDArray[np.int8], step: Floats, delta1: Floats, delta2: Floats) -> Floats:
    given = len(latent)
    size = np.abs(latent.astype(np.int32))
    delta = np.where(size == 1, delta1[:given, None, None], delta2[:given, None, None])
    values = (size.astype(np.float32) - delta) * step[:given, None, None]
    return np.where(size == 0, np.float32(0), np.where(latent < 0, -values, values))
