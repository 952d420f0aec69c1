"""The knob from 1 to 100, what every codec keeps from clipping, and the warning where it cannot."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from drawn_images import KINDS, drawn, psnr
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs import Codec, OutlierWarning, load_codec
from latentstore.codecs.image.projection import image_to_coefs

NAMES = ("gray-f8c16", "rgb-f16c48", "rgb-f8c48")
QUALITIES = [*range(1, 100, 9), 100]


@pytest.fixture(params=NAMES)
def codec(request: pytest.FixtureRequest) -> Codec:
    return load_codec(request.param)


def photos(codec: Codec) -> list[np.ndarray]:
    """Pieces of photographs, uint8 (128, 128, C)."""
    data = pytest.importorskip("skimage.data", reason="its bundled photographs are needed (extra: demo)")
    pieces = []
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        image = getattr(data, name)()
        top, left = image.shape[0] // 2 - 64, image.shape[1] // 2 - 64
        piece = image[top : top + 128, left : left + 128]
        pieces.append(piece if codec.mode == "RGB" else piece.mean(2, keepdims=True).astype(np.uint8))
    return pieces


@pytest.mark.parametrize("effort", ["default", "fast"])
@pytest.mark.filterwarnings("ignore::latentstore.codecs.OutlierWarning")
def test_more_quality_is_more_bytes_and_more_psnr(codec: Codec, effort: Any) -> None:
    for image in photos(codec):
        blobs = [codec.compress(image, quality, effort) for quality in QUALITIES]
        sizes = [len(blob) for blob in blobs]
        decibels = [psnr(codec.decompress(blob, decoder="linear"), image) for blob in blobs]
        assert sizes == sorted(set(sizes))
        assert decibels == sorted(set(decibels))


@pytest.mark.filterwarnings("ignore::latentstore.codecs.OutlierWarning")
def test_the_knob_is_wide(codec: Codec) -> None:
    """At least eight-fold in bytes, and some decibels: as many as the channels can hold, on every photograph."""
    for image in photos(codec):
        low, high = codec.compress(image, 1), codec.compress(image, 100)
        assert len(high) > 8 * len(low)
        gain = psnr(codec.decompress(high, decoder="linear"), image) - psnr(
            codec.decompress(low, decoder="linear"), image
        )
        assert gain > {"rgb-f8c48": 8, "rgb-f16c48": 4, "gray-f8c16": 4}[codec.name]


def test_default_quality_is_what_is_left_out(codec: Codec) -> None:
    image = drawn("photo", 40, 56, codec.in_channels)
    quality = codec.default_quality
    assert 1 <= quality <= 100
    assert codec.compress(image) == codec.compress(image, quality)
    latent = codec.encode(image[None])
    np.testing.assert_array_equal(codec.encode(image[None], quality=quality), latent)
    np.testing.assert_array_equal(
        codec.decode(latent, decoder="linear"), codec.decode(latent, quality=quality, decoder="linear")
    )
    assert codec.step() == codec.step(quality)


def test_optimising_pays(codec: Codec) -> None:
    """At the bytes that the default effort takes, the fast one is worse."""
    gains = []
    for image in photos(codec):
        fast = [codec.compress(image, quality, "fast") for quality in (20, 30, 40, 50, 60)]
        decibels = [psnr(codec.decompress(blob, decoder="linear"), image) for blob in fast]
        blob = codec.compress(image, 45)
        same_bytes = np.interp(np.log(len(blob)), np.log([len(b) for b in fast]), decibels)
        gains.append(psnr(codec.decompress(blob, decoder="linear"), image) - same_bytes)
    assert min(gains) > 0
    assert np.mean(gains) > 0.1, gains


def test_steps_fall_and_floors_hold(codec: Codec) -> None:
    steps = [codec.step(quality) for quality in range(1, 101)]
    assert steps == sorted(set(steps), reverse=True)
    scales = np.stack([codec.scale(quality) for quality in range(1, 101)])
    assert (np.diff(scales, axis=0) <= 0).all()
    floor = np.array(codec.artifact.facts["floor"], np.float32)
    np.testing.assert_array_equal(scales, np.maximum(np.array(steps, np.float32)[:, None], floor))


def test_blobs_carry_their_quality(codec: Codec) -> None:
    """`decompress` is not told it."""
    image = drawn("photo", 24, 32, codec.in_channels)
    for quality in (1, 37, 80):
        latent = codec.encode(image[None], quality)
        np.testing.assert_array_equal(
            codec.decompress(codec.compress(image, quality), decoder="linear"),
            codec.decode(latent, quality=quality, size=(24, 32), decoder="linear")[0],
        )


# values that int8 does not hold


@lru_cache(maxsize=len(NAMES))
def responses(codec: Codec) -> np.ndarray:
    """(channels, 10 r, 10 r, C), r being the reduction: what one more in a pixel adds to each channel at the middle."""
    blocks, r, one = 10, codec.reduction, np.ones(codec.channels, np.float32)
    found = np.zeros((codec.channels, r * blocks, r * blocks, codec.in_channels))
    empty = np.zeros((2 * r * blocks, 2 * r * blocks, codec.in_channels), np.uint8)
    nothing = image_to_coefs(empty, codec._analysis, one)
    for dy, dx, colour in np.ndindex(r, r, codec.in_channels):
        impulse = empty.copy()
        impulse[r * blocks + dy, r * blocks + dx, colour] = 128
        planes = (image_to_coefs(impulse, codec._analysis, one) - nothing) / 128
        # the answer n positions before the impulse is what the impulse n positions on gives here
        near = planes[
            :,
            blocks - blocks // 2 + 1 : blocks + blocks // 2 + 1,
            blocks - blocks // 2 + 1 : blocks + blocks // 2 + 1,
        ]
        found[:, dy::r, dx::r, colour] = near[:, ::-1, ::-1]
    return found


def test_bounds_hold_and_are_reached(codec: Codec) -> None:
    """The image that drives a channel furthest comes to its bound, and not beyond."""
    bound = np.array(codec.artifact.facts["bound"])
    one = np.ones(codec.channels, np.float32)
    for k, response in enumerate(responses(codec)):
        worst = np.where(response < 0, 255, 0).astype(np.uint8)
        reached = np.abs(image_to_coefs(worst, codec._analysis, one)[k]).max()
        assert 0.97 * bound[k] < reached < 1.0001 * bound[k]


def test_nothing_can_be_limited_at_the_default_quality(codec: Codec) -> None:
    """Whatever the image: by the bounds that the test above has proved."""
    for quality in range(1, codec.default_quality + 1):
        assert (np.array(codec.artifact.facts["bound"]) < 127 * codec.scale(quality)).all()


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(NAMES),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 999),
    effort=st.sampled_from(["default", "fast"]),
)
def test_no_image_is_warned_of_at_the_default_quality(name: str, kind: str, seed: int, effort: Any) -> None:
    codec = load_codec(name)
    image = drawn(kind, 48, 64, codec.in_channels, seed)
    assert codec.compress_counted(image, effort=effort).limited == 0
    assert np.abs(codec.encode(image[None], effort=effort).astype(int)).max() <= 127


@pytest.mark.parametrize("effort", ["default", "fast"])
def test_limited_values_are_warned_of_where_the_codec_was_called(codec: Codec, effort: Any) -> None:
    worst = [np.where(r < 0, 255, 0).astype(np.uint8) for r in responses(codec)[1:5]]
    for image in worst:
        calls = (
            lambda: codec.compress(image, 100, effort),  # noqa: B023
            lambda: codec.compress_groups(image, 100, effort),  # noqa: B023
            lambda: codec.encode(image[None], 100, effort),  # noqa: B023
        )
        for call in calls:
            with pytest.warns(OutlierWarning, match=rf"quality 100 of {codec.name}.*lower quality") as seen:
                call()
            assert len(seen) == 1
            assert seen[0].filename == __file__
        made = codec.compress_counted(image, 100, effort)
        groups, outliers = made.groups, made.limited
        assert outliers > 0
        blob = codec.join_groups(groups, *image.shape[:2])
        assert np.abs(codec.read_latent(blob).astype(int)).max() == 127


def test_values_are_limited_not_wrapped(codec: Codec) -> None:
    """The sign stays: the image is too weak there, not another one."""
    image = np.where(responses(codec)[1] < 0, 255, 0).astype(np.uint8)
    coefficients = image_to_coefs(image, codec._analysis, (1 / codec.scale(100)).astype(np.float32))
    far = np.abs(coefficients) > 140
    assert far.any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutlierWarning)
        for effort in ("default", "fast"):
            latent = codec.encode(image[None], 100, effort)[0]  # type: ignore[arg-type]
            np.testing.assert_array_equal(latent[far], 127 * np.sign(coefficients[far]))
