"""Arrays that earlier releases wrote are read: `tests/golden/make_arrays.py` made them once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from paths import GOLDEN

import latentstore.zarr
from latentstore.codecs import load as codec_home

FOLDER = GOLDEN / "arrays" / "v1"
NAMES = {
    "v3": {"one", "tiles", "sharded", "planes", "latent", "latents", "prefix"},
    "v2": {"one", "tiles", "latents", "fortran"},
}
CASES = [(group, name) for group, names in NAMES.items() for name in sorted(names)]


def check(array: zarr.Array, group: str, name: str) -> None:
    with np.load(FOLDER / "values.npz") as values:
        expected = values[f"{group}/{name}"]
    found: Any = array[...]
    assert found.shape == expected.shape and found.dtype == expected.dtype
    # Latents are integers all the way; pixels come from floats.
    assert np.abs(found.astype(int) - expected).max() <= (found.dtype == np.uint8)
    assert np.array_equal(array[2], found[2]) and np.array_equal(array[1::3], found[1::3])


@pytest.mark.parametrize(("group", "name"), CASES)
def test_what_was_written_is_read(group: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_home, "_registered", {})
    check(latentstore.zarr.open(FOLDER / f"{group}.zarr", name), group, name)


@pytest.mark.parametrize("name", ["one", "tiles", "planes", "latent", "prefix"])
def test_by_zarr_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_home, "_registered", {})
    check(zarr.open_array(FOLDER / "v3.zarr", path=name, mode="r"), "v3", name)


def test_none_is_missing_or_left_over() -> None:
    for group, names in NAMES.items():
        there = {n for n in zarr.open_group(FOLDER / f"{group}.zarr", mode="r") if "artifact" not in n}
        assert there == names
    with np.load(FOLDER / "values.npz") as values:
        assert set(values.files) == {f"{group}/{name}" for group, name in CASES}
