"""Every vector path of the kernel's front end gives the bits of the NumPy reference."""

import threading

import numpy as np
import pytest
from front_end_tables import CLASSES, image, random_rows, tables, vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.projection import (
    analysis_tables,
    image_planes,
    image_to_coefs,
    image_to_latent,
    latent_to_image,
    planes_to_image,
    synthesis_matrix,
    synthesis_tables,
)
from latentstore.codecs.image.symmetry import symmetric_basis
from latentstore.codecs.native import kernel
from latentstore.codecs.reference import projection as reference

pytestmark = pytest.mark.skipif(kernel is None, reason="the native kernel was not built")

# Sides around multiples of 8, 16 and the vector widths, and images wider than one tile of the kernel.
SHAPES = [(1, 1), (1, 9), (7, 3), (8, 8), (16, 129), (65, 40), (33, 257), (9, 1030), (17, 2113), (130, 24)]
DEPTHS = [(3, shape) for shape in SHAPES] + [(4, shape) for shape in [*SHAPES, (16, 16), (33, 4300)]]


@pytest.fixture(autouse=True)
def best_path():
    yield
    if kernel is not None:
        kernel.force_path(None)


def each_path():
    """The vector paths of this machine, each forced in its turn: the slow reference computes once for all of them."""
    for path in kernel.kernel_paths():
        kernel.force_path(path)
        yield path


def same_bits(a, b, path=""):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    np.testing.assert_array_equal(a, b, path)


@pytest.mark.parametrize(("levels", "shape"), DEPTHS)
@pytest.mark.parametrize("colours", [1, 3])
def test_planes(levels, shape, colours):
    pixels = image(*shape, colours)
    planes = reference.image_planes(levels, pixels)
    assert len(planes) == 4**levels * colours
    changed = planes + np.random.default_rng(3).normal(0, 60, planes.shape).astype(np.float32)
    expected = reference.planes_image(levels, changed, shape)
    for path in each_path():
        same_bits(image_planes(pixels, levels), planes, path)
        same_bits(planes_to_image(planes, shape, levels), pixels, path)
        same_bits(planes_to_image(changed, shape, levels), expected, path)


@pytest.mark.parametrize(("levels", "shape"), DEPTHS)
@pytest.mark.parametrize("colours", [1, 3])
def test_coefs_and_latents(levels, shape, colours):
    pixels = image(*shape, colours)
    analysis, _ = tables(colours, levels)
    arrays = (analysis.basis, analysis.runs, analysis.weights)
    inv_step, rounding = vectors(0.01, 0.3), vectors(0.1, 0.5)
    coefs = reference.image_to_coefs(levels, pixels, *arrays, inv_step)
    expected, expected_outside = reference.image_to_latent(levels, pixels, *arrays, inv_step, rounding)
    assert expected.min() >= -127
    for path in each_path():
        same_bits(image_to_coefs(pixels, analysis, inv_step), coefs, path)
        latent, outside = image_to_latent(pixels, analysis, inv_step, rounding)
        same_bits(latent, expected, path)
        assert outside == expected_outside, path


