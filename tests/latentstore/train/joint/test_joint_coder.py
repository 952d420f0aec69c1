"""The coder in torch spends what the kernel's spends, and chooses nearly what its optimiser chooses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch_or_skip
from drawn_images import drawn

import latentstore
from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.fit.projection import plane_norms
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.image.projection import image_planes
from latentstore.train.joint.coder import Coder
from latentstore.train.joint.projection import Rows

torch = torch_or_skip.torch

SIDES = 192, 256


@pytest.fixture(scope="module", params=["rgb-f8c48", "rgb-f16c48", "gray-f8c16"])
def shipped(request: Any) -> ImageCodec:
    codec = latentstore.load_codec(request.param)
    assert isinstance(codec, ImageCodec)
    return codec


def image_of(codec: ImageCodec) -> np.ndarray:
    return drawn("photo", *SIDES, codec.in_channels, 5)


@pytest.mark.parametrize("quality", [1, 30, 49, 80, 100])
def test_what_codes_cost(shipped: ImageCodec, quality: int) -> None:
    """The blobs have a header and the states of their streams besides, and the sparse form is cheaper."""
    latent = shipped.encode(image_of(shipped)[None], quality)[0]
    codes = torch.from_numpy(latent)[None].float()
    bits = Coder(shipped, torch.device("cpu")).bits(codes, torch.tensor([shipped.band(quality)]))[0]
    blobs = shipped.encode_latent_groups(latent, quality)
    for estimate, blob in zip(bits.reshape(shipped.groups, -1).sum(1) / 8, blobs, strict=True):
        assert -0.02 * len(blob) - 4 < len(blob) - float(estimate) < 0.01 * len(blob) + 40


@pytest.mark.parametrize("quality", [10, 49, 80])
def test_what_is_chosen(shipped: ImageCodec, quality: int) -> None:
    """Its choices cost hardly more, error and bits together, than those of the kernel."""
    image = image_of(shipped)
    scale, step = shipped.scale(quality), shipped.step(quality)
    norms = plane_norms(shipped.in_channels, shipped.levels).astype(np.float32)
    planes = image_planes(image, shipped.levels) * norms[:, None, None]
    matrix = Rows(shipped).matrix().detach().numpy()
    coefficients = torch.from_numpy(np.einsum("kp,phw->khw", matrix, planes) / scale[:, None, None])[None]
    weight = torch.from_numpy((scale / scale.max()) ** 2)[None]
    lambda_ = torch.tensor([shipped.artifact.facts["lambda"] * (step / scale.max()) ** 2], dtype=torch.float32)
    coder, band = Coder(shipped, torch.device("cpu")), torch.tensor([shipped.band(quality)])
    expected = torch.from_numpy(shipped.encode(image[None], quality)).float()
    found = coder.choose(coefficients, band, lambda_, weight)
    assert float((found == expected).float().mean()) > 0.98

    def cost(codes: Any) -> float:
        errors = weight[:, :, None, None] * (coder.rebuilt(codes) - coefficients).square()
        return float((errors + lambda_ * coder.bits(codes, band)).sum())

    assert cost(expected) * 0.99 < cost(found) < cost(expected) * 1.02
    assert cost(found) < cost(torch.round(coefficients).clamp(-127, 127))


def test_small_planes(shipped: ImageCodec) -> None:
    """Of one position, one row and one column."""
    coder = Coder(shipped, torch.device("cpu"))
    rng = np.random.default_rng(4)
    for size in ((1, 1), (1, 5), (5, 1), (2, 2)):
        latent = rng.integers(-40, 41, (shipped.channels, *size)).astype(np.int8)
        bits = coder.bits(torch.from_numpy(latent)[None].float(), torch.tensor([0]))[0]
        blobs = [shipped.entropy.encode(part, group, 0) for group, part in enumerate(np.split(latent, shipped.groups))]
        assert all(group_info(blob).height == size[0] for blob in blobs)
        for estimate, blob in zip(bits.reshape(shipped.groups, -1).sum(1) / 8, blobs, strict=True):
            assert 0 < len(blob) - float(estimate) < 0.02 * len(blob) + 120
