"""Images for the tests of codecs: of every kind that has ever broken one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

KINDS = ("photo", "noise", "gradient", "checker", "stripes", "black", "white", "constant", "dot")


def drawn(kind: str, height: int, width: int, colours: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """uint8 (height, width, colours) of one of KINDS."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    period = int(rng.choice([1, 2, 3, 4, 8]))
    if kind == "photo":
        return photo(height, width, colours, seed)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, colours), np.uint8)
    if kind == "gradient":
        slopes = rng.normal(0, 3, (2, colours))
        return (128 + np.multiply.outer(y, slopes[0]) + np.multiply.outer(x, slopes[1])).clip(0, 255).astype(np.uint8)
    if kind == "checker":
        plane = (y // period + x // period) % 2 * 255
    elif kind == "stripes":
        plane = (x if seed % 2 else y) // period % 2 * 255
    elif kind == "dot":
        plane = np.zeros((height, width))
        plane[rng.integers(height), rng.integers(width)] = 255
    else:
        plane = np.full((height, width), {"black": 0, "white": 255}.get(kind, int(rng.integers(256))))
    return np.repeat(plane[..., None], colours, 2).astype(np.uint8)


def photo(height: int, width: int, colours: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Like a photograph to a codec: a spectrum that falls with frequency, an edge, colours alike."""
    rng = np.random.default_rng(seed)
    v, u = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    fall = 1 / (0.02 + np.hypot(u, v))
    planes = [np.fft.ifft2(np.fft.fft2(rng.normal(size=(height, width))) * fall).real for _ in range(colours)]
    grey = planes[0] / (planes[0].std() + 1e-9)
    edge = 40 * np.sign(np.add.outer(np.arange(height), -np.arange(width)) - (height - width) / 2)
    stack = [128 + 30 * grey + edge + 6 * p / (p.std() + 1e-9) for p in planes]
    return np.stack(stack, -1).clip(0, 255).astype(np.uint8)


def shapes(height: int, width: int, seed: int = 11) -> npt.NDArray[np.uint8]:
    """Edges as photographs have them: flat discs and rectangles over each other, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    large = Image.new("RGB", (4 * width, 4 * height), (90, 120, 150))
    draw = ImageDraw.Draw(large)
    for i in range(24):
        x, y, r = int(rng.integers(4 * width)), int(rng.integers(4 * height)), int(rng.integers(40, 260))
        colour = (int(rng.integers(256)), int(rng.integers(256)), int(rng.integers(256)))
        (draw.ellipse if i % 2 else draw.rectangle)((x - r, y - r // 2, x + r, y + r // 2), colour)
    return np.asarray(large.resize((width, height), Image.Resampling.LANCZOS))


def psnr(decoded: npt.NDArray[np.uint8], image: npt.NDArray[np.uint8]) -> float:
    """In dB; 68 or so where nothing differs."""
    error = np.mean((decoded.astype(np.float64) - image) ** 2)
    return float(10 * np.log10(255**2 / max(float(error), 0.01)))