@pytest.mark.parametrize(("levels", "shape"), DEPTHS)
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("given_channels", [0, 1, 2, 5, 10])
@pytest.mark.parametrize("is_added", [False, True])
def test_images(levels, shape, colours, given_channels, is_added):
    _, synthesis = tables(colours, levels)
    rng = np.random.default_rng(5)
    side = [-(-n // 2**levels) for n in shape]
    latent = rng.choice(np.array([0, 0, 0, 0, 1, -1, 2, -3, 127, -127], np.int8), (given_channels, *side))
    steps = (vectors(1, 20), vectors(0, 0.2), vectors(0, 0.1))
    arrays = (synthesis.starts, synthesis.channel_list, synthesis.weights, synthesis.assembly)
    added = rng.normal(0, 20, (4**levels * colours * is_added, *side)).astype(np.float32)
    expected = reference.latent_to_image(levels, latent, *arrays, *steps, added, shape)
    for path in each_path():
        image = latent_to_image(latent, synthesis, *steps, shape, added=added if is_added else None)
        same_bits(image, expected, path)


@pytest.mark.parametrize(("levels", "size"), [(3, (29, 37)), (4, (61, 65))])
@pytest.mark.parametrize("given_channels", [0, 1, 5, 10])
def test_planes_of_a_latent_are_those_of_its_image(levels, size, given_channels):
    _, synthesis = tables(3, levels)
    latent = np.random.default_rng(5).choice(np.array([0, 0, 1, -1, 2, -3], np.int8), (given_channels, 4, 5))
    steps = (vectors(1, 20), vectors(0, 0.2), vectors(0, 0.1))
    step, *deltas = (each[:given_channels, None, None] for each in steps)
    size_of = np.abs(latent.astype(np.float32))
    values = np.sign(latent) * (size_of - np.where(size_of == 1, *deltas)) * step
    values = values.reshape(given_channels, 20)
    planes = (synthesis_matrix(synthesis, len(CLASSES))[:, :given_channels] @ values).reshape(-1, 4, 5)
    image = latent_to_image(latent, synthesis, *steps, size)
    assert np.abs(planes_to_image(planes, size, levels).astype(int) - image).max() <= 1  # sums in another order


@pytest.mark.parametrize(
    ("levels", "shape", "size"),
    [
        (3, (192, 4, 5), (33, 37)), (3, (192, 4, 5), (0, 37)), (3, (100, 4, 5), (29, 37)),
        (4, (768, 4, 5), (29, 37)), (4, (192, 4, 5), (61, 65)),
    ],
)  # fmt: skip
def test_planes_of_another_size_are_refused(levels, shape, size):
    with pytest.raises(ArgumentError, match="planes"):
        planes_to_image(np.zeros(shape, np.float32), size, levels)


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 70), width=st.integers(1, 70), levels=st.integers(1, 4), seed=st.integers(0, 99))
def test_any_size(height, width, levels, seed):
    pixels = image(height, width, 3, seed)
    planes = image_planes(pixels, levels)
    same_bits(planes, reference.image_planes(levels, pixels))
    same_bits(reference.planes_image(levels, planes, (height, width)), pixels)


def test_values_outside_int8_are_counted():
    pixels = np.full((16, 24, 3), 255, np.uint8)
    analysis, _ = tables(3)
    inv_step = np.full(len(CLASSES), 100, np.float32)
    latent, outside = image_to_latent(pixels, analysis, inv_step, vectors(0.5, 0.5))
    assert outside == np.count_nonzero(np.abs(latent) == 127) > 0


@pytest.mark.parametrize("levels", [3, 4])
def test_whole_projection_is_the_identity(levels):
    """All entries as channels, and half the sums and differences back: the image itself, at a fine step."""
    basis = symmetric_basis(3, levels)
    classes, rows, columns = [], [], []
    for kind, (_, count) in enumerate(basis.runs[:4]):
        for j in range(count):
            classes.append(kind)
            rows.append(np.eye(count)[j])
            alone = basis.entries[basis.runs[kind][0] + j, 1] < 0
            columns.append(np.eye(count)[j] * (1.0 if alone else 0.5))
    for j in range(basis.runs[4][1]):
        classes += [4, 5]
        rows += [np.eye(basis.runs[4][1])[j]] * 2
        columns += [np.eye(basis.runs[4][1])[j]] * 2
    # Little contrast, so that no coefficient leaves int8.
    pixels = (128 + np.random.default_rng(0).integers(-5, 6, (40, 56, 3))).astype(np.uint8)
    step = np.full(len(classes), 0.5, np.float32)
    latent, outside = image_to_latent(pixels, analysis_tables(basis, classes, rows), 1 / step, step)
    assert outside == 0
    zero = np.zeros_like(step)
    back = latent_to_image(latent, synthesis_tables(basis, classes, columns), step, zero, zero, (40, 56))
    assert np.abs(back.astype(int) - pixels).max() <= 1


