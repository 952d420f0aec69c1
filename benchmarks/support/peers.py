"""The peers' calls, each with the settings that serve it best; one thread wherever the library lets one
choose."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import imagecodecs
import numpy as np
from PIL import Image

from benchmarks.support import common  # noqa: F401  (before numpy: it sets the thread limits)


class ImagePeer(NamedTuple):
    """A lossy image codec: quality -> encoder of uint8 (H, W, 3); a decoder; the qualities of its curve."""

    encode: Callable[[np.ndarray, float], bytes]
    decode: Callable[[bytes], np.ndarray]
    qualities: tuple[float, ...]


def _pillow(kind: str, **options: object) -> Callable[[np.ndarray, float], bytes]:
    def encode(image: np.ndarray, quality: float) -> bytes:
        out = io.BytesIO()
        Image.fromarray(image).save(out, kind, quality=int(quality), **options)
        return out.getvalue()

    return encode


def _open(blob: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(blob)).convert("RGB"))


def _jpeg2000(image: np.ndarray, rate: float) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG2000", quality_mode="rates", quality_layers=[rate], mct=1, irreversible=True)
    return out.getvalue()


def _jpegxl(image: np.ndarray, distance: float) -> bytes:
    return imagecodecs.jpegxl_encode(image, distance=distance, effort=7, lossless=False, numthreads=1)


def _jpegxl_decode(blob: bytes) -> np.ndarray:
    return imagecodecs.jpegxl_decode(blob, numthreads=1)


JPEG = ImagePeer(_pillow("JPEG", optimize=True, subsampling="4:2:0"), _open, (15, 25, 35, 50, 65, 75, 85, 92))
# libjpeg-turbo as it is usually called, without a second pass for Huffman tables: the speed figure.
JPEG_FAST = ImagePeer(_pillow("JPEG", subsampling="4:2:0"), _open, JPEG.qualities)
WEBP = ImagePeer(_pillow("WEBP", method=6), _open, (5, 15, 30, 50, 70, 80, 90))
WEBP_DEFAULT = ImagePeer(_pillow("WEBP"), _open, WEBP.qualities)
JPEG2000 = ImagePeer(_jpeg2000, _open, (80, 48, 32, 24, 16, 12))
AVIF = ImagePeer(_pillow("AVIF", speed=6, subsampling="4:2:0", max_threads=1), _open, (20, 30, 40, 50, 60, 70, 80))
JPEGXL = ImagePeer(_jpegxl, _jpegxl_decode, (6, 4, 3, 2, 1.4, 1))
CURVES = {
    "JPEG 4:2:0 optimised": JPEG,
    "WebP method 6": WEBP,
    "JPEG 2000 mct=1": JPEG2000,
    "AVIF speed 6 4:2:0": AVIF,
    "JPEG XL effort 7": JPEGXL,
}


class Lossless(NamedTuple):
    """A lossless coder of a latent, int8 (c, h, w): encode to a list of blobs, decode them again."""

    encode: Callable[[np.ndarray], list[bytes]]
    decode: Callable[[list[bytes]], object]


def _unsigned(latent: np.ndarray) -> np.ndarray:
    return latent.view(np.uint8) ^ np.uint8(128)


def _stacked(latent: np.ndarray) -> np.ndarray:
    """uint8 (c * h, w): the planes one below the other."""
    return _unsigned(latent).reshape(-1, latent.shape[-1])


def _colours(latent: np.ndarray) -> np.ndarray:
    """uint8 (c / 3 * h, w, 3): the planes as colours, one triple below the other."""
    c, h, w = latent.shape
    return np.ascontiguousarray(_unsigned(latent).reshape(3, c // 3, h, w).transpose(1, 2, 3, 0)).reshape(-1, w, 3)


def _mosaic(latent: np.ndarray) -> np.ndarray:
    """uint8 (n * h, n * w, 3) with 3 * n * n planes: walloc's arrangement for WebP (`latent_to_pil`)."""
    c, h, w = latent.shape
    n = int((c // 3) ** 0.5)
    planes = _unsigned(latent).reshape(3, n, n, h, w)
    return np.ascontiguousarray(planes.transpose(1, 3, 2, 4, 0)).reshape(n * h, n * w, 3)


def _jpegls(arrange: Callable[[np.ndarray], list[np.ndarray]]) -> Lossless:
    return Lossless(
        lambda z: [imagecodecs.jpegls_encode(image) for image in arrange(z)],
        lambda blobs: [imagecodecs.jpegls_decode(blob) for blob in blobs],
    )


def _webp(arrange: Callable[[np.ndarray], np.ndarray]) -> Lossless:
    def encode(z: np.ndarray) -> list[bytes]:
        out = io.BytesIO()
        Image.fromarray(arrange(z)).save(out, "WEBP", lossless=True, quality=100, method=6, exact=True)
        return [out.getvalue()]

    return Lossless(encode, lambda blobs: [np.asarray(Image.open(io.BytesIO(blob))) for blob in blobs])


def _jxl(arrange: Callable[[np.ndarray], np.ndarray], effort: int) -> Lossless:
    return Lossless(
        lambda z: [imagecodecs.jpegxl_encode(arrange(z), lossless=True, effort=effort, numthreads=1)],
        lambda blobs: [imagecodecs.jpegxl_decode(blob, numthreads=1) for blob in blobs],
    )


def _zstd(level: int) -> Lossless:
    return Lossless(
        lambda z: [imagecodecs.zstd_encode(z.tobytes(), level=level)],
        lambda blobs: [imagecodecs.zstd_decode(blob) for blob in blobs],
    )


def _pco() -> Lossless:
    from pcodec import ChunkConfig, standalone

    config = ChunkConfig(compression_level=12, enable_8_bit=True)
    return Lossless(
        lambda z: [standalone.simple_compress(np.ascontiguousarray(z).reshape(-1), config)],
        lambda blobs: [standalone.simple_decompress(blob) for blob in blobs],
    )


JPEGLS = {
    "JPEG-LS (CharLS), all planes stacked": _jpegls(lambda z: [_stacked(z)]),
    "JPEG-LS, a stack per 12 planes": _jpegls(lambda z: [_stacked(z[i : i + 12]) for i in range(0, len(z), 12)]),
    "JPEG-LS, plane by plane": _jpegls(lambda z: list(_unsigned(z))),
}


def lossless() -> dict[str, Lossless]:
    """Every lossless peer, each arrangement of its own."""
    return {
        **JPEGLS,
        "lossless WebP, planes stacked": _webp(_stacked),
        "lossless WebP, planes as colours": _webp(_colours),
        "lossless WebP, walloc's mosaic": _webp(_mosaic),
        "JPEG XL effort 7, planes stacked": _jxl(_stacked, 7),
        "zstd 19": _zstd(19),
        "zstd 3": _zstd(3),
        "pcodec level 12": _pco(),
    }


def constriction_static(latent: np.ndarray) -> tuple[int, Callable[[], np.ndarray]]:
    """constriction's ANS with one static table for all of `latent`: (bytes, decode). The table's bytes not
    counted."""
    import constriction

    stream = constriction.stream
    low = int(latent.min())
    symbols = latent.reshape(-1).astype(np.int32) - low
    counts = np.bincount(symbols).astype(np.float32)
    model = stream.model.Categorical(counts / counts.sum(), perfect=False)
    coder = stream.stack.AnsCoder()
    coder.encode_reverse(symbols, model)
    words = coder.get_compressed()
    return words.nbytes, lambda: stream.stack.AnsCoder(words).decode(model, symbols.size)


def walloc_encoder(channels: int) -> Callable[[np.ndarray], object]:
    """The encoder of PyPI walloc: uint8 (H, W, 3) -> rounded latent, wavelet packets and the 1x1
    convolution of its lightweight encoder; no entropy coding. Weights are random (its checkpoints are no
    part of the package), which changes no timing. `channels`: 12 is its published RGB_16x, 48 is as many as
    ours."""
    import torch

    torch.set_num_threads(1)
    walloc = _walloc()
    torch.manual_seed(0)
    codec = walloc.Codec2D(
        channels=3, J=3, Ne=32, Nd=32, latent_dim=channels, latent_bits=8, lightweight_encode=True
    ).eval()

    def encode(image: np.ndarray) -> object:
        with torch.inference_mode():
            x = torch.from_numpy(image).permute(2, 0, 1)[None].to(torch.float32) / 255 - 0.5
            return codec.encoder(codec.wavelet_analysis(x, J=3))

    return encode


def walloc_audio_encoder(channels: int) -> Callable[[np.ndarray], object]:
    """The 1-D encoder of PyPI walloc, stereo, J = 8: float32 (n, 2) -> rounded latent; as `walloc_encoder`."""
    import torch

    torch.set_num_threads(1)
    walloc = _walloc()
    torch.manual_seed(0)
    codec = walloc.Codec1D(
        channels=2, J=8, Ne=channels, Nd=channels, latent_dim=channels, latent_bits=8, lightweight_encode=True,
        post_filter=False,
    ).eval()  # fmt: skip

    def encode(signal: np.ndarray) -> object:
        with torch.inference_mode():
            whole = len(signal) // 256 * 256
            x = torch.from_numpy(signal[:whole].T.copy())[None]
            return codec.encoder(codec.wavelet_analysis(x, J=8))

    return encode


def _walloc() -> ModuleType:
    import diffusers.models.autoencoders  # noqa: F401  (looks for torchvision itself: before the stand-in)

    try:
        import torchvision  # noqa: F401
    except ImportError:
        # walloc imports two converters between Pillow and tensors from torchvision; its encoder calls
        # neither.
        transforms = ModuleType("torchvision.transforms")
        transforms.ToPILImage = transforms.PILToTensor = object  # type: ignore[attr-defined]
        sys.modules["torchvision"] = ModuleType("torchvision")
        sys.modules["torchvision.transforms"] = transforms
    from walloc import walloc

    return walloc
