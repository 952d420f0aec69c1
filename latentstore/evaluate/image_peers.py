"""Other codecs at the PSNR that one of ours reached, or at the bytes that it took."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["IMAGE_PEERS", "ImagePeer", "JpegMatch", "match_jpeg", "nearest_bytes", "psnr"]

# of the bytes: near enough not to look for a nearer setting
CLOSE = 0.005


@dataclass(frozen=True)
class JpegMatch:
    """The lowest JPEG quality that is not below a PSNR.

    bytes, psnr: of that quality. bytes_at_psnr: between it and the quality below, interpolated to the very
    PSNR. encode_seconds, decode_seconds: one thread, of the timed images.
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
        int(np.square(a.astype(np.int32) - b.astype(np.int32)).sum()) for a, b in zip(first, second, strict=True)
    )
    return float(10 * np.log10(255.0**2 * first.size / total)) if total else float("inf")


def _encode(image: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")
    return buffer.getvalue()


def _decode(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))


def _measure(images: np.ndarray, quality: int) -> tuple[int, float]:
    coded = [_encode(image, quality) for image in images]
    return sum(map(len, coded)), psnr(images, np.stack([_decode(data) for data in coded]))


def match_jpeg(images: np.ndarray, target_psnr: float, timed: np.ndarray) -> JpegMatch:
    """JPEG (4:2:0, optimised) of `images`, uint8 (N, H, W, 3), at `target_psnr` dB. `timed` are timed."""
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


def nearest_bytes(encode: Callable[[int], bytes], low: int, high: int, wanted: int) -> tuple[int, bytes]:
    """The level from `low` to `high` at which `encode` comes nearest to `wanted` bytes, and what it makes there.

    Sizes rise with levels.
    """
    best = low, encode(low)
    if len(best[1]) >= wanted:
        return best
    while low < high and abs(len(best[1]) - wanted) > CLOSE * wanted:
        middle = (low + high + 1) // 2
        made = middle, encode(middle)
        best = min(best, made, key=lambda pair: abs(len(pair[1]) - wanted))
        if len(made[1]) <= wanted:
            low = middle
        else:
            high = middle - 1
    return best


@dataclass(frozen=True)
class ImagePeer:
    """A format of Pillow's. longest: the largest side, in pixels, that it can hold. options: for `Image.save`."""

    format: str
    longest: int
    options: dict[str, object]

    def nearest(self, image: np.ndarray, wanted_bytes: int) -> tuple[int, np.ndarray] | None:
        """The size of the file nearest to `wanted_bytes`, and what it decodes to; None where it is too large for this.

        image: uint8 (H, W, 3), or (H, W, 1) for gray.
        """
        from PIL import Image

        if max(image.shape) > self.longest:
            return None
        whole = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)

        def encode(quality: int) -> bytes:
            out = io.BytesIO()
            whole.save(out, self.format, quality=quality, **self.options)
            return out.getvalue()

        _, data = nearest_bytes(encode, 1, 100, wanted_bytes)
        decoded = np.asarray(Image.open(io.BytesIO(data)).convert(whole.mode))
        return len(data), decoded.reshape(image.shape)


IMAGE_PEERS = {
    "JPEG": ImagePeer("JPEG", 65535, {"optimize": True, "subsampling": "4:2:0"}),
    "WebP": ImagePeer("WEBP", 16383, {"method": 6}),
}