def test_threads_do_not_disturb_each_other():
    analysis, _ = tables(3)
    inv_step, rounding = vectors(0.01, 0.3), vectors(0.1, 0.5)
    images = [image(40 + k, 70 - k, 3, k) for k in range(4)]
    expected = [image_to_latent(p, analysis, inv_step, rounding)[0] for p in images]
    results: dict[int, list[np.ndarray]] = {k: [] for k in range(4)}

    def work(k):
        results[k] = [image_to_latent(images[k], analysis, inv_step, rounding)[0] for _ in range(20)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        assert len(results[k]) == 20
        for latent in results[k]:
            same_bits(latent, expected[k])


def kernel_call(**changes):
    """image_to_latent with one argument changed."""
    analysis, _ = tables(3)
    arguments = {
        "levels": 3,
        "image": image(16, 24),
        "basis": analysis.basis,
        "runs": analysis.runs,
        "weights": analysis.weights,
        "inv_step": vectors(1, 2),
        "rounding": vectors(0, 0.5),
        "out": np.zeros((len(CLASSES), 2, 3), np.int8),
    }
    return kernel.image_to_latent(*(arguments | changes).values())


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    "changes",
    [
        lambda a: {"basis": changed(a.basis, (0, 0), 192)},
        lambda a: {"basis": changed(a.basis, (0, 0), -1)},
        lambda a: {"basis": changed(a.basis, (-1, 1), 192)},
        lambda a: {"basis": a.basis[:, :2].copy()},
        lambda a: {"basis": a.basis[:100].copy()},
        lambda a: {"runs": changed(a.runs, (3, 1), 2**31 - 1)},
        lambda a: {"runs": changed(a.runs, (3, 0), -5)},
        lambda a: {"runs": changed(a.runs, (3, 1), 1)},
        lambda a: {"weights": a.weights[1:].copy()},
        lambda a: {"inv_step": np.ones(3, np.float32)},
        lambda a: {"inv_step": np.ones(len(CLASSES))},
        lambda a: {"rounding": np.ones(3, np.float32)},
        lambda a: {"out": np.zeros((len(CLASSES), 2, 2), np.int8)},
        lambda a: {"out": np.zeros((3, 2, 3), np.int8)},
        lambda a: {"out": np.zeros((len(CLASSES), 2, 3), np.uint8)},
        lambda a: {"levels": 0},
        lambda a: {"levels": 4},
        lambda a: {"levels": 5},
        lambda a: {"levels": -1},
        lambda a: {"levels": 2**80},
        lambda a: {"levels": 3.0},
        lambda a: {"levels": a.basis},
        lambda a: {"image": np.zeros((16, 24), np.uint8)},
        lambda a: {"image": np.zeros((0, 24, 3), np.uint8)},
        lambda a: {"image": np.zeros((16, 24, 9), np.uint8)},
        lambda a: {"image": np.zeros((16, 24, 3), np.float32)},
    ],
)
def test_kernel_refuses_tables_that_contradict_themselves(changes):
    kernel_call()
    with pytest.raises(ValueError):
        kernel_call(**changes(tables(3)[0]))


def test_kernel_refuses_to_write_where_it_may_not():
    out = np.zeros((len(CLASSES), 2, 3), np.int8)
    out.flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        kernel_call(out=out)
    with pytest.raises((BufferError, ValueError)):
        kernel_call(out=np.zeros((len(CLASSES), 2, 6), np.int8)[:, :, ::2])


@pytest.mark.parametrize(
    ("table", "index", "value"),
    [
        ("starts", 0, 1),
        ("starts", -1, 5),
        ("starts", 7, -3),
        ("starts", 7, 2**31 - 1),
        ("channel_list", 0, -1),
        ("channel_list", 0, 10),
        ("channel_list", 1, 0),
        ("assembly", (5, 0), -1),
        ("assembly", (5, 0), 192),
        ("assembly", (5, 1), 192),
    ],
)
def test_kernel_refuses_synthesis_tables_that_contradict_themselves(table, index, value):
    _, synthesis = tables(3)
    arrays = {name: getattr(synthesis, name) for name in ("starts", "channel_list", "weights", "assembly")}
    steps = (vectors(1, 2), vectors(0, 0.2), vectors(0, 0.1))
    latent, out = np.zeros((10, 2, 3), np.int8), np.zeros((16, 24, 3), np.uint8)
    none = np.zeros((0, 2, 3), np.float32)
    kernel.latent_to_image(3, latent, *arrays.values(), *steps, none, out)
    with pytest.raises(ValueError, match="expected"):
        kernel.latent_to_image(4, latent, *arrays.values(), *steps, none, out)
    with pytest.raises(ValueError, match="levels must be a whole number from 1 to 4"):
        kernel.latent_to_image()
    arrays[table] = changed(arrays[table], index, value)
    with pytest.raises(ValueError):
        kernel.latent_to_image(3, latent, *arrays.values(), *steps, none, out)


def test_unknown_vector_path():
    with pytest.raises(ValueError, match="quantum"):
        kernel.force_path("quantum")


def test_arguments_that_cannot_be_meant():
    analysis, synthesis = tables(3)
    basis = symmetric_basis(3, 3)
    with pytest.raises(ArgumentError):
        image_to_coefs(np.zeros((8, 8, 3), np.float32), analysis, vectors(1, 2))
    with pytest.raises(ArgumentError):
        image_planes(np.zeros((8, 0, 3), np.uint8), 3)
    with pytest.raises(ArgumentError):
        latent_to_image(np.zeros((10, 2, 2), np.int8), synthesis, *[vectors(1, 2)] * 3, (17, 8))
    with pytest.raises(ArgumentError):
        analysis_tables(basis, CLASSES, random_rows(3)[:-1])
    with pytest.raises(ArgumentError):
        synthesis_tables(basis, CLASSES, [row * np.nan for row in random_rows(3)])
