"""Coding by steps: the error that is declared, every shape, every value, batches, and payloads that are damaged."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from step_tensors.correlated import tensor, tensors

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, CorruptError, TruncatedError
from latentstore.codecs.native import kernel
from latentstore.codecs.reference import stand_in
from latentstore.codecs.tensors.frame import NO_HEADS
from latentstore.codecs.tensors.step.coding import StepCoding

SHAPES = [
    ((5,), 0), ((3, 1), 0), ((1, 3), 1), ((4, 17), 0), ((17, 4), 1), ((3, 5, 7), 0), ((5, 7, 3), 2), ((5, 3, 7), 1),
    ((2, 3, 4, 5), 0), ((2, 3, 4, 5), 1), ((3, 4, 2, 5), 2), ((2, 1, 3, 4, 5), 1), ((2, 2, 2, 3, 3), 4),
    ((1, 91, 91), 0), ((130, 64), 1), ((6, 37, 38), 0),
]  # fmt: skip
TYPES = {np.float32: 24, np.float16: 11, np.uint16: 8}
"""Bits of precision of the outputs."""


@pytest.fixture(autouse=True)
def best_path() -> Iterator[None]:
    yield
    if kernel is not None:
        kernel.force_path(None)


def fitted(shape: tuple[int, ...], axis: int, snr: float = 30.0) -> StepCoding:
    return StepCoding.fit(tensors(4, shape, axis), channel_axis=axis, snr=snr)


def by_steps(shape: tuple[int, ...], axis: int) -> StepCoding:
    """With steps that are given."""
    steps = np.float32(0.1) + np.arange(shape[axis], dtype=np.float32) / 100
    return StepCoding.fit(tensors(4, shape, axis), channel_axis=axis, steps=steps)


def finely(coding: StepCoding) -> StepCoding:
    """The same, but with residuals of sets."""
    return StepCoding.of({**coding.parts(), "fine": np.ones(coding.channels, np.uint8)}, "test")


def decoded(coding: StepCoding, payloads: list[bytes], shapes: list[tuple[int, ...]], kind: type) -> list[np.ndarray]:
    """All payloads in one call, each from its own place in one buffer."""
    gaps = [b"\xff" * (7 * i % 5) for i in range(len(payloads))]
    lengths = np.array([len(p) for p in payloads], np.int64)
    starts = np.cumsum([len(g) + len(p) for g, p in zip(gaps, payloads, strict=True)]) - lengths
    buffer = b"".join(g + p for g, p in zip(gaps, payloads, strict=True))
    outputs = [np.full(shape, 99, kind) for shape in shapes]
    blobs = Blobs([buffer], np.zeros(len(payloads), np.int32), starts.astype(np.int64), lengths)
    (coding.decode_steps if kind is np.int32 else coding.decode)(blobs, shapes, outputs)
    return outputs


def along(coding: StepCoding, shape: tuple[int, ...]) -> np.ndarray:
    """The step of every value."""
    column = [1] * len(shape)
    column[coding.channel_axis] = -1
    return np.broadcast_to(coding.steps.reshape(column), shape)


def as_float(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_values_come_back_within_half_a_step(shape: tuple[int, ...], axis: int) -> None:
    coding = by_steps(shape, axis)
    assert not coding.parts()["fine"].any()
    values = tensor(shape, axis, 99)
    payload = coding.encode([values])[0]
    steps = along(coding, shape).astype(np.float64)
    whole = decoded(coding, [payload], [shape], np.int32)[0]
    np.testing.assert_array_equal(whole, np.rint(values / along(coding, shape)))
    for kind, bits in TYPES.items():
        got = as_float(decoded(coding, [payload], [shape], kind)[0])
        allowed = steps * 0.5001 + np.abs(values) * 2.0**-bits * 1.01 + (6e-8 if kind is np.float16 else 0)
        assert (np.abs(got - values) <= allowed).all()


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_values_of_fine_channels_come_back_within_four_steps(shape: tuple[int, ...], axis: int) -> None:
    coding = finely(fitted(shape, axis))
    values = tensor(shape, axis, 99)
    whole = decoded(coding, coding.encode([values]), [shape], np.int32)[0]
    assert (np.abs(whole - values / along(coding, shape).astype(np.float64)) < 4.01).all()


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_every_path_gives_the_bytes_of_the_reference(shape: tuple[int, ...], axis: int) -> None:
    if kernel is None:
        pytest.skip("no kernel was built: there is nothing to compare")
    coding = finely(fitted(shape, axis)) if axis else fitted(shape, axis)
    values = tensor(shape, axis, 99)
    values.reshape(-1)[:: max(1, values.size // 3)] *= 3000  # escapes
    parts = [a.view(np.int16) if a.dtype == np.uint16 else a for n, a in coding.parts().items() if n != "channel_axis"]
    slow = StepCoding(coding.parts(), None)
    number = np.array(slow._shape(shape), np.int64)
    flat = np.ascontiguousarray(np.moveaxis(values, axis, 0)).reshape(-1)
    coder = stand_in.tensor_new(*parts)
    status, _, (payload,) = stand_in.tensor_encode(coder, [flat], number[None], np.zeros(1, np.uint8), [], NO_HEADS)
    assert not status
    for path in kernel.kernel_paths():
        kernel.force_path(path)
        assert coding.encode([values])[0] == payload
    for kind, code in ((np.float32, 0), (np.float16, 1), (np.uint16, 2), (np.int32, 3)):
        expected = np.zeros(values.size, kind)
        zero, size = np.zeros(1, np.int64), np.array([len(payload)])
        assert stand_in.tensor_decode(
            coder, [payload], zero.astype(np.int32), zero, size, number[None], np.array([code], np.uint8), [expected]
        ) == (0, -1)
        for path in kernel.kernel_paths():
            kernel.force_path(path)
            got = decoded(coding, [payload], [shape], kind)[0].reshape(-1)
            np.testing.assert_array_equal(got.view(np.uint8), expected.view(np.uint8))


@functools.cache
def three_steps() -> StepCoding:
    return StepCoding.fit(tensors(2, (3, 6, 6)), channel_axis=0, steps=np.array([0.5, 2.0, 1e-3], np.float32))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_shape_and_any_value(data: st.DataObject) -> None:
    """A coding that was fitted to other shapes and other values loses nothing but steps."""
    rank = data.draw(st.integers(1, 5))
    shape = data.draw(st.lists(st.integers(0, 9), min_size=rank, max_size=rank))
    axis = data.draw(st.integers(0, rank - 1))
    shape[axis] = 3
    coding = StepCoding.of({**three_steps().parts(), "channel_axis": np.array([axis], np.int32)}, "test")
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    size = 10.0 ** rng.uniform(-3, data.draw(st.floats(-2, 6)), shape)
    values = (rng.standard_normal(shape) * size).clip(-2e6, 2e6).astype(np.float32)
    exact = values / along(coding, tuple(shape))
    whole = decoded(coding, [coding.encode([values])[0]], [tuple(shape)], np.int32)[0]
    np.testing.assert_array_equal(whole, np.rint(exact))
    fine = finely(coding)
    whole = decoded(fine, fine.encode([values]), [tuple(shape)], np.int32)[0]
    assert (np.abs(whole - exact.astype(np.float64)) < 4.01).all()


def test_many_shapes_are_decoded_in_one_call() -> None:
    """Full vectors, parts of vectors, every number of lanes, and empty tensors between."""
    coding = fitted((4, 16, 16), 0)
    shapes = [(4, 16, 16)] * 19 + [(4, 64, 48)] * 3 + [(4, 0, 5)] + [(4, 45, 91)] * 2 + [(4, 160, 161), (4, 1, 1)] * 2
    shapes = [shapes[i] for i in np.random.default_rng(3).permutation(len(shapes))]
    values = [tensor(shape, 0, i) if np.prod(shape) else np.zeros(shape, np.float32) for i, shape in enumerate(shapes)]
    payloads = [coding.encode([v])[0] for v in values]
    assert coding.encode(values) == payloads
    for kind in (np.float32, np.float16, np.uint16, np.int32):
        for got, payload, shape in zip(decoded(coding, payloads, shapes, kind), payloads, shapes, strict=True):
            np.testing.assert_array_equal(got, decoded(coding, [payload], [shape], kind)[0])
    assert coding.parts()["fine"].all()
    for got, v in zip(decoded(coding, payloads, shapes, np.int32), values, strict=True):
        assert (np.abs(got - v / along(coding, v.shape).astype(np.float64)) < 4.01).all()


def test_small_types_are_coded_as_the_floats_that_they_are(path: str) -> None:
    """Every finite number of 16 bits, by every path and the reference."""
    coding = StepCoding.fit(tensors(2, (3, 6, 6)), channel_axis=0, steps=np.array([0.5, 2.0, 1e-3], np.float32))
    every = np.arange(1 << 16, dtype=np.uint16)
    halves = every.view(np.float16)[np.isfinite(every.view(np.float16))].reshape(1, 1, -1)
    brains = every[(every & 0x7F80) < 0x7F80]
    brains = brains[np.abs(as_float(brains)) < 1e6].reshape(1, 1, -1)
    for values in (halves, brains):
        some = values if path != "reference" else values[..., ::97]
        stack = np.concatenate([some, some, np.zeros_like(some)])
        floats = as_float(stack).astype(np.float32)
        for one in (coding, finely(coding)):
            assert one.encode([stack]) == one.encode([floats])


@pytest.mark.parametrize("shape", [(3, 80, 81), (4, 96, 96), (5, 120, 121)])
def test_paths_agree_where_many_lanes_read(shape: tuple[int, ...]) -> None:
    coding = fitted((shape[0], 16, 16), 0, 45)
    values = tensor(shape, 0, 1)
    values[1, 7, :9] *= 3000
    results = []
    for path in kernel.kernel_paths() if kernel else []:
        kernel.force_path(path)
        payload = coding.encode([values])[0]
        results.append((payload, *(decoded(coding, [payload] * 3, [shape] * 3, t)[2].tobytes() for t in TYPES)))
    assert all(result == results[0] for result in results)


def test_prediction_is_worth_half_a_bit() -> None:
    """Beside what each channel's own frequencies would take."""
    samples = tensors(12, (6, 32, 32))
    coding = StepCoding.fit(samples[:6], channel_axis=0, steps=uniform_steps(samples, 30))
    bits = values = 0.0
    for sample in samples[6:]:
        bits += 8 * len(coding.encode([sample])[0])
    for channel in range(6):
        whole = np.rint(np.stack([s[channel] for s in samples[6:]]) / coding.steps[channel])
        share = np.unique(whole, return_counts=True)[1] / whole.size
        values -= whole.size * (share * np.log2(share)).sum()
    assert bits < values - 0.5 * 6 * samples[0].size


