"""The latent of a turned image is the turned latent, bit for bit, and decodes to the turned image."""

import numpy as np
import pytest
from front_end_tables import CLASSES, image, tables, vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.projection import image_planes, image_to_coefs, image_to_latent, latent_to_image
from latentstore.codecs.image.symmetry import (
    SYMMETRIES,
    SymmetryClass,
    check_classes,
    symmetric_basis,
    transform_image,
    transform_latent,
    transform_planes,
)

positions = st.integers(1, 9)


@settings(deadline=None, max_examples=60)
@given(
    levels=st.sampled_from([3, 4]),
    height=positions,
    width=positions,
    colours=st.sampled_from([1, 3]),
    name=st.sampled_from(SYMMETRIES),
    seed=st.integers(0, 99),
)
def test_latents_turn_as_images_do(levels, height, width, colours, name, seed):
    height, width = height << levels, width << levels
    pixels = image(height, width, colours, seed)
    turned = transform_image(pixels, name)
    analysis, synthesis = tables(colours, levels)
    inv_step, rounding = vectors(0.01, 0.3), vectors(0.1, 0.5)

    coefs = image_to_coefs(pixels, analysis, inv_step)
    np.testing.assert_array_equal(image_to_coefs(turned, analysis, inv_step), transform_latent(coefs, name, CLASSES))
    latent, _ = image_to_latent(pixels, analysis, inv_step, rounding)
    turned_latent = transform_latent(latent, name, CLASSES)
    np.testing.assert_array_equal(image_to_latent(turned, analysis, inv_step, rounding)[0], turned_latent)

    steps = (1 / inv_step, vectors(0, 0.2), vectors(0, 0.1))
    size = turned.shape[0], turned.shape[1]
    np.testing.assert_array_equal(
        latent_to_image(turned_latent, synthesis, *steps, size),
        transform_image(latent_to_image(latent, synthesis, *steps, (height, width)), name),
    )


@pytest.mark.parametrize(
    ("name", "turn"),
    [
        ("identity", lambda x: x),
        ("flip_h", np.fliplr),
        ("flip_v", np.flipud),
        ("rot90", np.rot90),
        ("rot180", lambda x: np.rot90(x, 2)),
        ("rot270", lambda x: np.rot90(x, 3)),
        ("transpose", lambda x: np.swapaxes(x, 0, 1)),
        ("anti_transpose", lambda x: np.rot90(np.swapaxes(x, 0, 1), 2)),
    ],
)
def test_names_mean_what_numpy_means(name, turn):
    x = np.arange(2 * 3 * 1).reshape(2, 3, 1)
    np.testing.assert_array_equal(transform_image(x, name), turn(x))


@pytest.mark.parametrize(
    ("name", "inverse"), [(n, {"rot90": "rot270", "rot270": "rot90"}.get(n, n)) for n in SYMMETRIES]
)
def test_inverses(name, inverse):
    latent = np.random.default_rng(0).integers(-127, 128, (2, len(CLASSES), 3, 5)).astype(np.int8)
    back = transform_latent(transform_latent(latent, name, CLASSES), inverse, CLASSES)
    np.testing.assert_array_equal(back, latent)


def test_a_prefix_may_end_inside_a_pair_only_for_flips():
    latent = np.ones((2, 3, 5), np.int8)
    classes = [SymmetryClass.EE_SYM, SymmetryClass.EO]
    np.testing.assert_array_equal(transform_latent(latent, "flip_h", classes)[1], -latent[1])
    with pytest.raises(ArgumentError):
        transform_latent(latent, "rot90", classes)


def test_the_given_latent_is_not_changed():
    latent = np.ones((1, 2, 2), np.int8)
    transform_latent(latent, "flip_h", [SymmetryClass.OO_SYM])
    assert (latent == 1).all()


@pytest.mark.parametrize("name", SYMMETRIES)
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("levels", [3, 4])
def test_planes_turn_as_images_do(name, colours, levels):
    pixels = image(3 << levels, 5 << levels, colours)
    planes = image_planes(pixels, levels)
    turned = image_planes(np.ascontiguousarray(transform_image(pixels, name)), levels)
    np.testing.assert_array_equal(transform_planes(planes, name, levels), turned)


@pytest.mark.parametrize("colours", [1, 2, 3])
@pytest.mark.parametrize("levels", [3, 4])
def test_every_plane_comes_back_from_the_basis(colours, levels):
    basis, count = symmetric_basis(colours, levels), 4**levels * colours
    assert len(basis.entries) == len(basis.assembly) == len(basis.classes()) == count
    planes = np.random.default_rng(0).integers(-99, 99, count)
    a, b, sign = basis.entries.T
    entries = np.where(b < 0, 2 * planes[a], planes[a] + sign * planes[b])
    p, q, sign = basis.assembly.T
    np.testing.assert_array_equal(entries[p] + np.where(q < 0, 0, sign * entries[q]), 2 * planes)


@pytest.mark.parametrize(
    "call",
    [
        lambda: check_classes([4]),
        lambda: check_classes([5, 4]),
        lambda: check_classes([4, 4, 5, 5]),
        lambda: check_classes([6]),
        lambda: check_classes([[0]]),
        lambda: symmetric_basis(0, 3),
        lambda: transform_latent(np.zeros((1, 2, 2), np.int8), "rot45", [0]),
        lambda: transform_latent(np.zeros((1, 2, 2), np.int8), "rot90", [0, 0]),
        lambda: transform_latent(np.zeros((2, 2), np.int8), "rot90", [0, 0]),
        lambda: transform_latent(np.full((1, 2, 2), -128, np.int8), "rot90", [0]),
        lambda: transform_image(np.zeros((2, 2, 3), np.uint8), "mirror"),
    ],
)
def test_arguments_that_cannot_be_meant(call):
    with pytest.raises(ArgumentError):
        call()
