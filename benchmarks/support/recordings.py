"""What the benchmarks of audio share: the recordings, their figures, and how peers' images hold latents."""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import io
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import soundfile
from PIL import Image

MUSIC, SPEECH = "stereo-f256c108", "mono-f32c32"
# The speakers that the shipped artifact of speech was not fitted on.
UNSEEN = ("theo", "yweweler")


def music(part: str = "music-test") -> dict[str, np.ndarray]:
    """float32 (n, 2) by name, 44.1 kHz; `music-test` is in no fit."""
    files = sorted(data for data in common.data("audio", part).iterdir() if data.suffix == ".flac")
    return {file.stem: soundfile.read(file, dtype="float32")[0] for file in files}


def digits(speakers: tuple[str, ...] = ()) -> list[Path]:
    """Files of spoken digits, mono, 8 kHz; of some speakers only."""
    files = sorted(common.data("audio", "digits").glob("*.wav"))
    return [file for file in files if not speakers or file.stem.split("_")[1] in speakers]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB between two signals, against the square of full scale peak to peak, 2."""
    return float(10 * np.log10(4 / np.mean((a.astype(np.float64) - b) ** 2)))


def snr(signal: np.ndarray, rebuilt: np.ndarray) -> float:
    """dB."""
    power, error = np.square(signal, dtype=np.float64).sum(), np.square(rebuilt.astype(np.float64) - signal).sum()
    return float(10 * np.log10(power / error))


def pcm_bytes(signal: np.ndarray) -> int:
    """Of 16-bit samples."""
    return 2 * signal.size


def arranged(latent: np.ndarray) -> Iterator[np.ndarray]:
    """The latent, int8 (c, t), as images: upright and lying, gray and with thirds of it as colours."""
    planes = latent.view(np.uint8) ^ np.uint8(128)
    c, t = planes.shape
    for plane in (planes, planes.T):
        yield np.ascontiguousarray(plane)
    colours = planes[: c // 3 * 3].reshape(3, c // 3, t)
    yield np.ascontiguousarray(colours.transpose(1, 2, 0))
    yield np.ascontiguousarray(colours.transpose(2, 1, 0))


def jpegls_bytes(latent: np.ndarray) -> int:
    """In the better of its arrangements."""
    return min(len(imagecodecs.jpegls_encode(image)) for image in arranged(latent) if image.ndim == 2)


def webp_bytes(latent: np.ndarray) -> int:
    """Lossless, in the best of its arrangements."""

    def size(image: np.ndarray) -> int:
        out = io.BytesIO()
        Image.fromarray(image).save(out, "WEBP", lossless=True, quality=100, method=6, exact=True)
        return out.tell()

    return min(map(size, arranged(latent)))