def uniform_steps(samples: list[np.ndarray], snr: float) -> np.ndarray:
    """Those at which values that are rounded have that SNR."""
    return np.sqrt(12 * np.stack(samples).var(axis=(0, 2, 3)) / 10 ** (snr / 10))


@pytest.mark.parametrize("shape", [(3, 24, 24), (3, 3, 400), (4, 1, 1)])
def test_a_trellis_saves_bits_where_phases_are_long(shape: tuple[int, ...]) -> None:
    """At the same error; it is not used where a phase has one value."""
    samples = tensors(8, shape)
    fine = StepCoding.fit(samples, channel_axis=0, snr=30)
    coarse = StepCoding.fit(samples, channel_axis=0, steps=uniform_steps(samples, 30))
    bits = [sum(map(len, coding.encode(samples))) / samples[0].size for coding in (fine, coarse)]
    assert fine.parts()["fine"].all() == (shape[1] > 1)
    assert bits[0] < bits[1] - 0.1 if shape[1] > 1 else bits[0] == bits[1]


def test_no_trellis_where_it_costs_bits() -> None:
    """Two values, which rounding hits."""
    samples = [(s > s.mean(axis=(1, 2), keepdims=True)).astype(np.float32) for s in tensors(8, (3, 24, 24))]
    assert not StepCoding.fit(samples, channel_axis=0, snr=40).parts()["fine"].any()


