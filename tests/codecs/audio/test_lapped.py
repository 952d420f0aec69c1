"""The lapped transform is its own inverse, and every vector path, and any pieces, give the bits of the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs import native
from latentstore.codecs.audio import lapped
from latentstore.codecs.audio.lapped import LappedTransform, mdct_basis
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.native import kernel

needs_kernel = pytest.mark.skipif(kernel is None, reason="the native kernel was not built")


def same_bits(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a), np.signbit(b))  # of zeros


def signal(n, inputs, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, (n, inputs)).astype(np.float32)


def transform(hop, inputs, c, seed=0):
    """Any numbers, and channels of any mixed signal in any order."""
    rng = np.random.default_rng(seed)
    return LappedTransform(
        hop,
        rng.normal(size=(inputs, inputs)).astype(np.float32),
        rng.integers(0, inputs, c).astype(np.int8),
        rng.normal(size=(c, 2 * hop), scale=hop**-0.5).astype(np.float32),
    )


def steps(c, seed=3):
    """inverse, rounding, scale, delta"""
    rng = np.random.default_rng(seed)
    bounds = ((5, 60), (0, 0.5), (0.01, 0.2))
    vectors = [rng.uniform(*pair, c).astype(np.float32) for pair in bounds]
    return *vectors, rng.uniform(0, 0.4, (c, 2)).astype(np.float32)


def latents(c, t, seed=0):
    rng = np.random.default_rng(seed)
    return rng.choice(np.array([0] * 8 + [1, -1, 2, -3, 127, -127, -128], np.int8), (c, t))


def orthonormal(hop, inputs):
    mix = np.linalg.qr(np.random.default_rng(1).normal(size=(inputs, inputs)))[0].astype(np.float32)
    source = np.repeat(np.arange(inputs, dtype=np.int8), hop)
    return LappedTransform(hop, mix, source, np.tile(mdct_basis(hop), (inputs, 1)).astype(np.float32))


@pytest.fixture(params=["reference", *(kernel.kernel_paths() if kernel else [])])
def path(request, monkeypatch):
    if request.param == "reference":
        monkeypatch.setattr(native, "kernel", None)
        yield request.param
    else:
        kernel.force_path(request.param)
        yield request.param
        kernel.force_path(None)


def on_reference(call):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "kernel", None)
        return call()


# --- what the transform is ---


@pytest.mark.parametrize("hop", [8, 32, 256])
def test_the_mdct_is_orthonormal(hop):
    basis = mdct_basis(hop)
    np.testing.assert_allclose(basis @ basis.T, np.eye(hop), atol=1e-12)
    # and so to the instants beside it
    np.testing.assert_allclose(basis[:, hop:] @ basis[:, :hop].T, 0, atol=1e-12)


def rebuilt(codec, coefs, n):
    """The signal of coefficients as they are, by finer and finer latents, each of what the last one left."""
    c = len(coefs)
    out, scale, delta = np.zeros((n, codec.inputs)), np.float32(1), np.zeros((c, 2), np.float32)
    left = coefs.astype(np.float64)
    while scale > 1e-9:
        values = np.clip(np.round(left / scale), -127, 127).astype(np.int8)
        out += codec.latent_to_signal(values, n, np.full(c, scale), delta)
        left -= values * np.float64(scale)
        scale = np.float32(scale / 200)
    return out


@pytest.mark.parametrize("hop", [32, 256])
@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_perfect_reconstruction(path, hop, inputs):
    codec = orthonormal(hop, inputs)
    lengths = {1, 2, hop // 2 - 1, hop // 2, hop // 2 + 1, hop - 1, hop, hop + 1, 3 * hop - 5}
    for n in sorted(lengths):
        audio = signal(n, inputs, n)
        coefs = codec.signal_to_coefficients(audio, np.ones(hop * inputs, np.float32))
        assert coefs.shape == (hop * inputs, codec.instants(n))
        np.testing.assert_allclose(rebuilt(codec, coefs, n), audio, atol=2e-6)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 300), inputs=st.integers(1, 3), seed=st.integers(0, 99))
def test_perfect_reconstruction_of_any_length(n, inputs, seed):
    codec, audio = orthonormal(8, inputs), signal(n, inputs, seed)
    coefs = codec.signal_to_coefficients(audio, np.ones(8 * inputs, np.float32))
    np.testing.assert_allclose(rebuilt(codec, coefs, n), audio, atol=2e-6)


def test_error_of_coefficients_is_error_of_samples():
    codec, n, step = orthonormal(32, 2), 640, np.float32(0.25)
    c, audio = 64, signal(640, 2)
    inverse, half = np.full(c, 1 / step), np.full(c, 0.5, np.float32)
    coefs = codec.signal_to_coefficients(audio, np.ones(c, np.float32))
    latent, _ = codec.signal_to_latent(audio, inverse, half)
    back = codec.latent_to_signal(latent, n, np.full(c, step), np.zeros((c, 2), np.float32))
    np.testing.assert_allclose(np.sum((back - audio) ** 2), np.sum((latent * step - coefs) ** 2), rtol=1e-4)


def test_no_fold_is_so_near_a_tie_that_the_sine_of_a_machine_matters():
    for hop in range(8, 1025, 2):
        sines = np.sin(np.pi * (2 * np.arange(hop) + 1) / (4 * hop))
        for nudge in (-4e-16, 4e-16):
            np.testing.assert_array_equal(sines.astype(np.float32), (sines * (1 + nudge)).astype(np.float32))


# --- symmetries ---


def test_polarity(path):
    codec, audio = transform(32, 2, 40), signal(1000, 2)
    inverse, rounding, *_ = steps(40)
    latent, outside = codec.signal_to_latent(audio, inverse, rounding)
    negative, as_many = codec.signal_to_latent(-audio, inverse, rounding)
    assert np.count_nonzero(latent) > latent.size / 2
    same_bits(negative, -latent)
    assert outside == as_many


def test_swapped_channels(path):
    half = np.float32(0.5**0.5)
    made = transform(32, 2, 40)
    codec = LappedTransform(32, np.array([[half, half], [half, -half]]), made.source, made.basis)
    inverse, rounding, scale, delta = steps(40)
    audio = signal(1000, 2)
    latent, _ = codec.signal_to_latent(audio, inverse, rounding)
    swapped, _ = codec.signal_to_latent(np.ascontiguousarray(audio[:, ::-1]), inverse, rounding)
    same_bits(swapped, np.where(codec.source[:, None] == 1, -latent, latent))
    back = codec.latent_to_signal(latent, 1000, scale, delta)
    same_bits(codec.latent_to_signal(swapped, 1000, scale, delta), np.ascontiguousarray(back[:, ::-1]))


# --- the same bits everywhere ---

# Hops that are and are not whole vectors; channels around the size of a panel; instants around those of a group.
SIZES = [(8, 1, 1, 1), (8, 2, 5, 9), (10, 3, 16, 121), (32, 2, 17, 32 * 12), (34, 1, 33, 34 * 25 + 3)]
SIZES += [(256, 2, 108, 256 * 30 - 1), (1024, 2, 3, 1500), (8, 16, 40, 40000), (74, 5, 0, 300)]


@needs_kernel
@pytest.mark.parametrize(("hop", "inputs", "c", "n"), SIZES)
def test_analysis_is_the_reference(path, hop, inputs, c, n):
    codec, audio = transform(hop, inputs, c), signal(n, inputs)
    inverse, rounding, *_ = steps(c)

    def call():
        return codec.signal_to_coefficients(audio, inverse), *codec.signal_to_latent(audio, inverse, rounding)

    coefs, latent, outside = call()
    expected_coefs, expected, expected_outside = on_reference(call)
    same_bits(coefs, expected_coefs)
    same_bits(latent, expected)
    assert outside == expected_outside == np.count_nonzero(np.abs(coefs) + rounding[:, None] >= 128)


@needs_kernel
@pytest.mark.parametrize(("hop", "inputs", "c", "n"), SIZES)
def test_synthesis_is_the_reference(path, hop, inputs, c, n):
    codec = transform(hop, inputs, c)
    *_, scale, delta = steps(c)
    for given_channels in {0, 1, c // 2, c} if c else {0}:
        latent = latents(c, codec.instants(n))[:given_channels]

        def call(latent=latent):
            return codec.latent_to_signal(latent, n, scale, delta)

        same_bits(call(), on_reference(call))


@settings(deadline=None, max_examples=60)
@given(
    hop=st.sampled_from([8, 10, 32]),
    inputs=st.integers(1, 3),
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=8).filter(any),
)
def test_blocks_of_any_sizes_are_the_whole(hop, inputs, sizes):
    codec, audio = transform(hop, inputs, 9), signal(sum(sizes), inputs)
    inverse, rounding, *_ = steps(9)
    whole, outside = codec.signal_to_latent(audio, inverse, rounding)
    blocks = np.split(audio, np.cumsum(sizes)[:-1])
    runs = list(codec.latents(blocks, inverse, rounding))
    same_bits(np.concatenate([latent for latent, _ in runs], axis=1), whole)
    assert sum(count for _, count in runs) == outside


@settings(deadline=None, max_examples=100)
@given(hop=st.sampled_from([8, 10, 32]), inputs=st.integers(1, 3), n=st.integers(1, 1500), data=st.data())
def test_any_samples_are_those_of_the_whole(hop, inputs, n, data):
    codec, t = transform(hop, inputs, 9), -(-n // hop)
    *_, scale, delta = steps(9)
    latent = latents(9, t)
    whole = codec.latent_to_signal(latent, n, scale, delta)
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    first, last = codec.needed(start, stop, t)
    same_bits(codec.latent_to_samples(latent[:, first:last], first, t, start, stop, scale, delta), whole[start:stop])
    if stop > start:  # more than is needed is as good, less is not enough
        more = data.draw(st.integers(0, first)), data.draw(st.integers(last, t))
        part = codec.latent_to_samples(latent[:, slice(*more)], more[0], t, start, stop, scale, delta)
        same_bits(part, whole[start:stop])
        for low, high in ((first + 1, last), (first, last - 1)):
            with pytest.raises(ArgumentError, match="instants"):
                codec.latent_to_samples(latent[:, low:high], low, t, start, stop, scale, delta)


def test_needed_instants_are_those_that_reach_the_samples():
    codec, t, n = transform(8, 1, 9), 12, 96
    *_, scale, delta = steps(9)
    reach = []
    for i in range(t):
        latent = np.zeros((9, t), np.int8)
        latent[:, i] = 1
        reach.append(codec.latent_to_signal(latent, n, scale, delta)[:, 0] != 0)
    for start in range(n):
        for stop in range(start + 1, n + 1):
            expected = [i for i in range(t) if reach[i][start:stop].any()]
            assert codec.needed(start, stop, t) == (expected[0], expected[-1] + 1)


def test_memory_does_not_grow_with_the_signal():
    codec = transform(32, 1, 3)
    block = signal(10_000, 1)
    inverse, rounding, *_ = steps(3)
    largest = max(latent.shape[1] for latent, _ in codec.latents([block] * 50, inverse, rounding))
    assert largest * 32 <= lapped.RUN_SAMPLES + 10_000


# --- what cannot be meant ---


@pytest.mark.parametrize(
    "changes",
    [
        {"hop": 31},
        {"hop": 4},
        {"hop": 1026},
        {"hop": 16},
        {"mix": np.zeros((0, 0), np.float32)},
        {"mix": np.zeros((2, 3), np.float32)},
        {"mix": np.eye(2)},
        {"mix": np.eye(17, dtype=np.float32)},
        {"source": np.zeros(3, np.int8)},
        {"source": np.full(4, 2, np.int8)},
        {"source": np.full(4, -1, np.int8)},
        {"basis": np.zeros((4, 64))},
        {"basis": np.zeros((4, 32), np.float32)},
    ],
)
def test_tables_that_cannot_be_meant(changes):
    made = transform(32, 2, 4)
    tables = {name: getattr(made, name) for name in ("hop", "mix", "source", "basis")}
    LappedTransform(**tables)
    with pytest.raises(ArgumentError):
        LappedTransform(**(tables | changes))


def test_arguments_that_cannot_be_meant():
    codec, audio = transform(32, 2, 4), signal(100, 2)
    inverse, rounding, scale, delta = steps(4)
    latent = latents(4, 4)
    for wrong in (audio[:0], audio[:, :1], audio.astype(np.float64), audio[:, 0]):
        with pytest.raises(ArgumentError):
            codec.signal_to_latent(wrong, inverse, rounding)
    with pytest.raises(ArgumentError, match="inverse"):
        codec.signal_to_coefficients(audio, inverse[:3])
    with pytest.raises(ArgumentError, match="inverse"):
        codec.signal_to_latent(audio, inverse.astype(np.float64), rounding)
    with pytest.raises(ArgumentError, match="rounding"):
        codec.signal_to_latent(audio, inverse, rounding[:3])
    for wrong in (latent[:, :3], latent.astype(np.int16), latents(5, 4), latent[0]):
        with pytest.raises(ArgumentError):
            codec.latent_to_signal(wrong, 100, scale, delta)
    with pytest.raises(ArgumentError, match="scale"):
        codec.latent_to_signal(latent, 100, scale[:3], delta)
    with pytest.raises(ArgumentError, match="delta"):
        codec.latent_to_signal(latent, 100, scale, delta[:, :1])
    for n in (0, 96, 129):
        with pytest.raises(ArgumentError):
            codec.latent_to_signal(latent, n, scale, delta)
    for start, stop in ((-1, 5), (5, 4), (0, 129)):
        with pytest.raises(ArgumentError):
            codec.needed(start, stop, 4)


def test_tables_and_arguments_in_any_memory_order(path):
    made, audio = transform(32, 2, 20), signal(500, 2)
    codec = LappedTransform(32, made.mix.T.copy().T, made.source, np.asfortranarray(made.basis))
    inverse, rounding, scale, delta = steps(20)
    latent, _ = made.signal_to_latent(audio, inverse, rounding)
    same_bits(codec.signal_to_latent(np.asfortranarray(audio), inverse, rounding)[0], latent)
    back = made.latent_to_signal(latent, 500, scale, delta)
    arrays = (np.asfortranarray(latent), 500, np.repeat(scale, 2)[::2], np.asfortranarray(delta))
    same_bits(codec.latent_to_signal(*arrays), back)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_numbers_that_are_none_end_nothing(path, value):
    codec, audio = transform(32, 2, 20), signal(500, 2)
    inverse, rounding, scale, delta = steps(20)
    audio[77] = value
    latent, outside = codec.signal_to_latent(audio, inverse, rounding)
    assert outside > 0
    assert latent.min() >= -127
    inverse[3] = scale[3] = value
    codec.signal_to_latent(audio, inverse, rounding)
    assert codec.latent_to_signal(latents(20, 16), 500, scale, delta).shape == (500, 2)


ANALYSIS = {
    "places": signal(24, 2),
    "mix": np.eye(2, dtype=np.float32),
    "panels": np.zeros((1, 16, 16), np.float32),
    "lanes": np.full((1, 16), -1, np.int32),
    "sources": np.ones(1, np.int32),
    "inverse": np.ones(3, np.float32),
    "rounding": np.ones(3, np.float32),
    "out": np.zeros((3, 2), np.int8),
}
SYNTHESIS = {
    "span": (0, 2, 0),
    "latent": latents(3, 2),
    "mix": np.eye(2, dtype=np.float32),
    "source": np.zeros(3, np.int8),
    "basis": np.zeros((3, 16), np.float32),
    "fold": np.zeros(8, np.float32),
    "scale": np.zeros(3, np.float32),
    "delta": np.zeros((3, 2), np.float32),
    "out": np.zeros((16, 2), np.float32),
}


@needs_kernel
@pytest.mark.parametrize(
    "changes",
    [
        {"places": signal(8, 2)},
        {"places": signal(23, 2)},
        {"places": signal(32, 2)},
        {"places": signal(24, 3)},
        {"mix": np.zeros((2, 3), np.float32)},
        {"mix": np.zeros((0, 0), np.float32)},
        {"mix": np.zeros((17, 17), np.float32)},
        {"panels": np.zeros((1, 18, 16), np.float32)},
        {"panels": np.zeros((1, 0, 16), np.float32)},
        {"panels": np.zeros((1, 4096, 16), np.float32)},
        {"panels": np.zeros((1, 16, 15), np.float32)},
        {"panels": np.zeros((2, 16, 16), np.float32)},
        {"lanes": np.full((1, 16), -2, np.int32)},
        {"lanes": np.full((1, 16), 3, np.int32)},
        {"lanes": np.full((1, 15), 1, np.int32)},
        {"sources": np.full(1, 2, np.int32)},
        {"sources": np.full(1, -1, np.int32)},
        {"inverse": np.ones(2, np.float32)},
        {"rounding": np.ones(2, np.float32)},
        {"out": np.zeros((3, 3), np.int8)},
        {"out": np.zeros((3, 2), np.float32)},
    ],
)
def test_kernel_refuses_analysis_that_contradicts_itself(changes):
    kernel.lapped_latent(*ANALYSIS.values())
    with pytest.raises(ValueError):
        kernel.lapped_latent(*(ANALYSIS | changes).values())


@needs_kernel
@pytest.mark.parametrize(
    "changes",
    [
        {"span": (1, 2, 0)},
        {"span": (0, 3, 8)},
        {"span": (0, 2, 1)},
        {"span": (0, 1, 0)},
        {"span": (-1, 2, 0)},
        {"span": (0, -2, 0)},
        {"span": (0, 2, -1)},
        {"span": (0, 2**62, 2**62)},
        {"span": (2**62, 2**63 - 1, 0)},
        {"span": (0, 2, 2**63 - 1)},
        {"latent": latents(4, 2)},
        {"mix": np.zeros((2, 1), np.float32)},
        {"source": np.full(3, 2, np.int8)},
        {"source": np.full(3, -1, np.int8)},
        {"source": np.zeros(2, np.int8)},
        {"basis": np.zeros((2, 16), np.float32)},
        {"basis": np.zeros((3, 18), np.float32)},
        {"basis": np.zeros((3, 0), np.float32)},
        {"fold": np.zeros(7, np.float32)},
        {"scale": np.zeros(2, np.float32)},
        {"delta": np.zeros((2, 2), np.float32)},
        {"delta": np.zeros((3, 1), np.float32)},
        {"out": np.zeros((17, 2), np.float32)},
        {"out": np.zeros((16, 1), np.float32)},
    ],
)
def test_kernel_refuses_synthesis_that_contradicts_itself(changes):
    kernel.lapped_samples(*SYNTHESIS.values())
    with pytest.raises(ValueError):
        kernel.lapped_samples(*(SYNTHESIS | changes).values())


@needs_kernel
def test_kernel_refuses_calls_without_a_span():
    for wrong in ([], [3], [(0, 1)], [(0, 2, 0)]):
        with pytest.raises(TypeError):
            kernel.lapped_samples(*wrong)
