"""Other codecs of images: JPEG, WebP, JPEG 2000, JPEG XL and AVIF, each with the settings that serve it best.

Each uses one thread. Pillow has the first three, and AVIF where it was built with it; JPEG XL comes with imagecodecs.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from latentstore.evaluate.equal_bytes import nearest_bytes

__all__ = ["ImagePeer", "image_peers"]

Uint8s = npt.NDArray[np.uint8]

LEVELS = 1, 100


@dataclass(frozen=True)
class ImagePeer:
    """Another codec.

    said: its settings, in words. longest: its longest side, in pixels. encode: from an image uint8 (H, W, 3), or
    (H, W, 1) for gray, and a level from 1 to 100, of which higher ones take more bytes. decode: to an image of that
    shape; it takes the number of colours too, because WebP and AVIF have no gray images. setting: what a level is
    called. curve: the levels of its curve of rate and distortion.
    """

    said: str
    longest: int
    encode: Callable[[Uint8s, int], bytes]
    decode: Callable[[bytes, int], Uint8s]
    setting: Callable[[int], str]
    curve: tuple[int, ...]

    def takes(self, image: Uint8s) -> bool:
        """Whether the image is not too large for it."""
        return max(image.shape) <= self.longest

    def nearest(self, image: Uint8s, wanted_bytes: int) -> tuple[int, Uint8s] | None:
        """Bytes of the file nearest to `wanted_bytes`, and what it decodes to; None where the image is too large."""
        if not self.takes(image):
            return None
        _, data = nearest_bytes(lambda level: self.encode(image, level), *LEVELS, wanted_bytes)
        return len(data), self.decode(data, image.shape[2])


def image_peers() -> tuple[dict[str, ImagePeer], dict[str, str]]:
    """The codecs that are installed, by name, and why others are missing."""
    peers = {
        "JPEG": _pillow(
            "JPEG", 65535, "4:2:0, Huffman tables optimised", (10, 20, 35, 50, 65, 75, 85, 92),
            optimize=True, subsampling="4:2:0",
        ),
        "WebP": _pillow("WEBP", 16383, "method 6", (5, 15, 30, 50, 70, 80, 90), method=6),
    }  # fmt: skip
    missing: dict[str, str] = {}
    if features.check("jpg_2000"):
        peers["JPEG 2000"] = ImagePeer(
            "OpenJPEG, irreversible, colours transformed", 1 << 20, _jpeg2000, _open,
            lambda level: f"{_ratio(level):.3g}:1", (5, 14, 23, 32, 42, 52, 62, 70),
        )  # fmt: skip
    else:
        missing["JPEG 2000"] = "this Pillow was built without OpenJPEG"
    if imagecodecs := _imagecodecs():
        peers["JPEG XL"] = ImagePeer(
            "libjxl, effort 7", 1 << 20, _jpegxl(imagecodecs),
            lambda data, colours: _shaped(imagecodecs.jpegxl_decode(data, numthreads=1), colours),
            lambda level: f"distance {_distance(level):.3g}", (5, 20, 30, 38, 46, 54, 64),
        )  # fmt: skip
    else:
        missing["JPEG XL"] = "imagecodecs is not installed, or has no JPEG XL: pip install imagecodecs"
    if features.check("avif"):
        peers["AVIF"] = _pillow(
            "AVIF", 65535, "speed 6, 4:2:0", (10, 20, 30, 40, 50, 60, 70, 80),
            speed=6, subsampling="4:2:0", max_threads=1,
        )  # fmt: skip
    else:
        missing["AVIF"] = "this Pillow was built without AVIF"
    return peers, missing


def _pillow(format: str, longest: int, said: str, curve: tuple[int, ...], **options: object) -> ImagePeer:
    def encode(image: Uint8s, level: int) -> bytes:
        return _saved(image, format, {"quality": level, **options})

    return ImagePeer(said, longest, encode, _open, lambda level: f"quality {level}", curve)


def _saved(image: Uint8s, format: str, options: Mapping[str, object]) -> bytes:
    out = io.BytesIO()
    # subsampling says nothing of gray
    kept = {k: v for k, v in options.items() if image.shape[2] > 1 or k not in ("subsampling", "mct")}
    Image.fromarray(_flat(image)).save(out, format, **kept)
    return out.getvalue()


def _open(data: bytes, colours: int) -> Uint8s:
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("L" if colours == 1 else "RGB"))
    return _shaped(pixels, colours)


def _shaped(pixels: Uint8s, colours: int) -> Uint8s:
    return pixels.reshape(*pixels.shape[:2], colours)


def _flat(image: Uint8s) -> Uint8s:
    return image[..., 0] if image.shape[2] == 1 else image


def _ratio(level: int) -> float:
    """Compression by 500 at level 1, by 2 at level 100, in equal steps of its logarithm."""
    return float(500 ** (1 - (level - 1) / 99) * 2 ** ((level - 1) / 99))


def _jpeg2000(image: Uint8s, level: int) -> bytes:
    options = {"quality_mode": "rates", "quality_layers": [_ratio(level)], "irreversible": True, "mct": 1}
    return _saved(image, "JPEG2000", options)


def _distance(level: int) -> float:
    """JPEG XL's distance: 15 at level 1, 0.1 at level 100, in equal steps of its logarithm."""
    return float(15 ** (1 - (level - 1) / 99) * 0.1 ** ((level - 1) / 99))


def _jpegxl(imagecodecs: ModuleType) -> Callable[[Uint8s, int], bytes]:
    def encode(image: Uint8s, level: int) -> bytes:
        return bytes(
            imagecodecs.jpegxl_encode(_flat(image), distance=_distance(level), effort=7, lossless=False, numthreads=1)
        )

    return encode


def _imagecodecs() -> ModuleType | None:
    try:
        module = importlib.import_module("imagecodecs")
    except ImportError:
        return None
    return module if module.JPEGXL.available else None
