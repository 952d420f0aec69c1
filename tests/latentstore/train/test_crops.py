"""Crops of images: what they hold at both depths of the transform."""

from __future__ import annotations

import numpy as np
import pytest
import torch_or_skip
from drawn_images import drawn
from linear_planes import linear_planes

import latentstore
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.image.projection import image_planes
from latentstore.train.batches import Batches
from latentstore.train.crops import Crops

torch = torch_or_skip.torch


@pytest.mark.parametrize("name", ["rgb-f8c48", "rgb-f16c48"])
@pytest.mark.parametrize("kind", ["photo", "checker"])
def test_what_the_linear_synthesis_lacks(name: str, kind: str) -> None:
    """All of an image, whose error is the same whatever the symmetry: also of the highest contrast."""
    codec = latentstore.load_codec(name)
    assert isinstance(codec, ImageCodec)
    image, side = drawn(kind, 96, 96, 3, 1), 96 // codec.reduction
    crops = Crops(codec, [np.pad(image, ((0, 5), (0, 3), (0, 0)))], {codec.channels: 1.0}, {30: 1.0})
    assert crops.pixels == 96 * 96
    drawn_crops = torch.from_numpy(crops.draw(np.random.default_rng(0), 6, side))
    batch = Batches(crops, side, torch.device("cpu")).batch(drawn_crops)
    planes = image_planes(image, codec.levels)
    assert batch.given.shape == (6, codec.channels, side, side)
    assert batch.lacking.shape == (6, *planes.shape)
    values = linear_planes(codec, codec.encode(image[None], 30)[0], 30)
    norms = np.sqrt(np.square(batch.lacking.numpy() * codec.step(30)).sum((1, 2, 3)))
    np.testing.assert_allclose(norms, np.sqrt(np.square(planes - values).sum()), rtol=2e-3)
