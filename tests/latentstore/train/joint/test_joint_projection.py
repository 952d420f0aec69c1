"""The rows that are trained are those of the artifact, stay orthonormal, and keep the symmetries exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch_or_skip
from drawn_images import drawn

import latentstore
from latentstore.codecs.fit.projection import plane_norms
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.image.symmetry import SYMMETRIES, transform_image
from latentstore.train.joint.projection import Rows
from latentstore.train.joint.refit import moved

torch = torch_or_skip.torch


@pytest.fixture(scope="module", params=["rgb-f8c48", "rgb-f16c48", "gray-f8c16"])
def shipped(request: Any) -> ImageCodec:
    codec = latentstore.load_codec(request.param)
    assert isinstance(codec, ImageCodec)
    return codec


def turned_rows(codec: ImageCodec) -> Rows:
    """Rows after a step away from those of the codec."""
    rows = Rows(codec)
    generator = torch.Generator().manual_seed(1)
    for one in rows.by_class.values():
        one.data += 0.003 * torch.randn(one.shape, generator=generator)
    rows.straighten()
    return rows


def test_they_begin_as_those_of_the_artifact(shipped: ImageCodec) -> None:
    matrix = Rows(shipped).matrix().detach().numpy()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(shipped.channels), atol=1e-5)
    norms = plane_norms(shipped.in_channels, shipped.levels)
    np.testing.assert_allclose(matrix.T / norms[:, None], shipped.matrix, atol=1e-6)
    same = moved(shipped, Rows(shipped).vectors())
    for name in ("analysis", "synthesis"):
        np.testing.assert_allclose(same.artifact.tensors[name], shipped.artifact.tensors[name], atol=2e-6)
    np.testing.assert_allclose(same.artifact.facts["bound"], shipped.artifact.facts["bound"], rtol=1e-4)


def test_they_stay_orthonormal(shipped: ImageCodec) -> None:
    rows = turned_rows(shipped)
    matrix = rows.matrix().detach().numpy()
    assert np.abs(matrix - Rows(shipped).matrix().detach().numpy()).max() > 1e-3
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(shipped.channels), atol=1e-4)


def test_gradients_only_turn_them(shipped: ImageCodec) -> None:
    """To first order, a step along the gradient changes no length and no angle."""
    rows = Rows(shipped)
    target = torch.randn(shipped.channels, rows.planes, generator=torch.Generator().manual_seed(2))
    (rows.matrix() * target).sum().backward()
    before = {name: one.grad.clone() for name, one in rows.by_class.items()}
    rows.flatten_gradients()
    for name, one in rows.by_class.items():
        along = one.grad @ one.T
        assert not torch.equal(one.grad, before[name])
        assert float((along + along.T).detach().abs().max()) < 1e-4


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_flips_and_turns_stay_exact(shipped: ImageCodec, symmetry: str) -> None:
    codec = moved(shipped, turned_rows(shipped).vectors())
    image = drawn("photo", 64, 96, shipped.in_channels, 3)
    latent = codec.encode(image[None], effort="fast")[0]
    turned = codec.encode(np.ascontiguousarray(transform_image(image, symmetry))[None], effort="fast")[0]
    np.testing.assert_array_equal(codec.transform(latent, symmetry), turned)