@pytest.mark.parametrize("wanted", [10, 35, 60])
def test_the_snr_is_kept(wanted: float) -> None:
    samples = tensors(6, (3, 24, 24))
    coding = StepCoding.fit(samples, channel_axis=0, snr=wanted)
    got = [decoded(coding, [coding.encode([s])[0]], [s.shape], np.float32)[0] for s in samples]
    error = np.square(np.stack(got) - np.stack(samples)).mean(axis=(0, 2, 3))
    snr = 10 * np.log10(np.stack(samples).var(axis=(0, 2, 3)) / error)
    assert (np.abs(snr - wanted) < 0.3).all()


def test_little_data_takes_few_bytes() -> None:
    coding = fitted((4, 4, 4), 0)
    assert len(coding.encode([tensor((4, 4, 4), 0, 9)])[0]) < 64 * 7 / 8 + 8
    assert coding.encode([np.zeros((4, 0, 4), np.float32)])[0] == b""


@pytest.mark.parametrize("path", kernel.kernel_paths() if kernel else ["reference"])
def test_types_are_rounded_to_the_nearest_and_never_to_infinity(path: str) -> None:
    if kernel is not None:
        kernel.force_path(path)
    coding = StepCoding.fit(tensors(2, (1, 40)), channel_axis=0, steps=1.0)
    steps = np.array([2.0**-14 * 1.37, 1e-6, 37.0, 2.0**100 * 1.1, 2.0**-140], np.float32)
    for step in steps:
        parts = {**coding.parts(), "steps": np.array([step], np.float32)}
        one = StepCoding.of(parts, "test")
        whole = np.arange(-2000, 2000, 7, dtype=np.int64).reshape(1, -1)
        values = (whole * step.astype(np.float64)).clip(-3e38, 3e38).astype(np.float32)
        payload = one.encode([values])[0]
        exact = decoded(one, [payload], [values.shape], np.int32)[0].astype(np.float32) * step
        np.testing.assert_array_equal(decoded(one, [payload], [values.shape], np.float32)[0], exact)
        half = decoded(one, [payload], [values.shape], np.float16)[0]
        np.testing.assert_array_equal(half, exact.clip(-65504, 65504).astype(np.float16))
        bits = exact.view(np.uint32).astype(np.int64)
        size = bits & 0x7FFFFFFF
        expected = (bits >> 31 << 15) + np.minimum(0x7F7F, (size + 0x7FFF + (size >> 16 & 1)) >> 16)
        np.testing.assert_array_equal(decoded(one, [payload], [values.shape], np.uint16)[0], expected)


