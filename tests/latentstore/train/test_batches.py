"""Batches are what the codec itself makes of the crops, in every orientation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch_or_skip
from drawn_images import drawn
from linear_planes import linear_planes

from latentstore.codecs.image.projection import image_planes
from latentstore.codecs.image.symmetry import SYMMETRIES, transform_image
from latentstore.train.batches import Batches
from latentstore.train.crops import Crops

torch = torch_or_skip.torch

SIDE = 6


@pytest.fixture(scope="module")
def crops(codec: Any) -> Crops:
    images = [drawn("photo", 64, 72, 3, 1), drawn("photo", 8 * SIDE, 61, 3, 2)]
    return Crops(codec, images, {12: 1, 48: 1}, {49: 1, 20: 2}, threads=2)


@pytest.mark.parametrize("symmetry", range(8))
def test_a_crop_is_what_the_codec_says(codec: Any, crops: Crops, symmetry: int) -> None:
    """The whole second image, whose size is that of a crop in one direction."""
    image = drawn("photo", 64, 72, 3, 1)
    picked = np.array([[0, 9, symmetry, 1, 12]])
    made = Batches(crops, SIDE, torch.device("cpu")).batch(torch.from_numpy(picked))
    # the latent is cut first: a crop of it is not the latent of the crop
    latent = codec.encode(image[None], 20)[0][:, :SIDE, :SIDE]
    turned = codec.transform(latent, SYMMETRIES[symmetry])
    np.testing.assert_array_equal(made.given[0, :12], turned[:12])
    assert not made.given[0, 12:].any()
    step = codec.step(20)
    whole = made.lacking[0].numpy() * step + linear_planes(codec, turned[:12], 20)
    if symmetry == 0:
        np.testing.assert_allclose(whole, image_planes(image, codec.levels)[:, :SIDE, :SIDE], atol=1 / crops.unit)
    assert float(made.step[0]) == np.float32(step)
    assert float(made.kept[0]) == 12
    np.testing.assert_allclose(float(made.told[0]), np.log2(step / codec.step()), rtol=1e-6)


@pytest.mark.parametrize("symmetry", range(8))
def test_the_bands_are_those_of_the_turned_image(crops: Crops, symmetry: int) -> None:
    side = 8 * SIDE
    image = drawn("photo", side, 61, 3, 2)[:, :side]
    whole = Crops(crops.codec, [image], {48: 1}, {49: 1})
    found = Batches(whole, SIDE, torch.device("cpu")).originals(torch.tensor([[0, SIDE, symmetry, 0, 48]]))
    expected = image_planes(np.ascontiguousarray(transform_image(image, SYMMETRIES[symmetry])), 3)
    np.testing.assert_allclose(found[0].T.reshape(expected.shape), expected, atol=1 / crops.unit)


def test_draws_stay_inside_their_image(crops: Crops) -> None:
    picked = crops.draw(np.random.default_rng(0), 400, SIDE)
    start, width = picked[:, 0], picked[:, 1]
    second = start >= 72
    assert second.any() and (~second).any()
    inside = np.where(second, start - 72, start)
    assert set(width[second]) == {7} and set(width[~second]) == {9}
    assert (inside // width + SIDE <= np.where(second, 6, 8)).all()
    assert (inside % width + SIDE <= width).all()
    assert set(picked[:, 2]) == set(range(8)) and set(picked[:, 3]) == {0, 1} and set(picked[:, 4]) == {12, 48}


def test_the_same_seed_draws_the_same(crops: Crops) -> None:
    first, second = (crops.draw(np.random.default_rng([3, 1]), 8, SIDE) for _ in range(2))
    np.testing.assert_array_equal(first, second)
