"""How near a decoded image is to its original: PSNR, SSIM and MS-SSIM, in NumPy.

SSIM is that of Wang et al. 2004, with a Gaussian window of 11 positions and a deviation of 1.5, over the positions
where the window fits; MS-SSIM is that of Wang et al. 2003, with their five scales and weights. Both are means over the
colours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["psnr", "similarity"]

Uint8s = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WINDOW, DEVIATION = 11, 1.5
C1, C2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Moments are of values around zero: float32 has seven digits.
MIDDLE = np.float32(128)

_place = np.arange(WINDOW) - WINDOW // 2
_taps = np.exp(-0.5 * (_place / DEVIATION) ** 2)
TAPS = (_taps / _taps.sum()).astype(np.float32)


def psnr(first: Uint8s, second: Uint8s) -> float:
    """PSNR in dB of two uint8 arrays (N, H, W, C), over all values together; infinite where they are equal."""
    total = sum(
        int(np.square(a.astype(np.int32) - b.astype(np.int32)).sum()) for a, b in zip(first, second, strict=True)
    )
    return float(10 * np.log10(255.0**2 * first.size / total)) if total else float("inf")


def similarity(first: Uint8s, second: Uint8s) -> tuple[float, float]:
    """SSIM and MS-SSIM of two images uint8 (H, W, C), at most 1.

    SSIM is NaN if a side has less than 11 pixels, and MS-SSIM if one has less than 176.
    """
    a, b = (np.moveaxis(image.astype(np.float32) - MIDDLE, -1, 0) for image in (first, second))
    ssim, product = float("nan"), np.ones(len(a))
    for scale, weight in enumerate(WEIGHTS):
        if min(a.shape[1:]) < WINDOW:
            return ssim, float("nan")
        whole, contrast = _scale(a, b)
        if scale == 0:
            ssim = float(whole.mean())
        last = scale == len(WEIGHTS) - 1
        product *= np.maximum(whole if last else contrast, 0) ** weight
        a, b = _halved(a), _halved(b)
    return ssim, float(product.mean())


def _scale(a: Floats, b: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The means of SSIM and of its factor of contrast and structure, of each colour."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    product = mean_a * mean_b
    square = mean_a * mean_a + mean_b * mean_b
    covariance = _blurred(a * b) - product
    variances = _blurred(a * a + b * b) - square
    contrast = (2 * covariance + C2) / (variances + C2)
    # the means are of values less MIDDLE
    both = MIDDLE * (mean_a + mean_b)
    light = (2 * (product + both + MIDDLE**2) + C1) / (square + 2 * (both + MIDDLE**2) + C1)
    return (light * contrast).mean((1, 2), dtype=np.float64), contrast.mean((1, 2), dtype=np.float64)


def _blurred(planes: Floats) -> Floats:
    """The Gaussian mean where the window fits: (C, H, W) to (C, H - 10, W - 10)."""
    for axis in (1, 2):
        length = planes.shape[axis] - WINDOW + 1
        parts = [planes[:, i : i + length] if axis == 1 else planes[:, :, i : i + length] for i in range(WINDOW)]
        total = TAPS[WINDOW // 2] * parts[WINDOW // 2]
        for i in range(WINDOW // 2):
            total += TAPS[i] * (parts[i] + parts[-1 - i])
        planes = total
    return planes


def _halved(planes: Floats) -> Floats:
    """The means of squares of 2 x 2; an odd row or column is left out."""
    c, height, width = planes.shape
    even = planes[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(c, height // 2, 2, width // 2, 2).mean((2, 4), dtype=np.float32)