def test_values_at_the_edge_of_a_type_stay_finite() -> None:
    coding = StepCoding.fit([np.full((1, 8), 65000, np.float32)], channel_axis=0, steps=100.0)
    values = np.array([[65504.0, -65504.0, 65460.0]], np.float32)
    got = decoded(coding, [coding.encode([values])[0]], [values.shape], np.float16)[0]
    assert np.isfinite(got).all()
    largest = np.finfo(np.float32).max
    coding = StepCoding.fit([np.full((1, 8), 1e38, np.float32)], channel_axis=0, steps=3e37)
    values = np.array([[largest, -largest]], np.float32)
    for kind in TYPES:
        assert np.isfinite(as_float(decoded(coding, [coding.encode([values])[0]], [values.shape], kind)[0])).all()


def test_the_largest_multiples_of_fine_channels(path: str) -> None:
    coding = finely(StepCoding.fit(tensors(2, (2, 6, 6)), channel_axis=0, steps=1.0))
    largest = np.float32(2147483392)
    values = np.array([[[largest, -largest, 3, 0.4], [largest, 0, -largest, -7]]] * 2, np.float32)
    whole = decoded(coding, coding.encode([values]), [values.shape], np.int32)[0]
    assert (np.abs(whole.astype(np.float64) - values) < 4.01).all()
    values[1, 0, 0] = 2147483520
    with pytest.raises(ArgumentError, match="larger steps"):
        coding.encode([values])


