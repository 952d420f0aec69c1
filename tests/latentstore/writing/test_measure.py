"""Measuring samples: the statistics of their latents, and what is refused before it is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.writing import Sample, measure


@pytest.mark.parametrize("extent", [1, 1 << 24])
@pytest.mark.parametrize("size", [(40, 56), None])
def test_moments_do_not_depend_on_runs(
    codec: Any, make_samples: Any, size: Any, extent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "RUN_EXTENT", extent)
    samples, latents = make_samples(9, size)
    moments = measure.measure(codec, size, samples, "here")
    flat = np.concatenate([latent.reshape(codec.channels, -1) for latent in latents], axis=1).astype(np.int64)
    assert moments.codes.tolist() == [0] and moments.positions.tolist() == [flat.shape[1]]
    np.testing.assert_array_equal(moments.sums[0], flat.sum(axis=1))
    np.testing.assert_array_equal(moments.squares[0], (flat * flat).sum(axis=1))


def test_runs_are_of_one_size_and_bounded(make_samples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make_samples(1, (8, 8))[0][0], make_samples(1, (8, 16))[0][0]
    samples = [one, one, one, other, one]
    monkeypatch.setattr(measure, "RUN_EXTENT", 128)
    assert [len(run) for run in measure._runs(samples)] == [2, 1, 1, 1]
    assert [sample for run in measure._runs(samples) for sample in run] == samples
    assert measure._runs([]) == []


def test_bad_images_are_named(codec: Any, make_samples: Any) -> None:
    good = make_samples(3, (8, 8))[0]
    for bad, error, said in (
        (replace(good[1], height=9), ArgumentError, r"its \(height, width\) is \(9, 8\), and in this store it is"),
        (replace(good[1], groups=good[1].groups[:3]), ArgumentError, "it has 3 group blobs, and samples of .* have 4"),
        (replace(good[1], groups=[good[1].groups[0][:-1], *good[1].groups[1:]]), CorruptError, "."),
    ):
        with pytest.raises(error, match=f"shard 5, 'a b/é 0001': {said}"):
            measure.measure(codec, (8, 8), [good[0], bad, good[2]], "shard 5")


def test_audio_has_a_rate_and_a_step() -> None:
    codec = latentstore.load_codec("mono-f32c32")
    groups = codec.compress_groups(np.zeros((64, 1), np.float32))
    fields = {"rate": 8000, **codec.sample_fields(groups)}
    moments = measure.measure(codec, (1, 64), [Sample("k", groups, 64, 1, fields)], "here")
    assert moments.codes.tolist() == [fields["step"]] and moments.positions.tolist() == [2]
    for change, said in (
        ({"rate": None}, "audio needs the field 'rate', a whole number"),
        ({"step": 2.0}, "audio needs the field 'step', a whole number"),
        ({"step": 256}, "its step code is 256, expected 1 to 32511"),
        ({"step": 0}, "its step code is 0, expected 1 to 32511"),
    ):
        with pytest.raises(ArgumentError, match=f"here, 'k': {said}"):
            measure.measure(codec, (1, 64), [Sample("k", groups, 64, 1, {**fields, **change})], "here")
