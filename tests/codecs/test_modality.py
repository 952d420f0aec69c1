"""Modalities: what they say agrees with the codecs that carry them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from latentstore.codecs import load_codec, shipped
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.codecs.modality import AUDIO, IMAGE, MODALITIES, Modality, modality_of
from latentstore.codecs.reference.header import coder_lanes


@pytest.mark.parametrize("name", shipped())
def test_every_codec_carries_its_modality(name: str) -> None:
    codec = load_codec(name)
    assert codec.modality is modality_of(codec.mode)
    assert codec.mode in codec.modality.modes
    latent = np.zeros((1, codec.channels, 1, 3), np.int8)
    assert codec.modality.shaped(latent).ndim == 2 + codec.modality.axes
    codes = np.arange(-1, codec.modality.highest_quality + 2)
    steps = codes[codec.modality.has_steps(codes)]
    assert len(steps) and steps[0] >= 0 and steps[-1] <= codec.modality.highest_quality
    assert codec.scales()(int(steps[-1])).shape == (codec.channels,)


def test_names_and_modes_are_unlike() -> None:
    modes = [mode for one in MODALITIES for mode in one.modes]
    numbers = [number for one in MODALITIES for number in one.modes.values()]
    assert len(set(modes)) == len(modes) and len(set(numbers)) == len(numbers)
    assert len({one.name for one in MODALITIES}) == len(MODALITIES)


@pytest.mark.parametrize("modality", MODALITIES, ids=repr)
def test_a_modality_is_one_object(modality: Modality) -> None:
    assert pickle.loads(pickle.dumps(modality)) is modality


@pytest.mark.parametrize(("modality", "size"), [(IMAGE, (640, 480, 0)), (AUDIO, (44_101, 1, 44_100))], ids=repr)
def test_headers_come_back(modality: Modality, size: tuple[int, int, int]) -> None:
    modality.check(*size)
    assert modality.from_header(*modality.header_numbers(*size)) == size


@pytest.mark.parametrize(
    ("modality", "size"),
    [
        (IMAGE, (0, 1, 0)),
        (IMAGE, (1 << 15, 1 << 14, 0)),
        (IMAGE, (1, (1 << 19) + 1, 0)),
        (AUDIO, (0, 1, 1)),
        (AUDIO, (1 << 35, 1, 1)),
        (AUDIO, (1, 1, 0)),
        (AUDIO, (1, 1, 1 << 28)),
    ],
    ids=repr,
)
def test_sizes_that_cannot_be(modality: Modality, size: tuple[int, int, int]) -> None:
    with pytest.raises(ArgumentError):
        modality.check(*size)


@pytest.mark.parametrize(("modality", "numbers"), [(IMAGE, (0, 5)), (AUDIO, (0, 8000)), (AUDIO, (5, 0))], ids=repr)
def test_headers_that_cannot_be(modality: Modality, numbers: tuple[int, int]) -> None:
    with pytest.raises(CorruptError):
        modality.from_header(*numbers)


def test_lanes_are_those_of_the_reference() -> None:
    for height in (1, 7, 36, 64, 300):
        for width in (1, 3, 36, 64, 1030):
            assert IMAGE.lanes(height, width) == coder_lanes(height, width)
            assert AUDIO.lanes(height, width) == 1


@pytest.mark.parametrize("fields", [{}, {"step": np.array([1, 256])}, {"step": np.array([0.5])}, {"step": ["a"]}])
def test_step_codes_that_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises(CorruptError, match="here: its samples do not all have a step code"):
        AUDIO.step_codes(fields, "here")
    assert IMAGE.step_codes(fields, "here") is None
