"""Flips and quarter turns of a latent are those of the image, through the shipped codecs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from drawn_images import KINDS, drawn
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs import Codec, OutlierWarning, load_codec
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.symmetry import SYMMETRIES, transform_image

NAMES = ("gray-f8c16", "rgb-f16c48", "rgb-f8c48")
positions = st.integers(1, 8)
anything: Any = given(
    name=st.sampled_from(NAMES), height=positions, width=positions, kind=st.sampled_from(KINDS),
    symmetry=st.sampled_from(SYMMETRIES), quality=st.integers(1, 100), seed=st.integers(0, 999),
)  # fmt: skip


@settings(deadline=None, max_examples=120)
@anything
def test_fast_latents_turn_bit_for_bit(
    name: str, height: int, width: int, kind: str, symmetry: str, quality: int, seed: int
) -> None:
    codec = load_codec(name)
    image = drawn(kind, height * codec.reduction, width * codec.reduction, codec.in_channels, seed)
    turned = np.ascontiguousarray(transform_image(image, symmetry))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutlierWarning)
        latent = codec.encode(image[None], quality, "fast")
        expected = codec.encode(turned[None], quality, "fast")
    np.testing.assert_array_equal(codec.transform(latent, symmetry), expected)
    np.testing.assert_array_equal(codec.transform(latent[0], symmetry), expected[0])


@settings(deadline=None, max_examples=80)
@anything
def test_turned_latents_decode_to_the_turned_reconstruction(
    name: str, height: int, width: int, kind: str, symmetry: str, quality: int, seed: int
) -> None:
    """Whatever the quantiser chose; also from the first groups, and by way of blobs."""
    codec = load_codec(name)
    image = drawn(kind, height * codec.reduction, width * codec.reduction, codec.in_channels, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutlierWarning)
        latent = codec.encode(image[None], quality)
    for channels in range(codec.group_channels, codec.channels + 1, codec.group_channels):
        prefix = latent[:, :channels]
        expected = transform_image(codec.decode(prefix, quality=quality, decoder="linear"), symmetry)
        turned = codec.transform(prefix, symmetry)
        np.testing.assert_array_equal(codec.decode(turned, quality=quality, decoder="linear"), expected)
    blob = codec.join_groups(codec.encode_latent_groups(turned[0], quality), *expected.shape[1:3])
    np.testing.assert_array_equal(codec.decompress(blob, decoder="linear"), expected[0])


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name: str) -> None:
    codec = load_codec(name)
    latent = codec.encode(drawn("photo", 24, 40, codec.in_channels)[None])
    for turns in (
        ("rot90", "rot270"),
        ("rot180", "rot180"),
        ("flip_h", "flip_h"),
        ("transpose", "transpose"),
    ):
        back = latent
        for symmetry in turns:
            back = codec.transform(back, symmetry)
        np.testing.assert_array_equal(back, latent)


@pytest.mark.parametrize("name", NAMES)
def test_groups_end_between_pairs(name: str) -> None:
    """So that the channels of a group turn among themselves."""
    codec = load_codec(name)
    latent = np.zeros((codec.channels, 2, 3), np.int8)
    for channels in range(codec.group_channels, codec.channels + 1, codec.group_channels):
        for symmetry in SYMMETRIES:
            codec.transform(latent[:channels], symmetry)


@pytest.mark.parametrize(
    ("latent", "symmetry", "message"),
    [
        (np.zeros((48, 2, 2), np.int8), "mirror", "no symmetry 'mirror'"),
        (np.zeros((49, 2, 2), np.int8), "flip_h", "int8"),
        (np.zeros((0, 2, 2), np.int8), "flip_h", "int8"),
        (np.zeros((2, 2), np.int8), "flip_h", "int8"),
        (np.zeros((48, 2, 2), np.int16), "flip_h", "int8"),
        (np.full((48, 2, 2), -128, np.int8), "flip_h", "-128"),
    ],
)
def test_what_cannot_be_turned(codec: Codec, latent: np.ndarray, symmetry: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        codec.transform(latent, symmetry)


def test_a_prefix_that_ends_inside_a_pair(codec: Codec) -> None:
    first = int(np.flatnonzero(codec.classes == 4)[0])
    prefix = np.ones((first + 1, 2, 3), np.int8)
    assert codec.transform(prefix, "rot180").shape == prefix.shape
    with pytest.raises(ArgumentError, match="pairs"):
        codec.transform(prefix, "rot90")
