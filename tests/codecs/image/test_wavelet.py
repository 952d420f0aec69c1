"""The packet transforms: exact, equal to other libraries', turned by flips and transposition bit for bit."""

import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.wavelet import analysis_1d, analysis_2d, filter_bank, synthesis_1d, synthesis_2d

VARIANTS = [("sym6-10", None), ("bior4.4", "periodization"), ("bior4.4", "symmetric")]
sides = st.integers(1, 70)


def signal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize(("filters", "mode"), VARIANTS)
@settings(deadline=None, max_examples=40)
@given(height=sides, width=sides, levels=st.integers(0, 4))
def test_images_come_back(filters, mode, height, width, levels):
    x = signal(2, height, width)
    bands = analysis_2d(x, levels, filters, mode)
    assert bands.dtype == np.float32
    assert bands.shape == (2, 4**levels, -(-height // 2**levels), -(-width // 2**levels))
    back = synthesis_2d(bands, (height, width), filters, mode)
    assert back.shape == x.shape
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("filters", "mode"), VARIANTS)
@settings(deadline=None, max_examples=40)
@given(length=st.integers(1, 600), levels=st.integers(0, 8))
def test_signals_come_back(filters, mode, length, levels):
    x = signal(3, length)
    bands = analysis_1d(x, levels, filters, mode)
    assert bands.shape == (3, 2**levels, -(-length // 2**levels))
    np.testing.assert_allclose(synthesis_1d(bands, length, filters, mode), x, rtol=0, atol=1e-5)


def test_two_dimensions_at_once_equal_one_after_the_other():
    x = signal(24, 40)
    columns = np.swapaxes(analysis_1d(x.T, 1), 0, 1)  # (2, 40, 12): low and high of every column
    quads = [analysis_1d(np.ascontiguousarray(columns[k].T), 1) for k in range(2)]
    separable = np.stack([quads[0][:, 0], quads[0][:, 1], quads[1][:, 0], quads[1][:, 1]])
    np.testing.assert_allclose(analysis_2d(x, 1), separable, rtol=0, atol=1e-6)


@pytest.mark.parametrize("filters", ["sym6-10", "bior4.4"])
def test_filter_bank_reconstructs_in_pywavelets(filters):
    wavelet = pywt.Wavelet("ours", filter_bank=filter_bank(filters))
    x = signal(64).astype(np.float64)
    np.testing.assert_allclose(pywt.idwt(*pywt.dwt(x, wavelet), wavelet), x, atol=1e-7)
    if filters == "bior4.4":
        theirs = pywt.Wavelet("bior4.4")
        for taps, expected in zip(filter_bank(filters), theirs.filter_bank, strict=True):
            np.testing.assert_allclose(taps, expected, atol=1e-12)


@pytest.mark.parametrize("length", [2, 4, 10, 34])
def test_symmetric_pair_equals_pywavelets_borders_included(length):
    wavelet = pywt.Wavelet("sym6-10", filter_bank=filter_bank("sym6-10"))
    x = signal(length)
    low, high = pywt.dwt(x, wavelet, mode="symmetric")
    # PyWavelets keeps the coefficients of the extension too, (taps - 2) / 4 of them on either side.
    inner = slice(2, 2 + length // 2)
    np.testing.assert_allclose(analysis_1d(x, 1), [low[inner], high[inner]], atol=1e-6)


@pytest.mark.parametrize("shape", [(10, 12), (16, 34)])
def test_symmetric_pair_equals_pywavelets_in_two_dimensions(shape):
    wavelet = pywt.Wavelet("sym6-10", filter_bank=filter_bank("sym6-10"))
    x = signal(*shape)
    ll, (vertical_high, horizontal_high, hh) = pywt.dwt2(x, wavelet, mode="symmetric")
    inner = (slice(2, 2 + shape[0] // 2), slice(2, 2 + shape[1] // 2))
    expected = [ll[inner], horizontal_high[inner], vertical_high[inner], hh[inner]]
    np.testing.assert_allclose(analysis_2d(x, 1), expected, atol=1e-6)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_periodization_equals_pywavelets_packets(levels):
    x = signal(32, 64)
    packet = pywt.WaveletPacket2D(x, "bior4.4", mode="periodization", maxlevel=levels)
    # PyWavelets names a split by where it is detailed: h is vertical high, v is horizontal high.
    names = [""]
    for _ in range(levels):
        names = [name + step for name in names for step in "avhd"]
    expected = [packet[name].data for name in names]
    np.testing.assert_allclose(analysis_2d(x, levels, "bior4.4"), expected, atol=1e-5)
    one = pywt.WaveletPacket(x[0], "bior4.4", mode="periodization", maxlevel=levels)
    expected = [node.data for node in one.get_level(levels, order="natural")]
    np.testing.assert_allclose(analysis_1d(x[0], levels, "bior4.4"), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_periodization_equals_pytorch_wavelets():
    from torch_or_skip import torch

    pytorch_wavelets = pytest.importorskip("pytorch_wavelets")
    x = signal(1, 2, 32, 48)
    low, (details,) = pytorch_wavelets.DWTForward(J=1, wave="bior4.4", mode="periodization")(torch.from_numpy(x))
    vertical_high, horizontal_high, both = details.unbind(2)
    expected = torch.stack([low, horizontal_high, vertical_high, both], dim=2).numpy()
    np.testing.assert_allclose(analysis_2d(x, 1, "bior4.4"), expected, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 8), width=st.integers(1, 8), levels=st.integers(1, 3), seed=st.integers(0, 99))
def test_flips_and_transposition_map_bands_bit_for_bit(height, width, levels, seed):
    x = signal(height * 2**levels, width * 2**levels, seed=seed) - np.float32(0.5)
    bands = analysis_2d(x, levels)
    paths = [((i >> 1) & 0x55, i & 0x55) for i in range(4**levels)]  # the bits that are vertical, horizontal
    odd_vertical = np.array([v.bit_count() & 1 for v, _ in paths], bool)
    odd_horizontal = np.array([h.bit_count() & 1 for _, h in paths], bool)
    swapped = np.array([h * 2 + v for v, h in paths])

    sign = np.where(odd_horizontal, -1, 1)[:, None, None].astype(np.float32)
    np.testing.assert_array_equal(analysis_2d(x[:, ::-1], levels), sign * bands[:, :, ::-1])
    sign = np.where(odd_vertical, -1, 1)[:, None, None].astype(np.float32)
    np.testing.assert_array_equal(analysis_2d(x[::-1], levels), sign * bands[:, ::-1])
    np.testing.assert_array_equal(analysis_2d(x.T, levels), np.swapaxes(bands, 1, 2)[swapped])

    back = synthesis_2d(bands, x.shape)
    np.testing.assert_array_equal(synthesis_2d(np.swapaxes(bands, 1, 2)[swapped], x.shape[::-1]), back.T)
    np.testing.assert_array_equal(synthesis_2d(sign * bands[:, ::-1], x.shape), back[::-1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: analysis_2d(np.zeros((0, 4)), 1),
        lambda: analysis_2d(np.zeros(4), 1),
        lambda: analysis_2d(np.zeros((4, 4)), -1),
        lambda: analysis_2d(np.zeros((4, 4)), 1, "haar"),
        lambda: analysis_2d(np.zeros((4, 4)), 1, "sym6-10", "periodization"),
        lambda: synthesis_2d(np.zeros((3, 4, 4)), (8, 8)),
        lambda: synthesis_2d(np.zeros((4, 4, 4)), (9, 8)),
        lambda: synthesis_1d(np.zeros((2, 4)), 0),
        lambda: analysis_1d(np.zeros(0), 1),
    ],
)
def test_arguments_that_cannot_be_meant(call):
    with pytest.raises(ArgumentError):
        call()
