"""JPEG at the PSNR that a codec reached: what the demo puts beside it."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import numpy as np

__all__ = ["JpegMatch", "match_jpeg", "psnr"]


@dataclass(frozen=True)
class JpegMatch:
    """The lowest JPEG quality that is not below a PSNR.

    bytes, psnr: of that quality. bytes_at_psnr: between it and the quality below, interpolated to the very
    PSNR. encode_seconds, decode_seconds: one thread, of the timed pictures.
    """

    quality: int
    bytes: int
    psnr: float
    bytes_at_psnr: float
    encode_seconds: float
    decode_seconds: float


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """PSNR in dB of two uint8 arrays (N, H, W, C), over all samples together."""
    total = sum(
        int(np.square(a.astype(np.int32) - b.astype(np.int32)).sum())
        for a, b in zip(first, second, strict=True)
    )
    return float(10 * np.log10(255.0**2 * first.size / total)) if total else float("inf")


def _encode(picture: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")
    return buffer.getvalue()


def _decode(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))


def _measure(pictures: np.ndarray, quality: int) -> tuple[int, float]:
    coded = [_encode(picture, quality) for picture in pictures]
    return sum(map(len, coded)), psnr(pictures, np.stack([_decode(data) for data in coded]))


def match_jpeg(pictures: np.ndarray, target_psnr: float, timed: np.ndarray) -> JpegMatch:
    """JPEG (4:2:0, optimised) of `pictures`, uint8 (N, H, W, 3), at `target_psnr` dB. `timed` are timed."""
    low, high = 1, 100
    known: dict[int, tuple[int, float]] = {}
    while low < high:  # PSNR rises with quality
        middle = (low + high) // 2
        known[middle] = _measure(pictures, middle)
        if known[middle][1] >= target_psnr:
            high = middle
        else:
            low = middle + 1
    size, reached = known.get(low) or _measure(pictures, low)
    at_psnr = float(size)
    if low > 1:
        below_size, below = known.get(low - 1) or _measure(pictures, low - 1)
        if below < target_psnr < reached:
            at_psnr = below_size + (size - below_size) * (target_psnr - below) / (reached - below)
    start = time.perf_counter()
    coded = [_encode(picture, low) for picture in timed]
    encoded = time.perf_counter()
    for data in coded:
        _decode(data)
    return JpegMatch(low, size, reached, at_psnr, encoded - start, time.perf_counter() - encoded)
