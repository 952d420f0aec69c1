"""Checkpoints of WaLLoC and LiVeAction give what their authors' packages give.

The answers of those packages stand in tests/data/checkpoints; make.py there says how they were made.
"""

from __future__ import annotations

from typing import Any

import foreign_checkpoints
import numpy as np
import pytest
from foreign_checkpoints import ANSWERS, CASES

import latentstore
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.wavelet import analysis_2d
from latentstore.foreign.packets import analysis, synthesis

torch = foreign_checkpoints.torch


@pytest.fixture(params=sorted(CASES), scope="module")
def name(request: Any) -> str:
    return request.param


@pytest.fixture(scope="module")
def codec(name: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return latentstore.load_codec(foreign_checkpoints.write(tmp_path_factory.mktemp("checkpoint"), name))


def test_latents_are_those_of_the_authors_package(codec: Any, name: str) -> None:
    latents = codec.encode(foreign_checkpoints.images(CASES[name]))
    with np.load(ANSWERS) as answers:
        expected = answers[f"{name}.latents"]
    assert latents.dtype == np.int8
    assert latents.shape == expected.shape
    assert expected.std() > 5
    # make.py saw no value nearer to a half than 0.0005, and processors differ by less
    np.testing.assert_array_equal(latents, expected)


def test_pixels_are_within_one_of_the_authors_package(codec: Any, name: str) -> None:
    with np.load(ANSWERS) as answers:
        latents, expected = answers[f"{name}.latents"], answers[f"{name}.pixels"]
    pixels = codec.decode(latents)
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    assert expected.std() > 5
    assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_a_codec_says_what_it_is(codec: Any, name: str) -> None:
    case = CASES[name]
    assert codec.name == f"{case['package']}:{name}"
    assert codec.in_channels == case["size"][2]
    assert codec.channels == case["config"]["latent_dim"]
    levels = case["config"].get("J") or case["config"]["F"].bit_length() - 1
    assert codec.reduction == 2**levels
    assert len(codec.sha256) == 64


def test_sides_that_are_no_multiples_are_extended_and_cut(codec: Any, name: str) -> None:
    whole = foreign_checkpoints.images(CASES[name])
    height, width = whole.shape[1] - 1, whole.shape[2] - codec.reduction + 1
    images = whole[:, :height, :width]
    extended = np.pad(images, ((0, 0), (0, 1), (0, codec.reduction - 1), (0, 0)), mode="edge")
    latents = codec.encode(images)
    assert latents.shape[1:] == codec.latent_shape(height, width)
    np.testing.assert_array_equal(latents, codec.encode(extended))
    pixels = codec.decode(latents, size=(height, width))
    np.testing.assert_array_equal(pixels, codec.decode(latents)[:, :height, :width])


def test_what_is_no_image_and_no_latent_is_refused(codec: Any) -> None:
    with pytest.raises(ArgumentError, match="takes uint8"):
        codec.encode(np.zeros((1, 16, 16, codec.in_channels), np.float32))
    with pytest.raises(ArgumentError, match="takes uint8"):
        codec.encode(np.zeros((16, 16, codec.in_channels), np.uint8))
    with pytest.raises(ArgumentError, match="expected"):
        codec.decode(np.zeros((1, codec.channels + 1, 2, 2), np.int8))
    with pytest.raises(ArgumentError, match=r"size is \(99, 99\)"):
        codec.decode(np.zeros((1, codec.channels, 2, 2), np.int8), size=(99, 99))
    with pytest.raises(ArgumentError, match="size is 5"):
        codec.decode(np.zeros((1, codec.channels, 2, 2), np.int8), size=5)


def test_nothing_in_gives_nothing_out(codec: Any) -> None:
    r = codec.reduction
    assert codec.encode(np.zeros((0, 2 * r, r, codec.in_channels), np.uint8)).shape == (0, codec.channels, 2, 1)
    assert codec.decode(np.zeros((0, codec.channels, 2, 1), np.int8)).shape == (0, 2 * r, r, codec.in_channels)


@pytest.mark.parametrize(("height", "width", "levels"), [(64, 96, 3), (48, 80, 2), (160, 192, 4)])
def test_packets_are_those_of_the_lifting_transform(height: int, width: int, levels: int) -> None:
    image = np.random.default_rng(2).normal(size=(1, 2, height, width)).astype(np.float32)
    bands = analysis(torch.from_numpy(image), levels)
    lifted = analysis_2d(image, levels, "bior4.4").reshape(1, 2, *[2, 2] * levels, *bands.shape[2:])
    # there the vertical bit stands first
    axes = [0, 1, *(axis for level in range(levels) for axis in (3 + 2 * level, 2 + 2 * level)), -2, -1]
    np.testing.assert_allclose(bands.numpy(), lifted.transpose(axes).reshape(bands.shape), atol=1e-4)
    np.testing.assert_allclose(synthesis(bands, levels).numpy(), image, atol=1e-4)
