"""JPEG at the PSNR that a codec of ours reached."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image

from latentstore.evaluate.images.metrics import psnr

__all__ = ["JpegMatch", "match_jpeg"]


@dataclass(frozen=True)
class JpegMatch:
    """The lowest JPEG quality that reaches a PSNR.

    bytes, psnr: of that quality. bytes_at_psnr: bytes at exactly the wanted PSNR, interpolated between that quality and
    the one below. encode_seconds, decode_seconds: of the timed images, in one thread.
    """

    quality: int
    bytes: int
    psnr: float
    bytes_at_psnr: float
    encode_seconds: float
    decode_seconds: float


def _encode(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")
    return buffer.getvalue()


def _decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def _measure(images: np.ndarray, quality: int) -> tuple[int, float]:
    coded = [_encode(image, quality) for image in images]
    return sum(map(len, coded)), psnr(images, np.stack([_decode(data) for data in coded]))


def match_jpeg(images: np.ndarray, target_psnr: float, timed: np.ndarray) -> JpegMatch:
    """JPEG (4:2:0, optimised) of `images`, uint8 (N, H, W, 3), at `target_psnr` dB. timed: images that are timed."""
    low, high = 1, 100
    known: dict[int, tuple[int, float]] = {}
    while low < high:  # PSNR rises with quality
        middle = (low + high) // 2
        known[middle] = _measure(images, middle)
        if known[middle][1] >= target_psnr:
            high = middle
        else:
            low = middle + 1
    size, reached = known.get(low) or _measure(images, low)
    at_psnr = float(size)
    if low > 1:
        below_size, below = known.get(low - 1) or _measure(images, low - 1)
        if below < target_psnr < reached:
            at_psnr = below_size + (size - below_size) * (target_psnr - below) / (reached - below)
    start = time.perf_counter()
    coded = [_encode(image, low) for image in timed]
    encoded = time.perf_counter()
    for data in coded:
        _decode(data)
    return JpegMatch(low, size, reached, at_psnr, encoded - start, time.perf_counter() - encoded)
