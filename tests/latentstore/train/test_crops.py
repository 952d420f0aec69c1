"""Crops of images: what they hold at both depths of the transform."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_images import drawn

import latentstore
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.image.projection import image_planes
from latentstore.train.crops import Crops


@pytest.mark.parametrize("name", ["rgb-f8c48", "rgb-f16c48"])
@pytest.mark.parametrize("kind", ["photo", "checker"])
def test_what_the_linear_synthesis_lacks(name: str, kind: str) -> None:
    """All of an image, whose error is the same whatever the symmetry: also of the highest contrast."""
    codec = latentstore.load_codec(name)
    assert isinstance(codec, ImageCodec)
    image, side = drawn(kind, 96, 96, 3, 1), 96 // codec.reduction
    crops = Crops(codec, [np.pad(image, ((0, 5), (0, 3), (0, 0)))], {codec.channels: 1.0}, {30: 1.0})
    assert crops.pixels == 96 * 96
    batch = crops.batch(np.random.default_rng(0), 6, side)
    planes = image_planes(image, codec.levels)
    assert batch.codes.shape == (6, codec.channels, side, side)
    assert batch.lacking.shape == (6, *planes.shape)
    lacking = planes - codec.planes(codec.encode(image[None], 30)[0], 30)
    norms = np.sqrt(np.square(batch.lacking * codec.step(30)).sum((1, 2, 3)))
    np.testing.assert_allclose(norms, np.sqrt(np.square(lacking).sum()), rtol=2e-3)