def test_what_cannot_be_coded_is_refused() -> None:
    coding = StepCoding.fit(tensors(2, (3, 8)), channel_axis=0, steps=1e-3)
    good = np.zeros((3, 8), np.float32)
    bad = {"larger steps": np.full((3, 8), 1e8), "3 channels": np.zeros((4, 8)), "NaN": np.full((3, 8), np.nan)}
    for said, array in bad.items():
        with pytest.raises(ArgumentError, match=said) as caught:
            coding.encode([good, array.astype(np.float32), good])
        assert caught.value.index == 1
    for array in (np.float16([np.inf] * 8), np.uint16([0x7F80] * 8), np.float32([-np.inf] * 8)):
        with pytest.raises(ArgumentError, match="infinity"):
            coding.encode([good, np.stack([array] * 3)])
    with pytest.raises(ArgumentError, match="float64"):
        coding.encode([np.zeros((3, 8))])
    with pytest.raises(ArgumentError, match="C-contiguous"):
        decoded(coding, [coding.encode([np.zeros((3, 8), np.float32)])[0]], [(3, 8)], np.float64)
    with pytest.raises(ArgumentError, match="do not match"):
        coding.decode(Blobs.whole([b""]), [], [])


def test_what_cannot_be_fitted_is_refused() -> None:
    good = np.ones((3, 8), np.float32)
    for samples, options, said in (
        ([], {"snr": 40}, "no sample"),
        ([np.zeros((3, 0), np.float32)], {"snr": 40}, "no sample"),
        ([good, good.astype(np.float64)], {"snr": 40}, "Sample 1 must be float32"),
        ([good, np.ones((4, 8), np.float32)], {"snr": 40}, "Sample 1 has 4 channels"),
        ([good, good * np.nan], {"snr": 40}, "Sample 1 holds NaN"),
        ([good], {}, "not both"),
        ([good], {"snr": 40, "steps": 1.0}, "not both"),
        ([good], {"snr": np.inf}, "SNR of inf"),
        ([good], {"steps": 0.0}, "above 0"),
        ([good], {"steps": [1.0, 2.0]}, "3 channels"),
        ([good], {"steps": 1e300}, "float32"),
    ):
        with pytest.raises(ArgumentError, match=said):
            StepCoding.fit(samples, channel_axis=0, **options)
    with pytest.raises(ArgumentError, match="axis 2"):
        StepCoding.fit([good], channel_axis=2, snr=40)


@pytest.mark.parametrize("shape", [(4, 9, 9), (2, 70, 70)])
def test_damaged_payloads_are_refused_or_decoded_to_something(shape: tuple[int, ...]) -> None:
    coding = fitted(shape, 0)
    values = tensor(shape, 0, 5)
    values[0, 0, :3] *= 4000
    payload = coding.encode([values])[0]
    rng = np.random.default_rng(0)
    for path in kernel.kernel_paths() if kernel else ["reference"]:
        if kernel is not None:
            kernel.force_path(path)
        elif len(payload) > 1000:
            return
        for cut in [*range(20), *rng.integers(0, len(payload), 40)]:
            with pytest.raises(CorruptError) as caught:
                decoded(coding, [payload, payload[:cut], payload], [shape] * 3, np.float16)
            assert caught.value.index == 1
        found = 0
        for _ in range(150):
            bad = bytearray(payload)
            bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
            try:
                decoded(coding, [bytes(bad)], [shape], np.int32)
            except CorruptError as error:
                found += error.index == 0
        assert found > 50  # low bits and escapes may be anything: only a checksum around the payload finds these
        with pytest.raises(CorruptError):
            decoded(coding, [payload + b"\0"], [shape], np.float32)


def test_few_bytes_for_many_values_are_refused_before_memory_is_taken() -> None:
    """The output is the caller's, here one that takes no memory until it is written."""
    coding = fitted((1, 8, 8), 0)
    with pytest.raises(TruncatedError):
        decoded(coding, [b"\0" * 7], [(1, 300, 300)], np.float16)
    with pytest.raises(CorruptError, match="damaged"):
        decoded(coding, [bytes(80)], [(1, 4096, 4096)], np.float16)


