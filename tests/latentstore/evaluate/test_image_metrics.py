"""Metrics of images and BD-rates, beside other implementations and published figures."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_images import shapes
from scipy.interpolate import PchipInterpolator

from latentstore.evaluate.bd_rate import Point, bd_rate
from latentstore.evaluate.images.metrics import psnr, similarity


def noisy(image: np.ndarray, amount: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, amount, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("amount", [1.0, 12.0, 60.0])
@pytest.mark.parametrize("colours", [1, 3])
def test_ssim_is_that_of_skimage(amount: float, colours: int) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    image = shapes(90, 131)[..., :colours]
    other = noisy(image, amount)
    expected = metrics.structural_similarity(
        image, other, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2
    )
    assert similarity(image, other)[0] == pytest.approx(expected, abs=2e-5)
    assert psnr(image[None], other[None]) == pytest.approx(metrics.peak_signal_noise_ratio(image, other), abs=1e-6)


@pytest.mark.parametrize("amount", [3.0, 40.0])
def test_ms_ssim_is_that_of_torchmetrics(amount: float) -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.image")
    image = shapes(200, 181)
    other = noisy(image, amount)
    planes = [torch.tensor(one).permute(2, 0, 1)[:, None].double() for one in (image, other)]
    expected = functional.multiscale_structural_similarity_index_measure(
        planes[1], planes[0], data_range=255.0, kernel_size=11, sigma=1.5, normalize=None
    )
    # its windows reach past the sides, where ours stop
    assert similarity(image, other)[1] == pytest.approx(float(expected), abs=2e-3)


def test_ms_ssim_is_the_product_of_its_scales() -> None:
    """Written out in float64, with no window but the definition's."""
    image = shapes(176, 192)[..., :1]
    other = noisy(image, 20.0)
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window = np.outer(taps, taps) / taps.sum() ** 2
    a, b, product = image[..., 0].astype(float), other[..., 0].astype(float), 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        views = [np.lib.stride_tricks.sliding_window_view(x, (11, 11)) for x in (a, b)]
        means = [(view * window).sum((-1, -2)) for view in views]
        second = [
            (views[i] * views[j] * window).sum((-1, -2)) - means[i] * means[j] for i, j in ((0, 0), (1, 1), (0, 1))
        ]
        factor = (2 * second[2] + 58.5225) / (second[0] + second[1] + 58.5225)
        if scale == 4:
            factor = factor * (2 * means[0] * means[1] + 6.5025) / (means[0] ** 2 + means[1] ** 2 + 6.5025)
        product *= factor.mean() ** weight
        a, b = (x[: len(x) // 2 * 2].reshape(len(x) // 2, 2, -1, 2).mean((1, 3)) for x in (a, b))
    assert similarity(image, other)[1] == pytest.approx(product, abs=1e-5)


def test_small_images_and_copies() -> None:
    image = shapes(200, 200)
    assert similarity(image, image) == (pytest.approx(1), pytest.approx(1))
    assert psnr(image[None], image[None]) == float("inf")
    assert similarity(image[:176], image[:176])[1] == pytest.approx(1)
    ssim, ms_ssim = similarity(image[:175], image[:175])
    assert ssim == pytest.approx(1)
    assert np.isnan(ms_ssim)
    assert np.isnan(similarity(image[:10], image[:10])).all()
    black, white = np.zeros((48, 48, 3), np.uint8), np.full((48, 48, 3), 255, np.uint8)
    assert similarity(black, white)[0] == pytest.approx(0, abs=1e-3)


# JPEG 2000 and LiVeAction on Kodak, bits a pixel and PSNR, as LiVeAction's authors published them
JPEG2000: list[Point] = [
    (0.0597, 23.4048), (0.0957, 24.3492), (0.1495, 25.3227), (0.1916, 25.8947), (0.2393, 26.4546), (0.3423, 27.4229),
    (0.5985, 29.1910), (1.1984, 32.0019), (2.9980, 37.1560),
]  # fmt: skip
LIVEACTION: list[Point] = [
    (0.0428, 24.2340),
    (0.1496, 27.0384),
    (0.3992, 29.8397),
    (0.6606, 31.1669),
    (3.9126, 40.2877),
]


def test_bd_rate_is_that_of_scipys_interpolation() -> None:
    for curve, reference in ((LIVEACTION, JPEG2000), (JPEG2000, LIVEACTION), (LIVEACTION[:2], JPEG2000[:2])):
        each = [
            PchipInterpolator([q for _, q in points], np.log([r for r, _ in points])) for points in (curve, reference)
        ]
        low, high = max(curve[0][1], reference[0][1]), min(curve[-1][1], reference[-1][1])
        ours, theirs = (one.integrate(low, high) for one in each)
        assert bd_rate(curve, reference) == pytest.approx(100 * np.expm1((ours - theirs) / (high - low)), abs=1e-9)


def test_bd_rate_of_half_the_bits_is_minus_fifty() -> None:
    half = [(rate / 2, quality) for rate, quality in JPEG2000]
    assert bd_rate(half, JPEG2000) == pytest.approx(-50)
    assert bd_rate(JPEG2000, half) == pytest.approx(100)
    assert bd_rate(half[::-1], JPEG2000) == pytest.approx(-50)
    assert bd_rate([*half, (9.0, half[0][1])], JPEG2000) == pytest.approx(-50)  # the same quality for more bits


def test_bd_rate_of_nothing_in_common_is_none() -> None:
    above = [(1.0, 50.0), (2.0, 60.0)]
    assert bd_rate(above, JPEG2000) is None
    assert bd_rate(above[:1], JPEG2000) is None
    assert bd_rate([], JPEG2000) is None
    assert bd_rate([(1.0, float("nan")), (2.0, float("inf")), (3.0, 25.0)], JPEG2000) is None