@pytest.mark.parametrize("snr", [25.0, 45.0])
def test_zeros_of_a_rectifier_have_a_symbol_of_their_own(snr: float) -> None:
    samples = [np.maximum(s - s.mean(axis=(1, 2), keepdims=True), 0) for s in tensors(8, (6, 24, 24))]
    for sample in samples:
        sample[2] -= 1  # a spike that is not at 0 is none
    coding = StepCoding.fit(samples[:4], channel_axis=0, snr=snr)
    np.testing.assert_array_equal(coding.parts()["spiked"], [1, 1, 0, 1, 1, 1])
    number = np.array(coding._shape((6, 24, 24)), np.int64)
    parts = [a.view(np.int16) if a.dtype == np.uint16 else a for n, a in coding.parts().items() if n != "channel_axis"]
    values = samples[7]
    values[1, 4, :6] *= 4000
    values[3, 4, :6] *= -1
    coder = stand_in.tensor_new(*parts)
    _, _, (payload,) = stand_in.tensor_encode(
        coder, [values.reshape(-1)], number[None], np.zeros(1, np.uint8), [], NO_HEADS
    )
    expected = np.zeros(values.size, np.int32)
    zero = np.zeros(1, np.int64)
    assert stand_in.tensor_decode(
        coder, [payload], zero.astype(np.int32), zero, np.array([len(payload)]), number[None],
        np.array([3], np.uint8), [expected],
    ) == (0, -1)  # fmt: skip
    expected = expected.reshape(values.shape)
    exact = values / coding.steps[:, None, None].astype(np.float64)
    assert (np.abs(expected - exact) < 4.01).all()
    assert (expected[[0, 1, 3, 4, 5]][np.abs(exact[[0, 1, 3, 4, 5]]) < 2] == 0).all()
    for path in kernel.kernel_paths() if kernel else ["reference"]:
        if kernel is not None:
            kernel.force_path(path)
        assert coding.encode([values])[0] == payload
        whole = decoded(coding, [payload], [values.shape], np.int32)[0]
        np.testing.assert_array_equal(whole, expected)


@pytest.mark.parametrize("snr", [1, 3, 20, 90])
def test_a_channel_that_never_changes_comes_back_exactly(snr: float) -> None:
    values = np.array([3.3, -0.007, 0, 1e4, 5e-39], np.float32)
    sample = np.broadcast_to(values[:, None, None], (5, 4, 6)).copy()
    coding = StepCoding.fit([sample, sample], channel_axis=0, snr=snr)
    (back,) = decoded(coding, coding.encode([sample]), [sample.shape], np.float32)
    np.testing.assert_array_equal(back[:4], sample[:4])
    assert np.abs(back[4]).max() < 2e-38  # next to the smallest step


def test_a_constant_channel_and_a_constant_tensor() -> None:
    samples = [
        np.stack([np.full((6, 6), 7.25), np.zeros((6, 6)), np.arange(36.0).reshape(6, 6)]).astype(np.float32)
    ] * 2
    coding = StepCoding.fit(samples, channel_axis=0, snr=40)
    got = decoded(coding, [coding.encode([samples[0]])[0]], [(3, 6, 6)], np.float32)[0]
    np.testing.assert_array_equal(coding.parts()["fine"][:2], [0, 0])
    assert (np.abs(got - samples[0]) <= along(coding, got.shape) * np.array([0.5001, 0, 4.01])[:, None, None]).all()
    assert coding.steps[0] < 0.3
    assert coding.steps[1] > 0


@pytest.mark.parametrize("seed", range(4))
def test_channels_that_others_predict_exactly(seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)
    same = np.stack([rows[i % 2] for i in range(6)])
    coding = StepCoding.fit([same] * 20, channel_axis=0, snr=40)  # warnings are errors
    out = np.empty_like(same)
    coding.decode(Blobs.whole(coding.encode([same])), [same.shape], [out])
    assert (np.abs(out - same) <= 0.5001 * coding.steps[:, None]).all()
    line = np.array([[0.0, -0.0, 1, 2]] * 4, np.float32)
    assert StepCoding.fit([line] * 20, channel_axis=0, snr=40).channels == 4
