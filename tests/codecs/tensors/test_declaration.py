"""Declarations: what they take, what they refuse, and JSON."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.codecs.tensors.declaration import DTYPES, Tensor


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("float32", "float32"), (np.float16, "float16"), (ml_dtypes.bfloat16, "bfloat16"), (np.dtype("int8"), "int8"),
        (np.dtype(">i2"), "int16"), (np.int32, "int32"), ("uint8", "uint8"),
    ],
)  # fmt: skip
def test_dtypes(given: Any, name: str) -> None:
    assert Tensor(given).dtype == name and Tensor(given).values == DTYPES[name]


def test_dtypes_of_torch() -> None:
    torch = pytest.importorskip("torch")
    assert [Tensor(getattr(torch, name)).dtype for name in DTYPES] == list(DTYPES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dtype": "float64"}, "float64"),
        ({"dtype": float}, "float64"),
        ({"dtype": None}, "float64"),
        ({"dtype": object()}, "dtype is"),
        ({"dtype": "int64"}, "int64"),
        ({"dtype": "float16", "coding": "zip"}, "'zip'"),
        ({"dtype": "int8", "coding": "step"}, "not for int8"),
        ({"dtype": "float16", "coding": "codes", "vocabulary": 4}, "not for float16"),
        ({"dtype": "int16", "coding": "codes"}, "needs a vocabulary"),
        ({"dtype": "int8", "coding": "codes", "vocabulary": 129}, "ends at 127"),
        ({"dtype": "int32", "coding": "codes", "vocabulary": 65537}, "65537"),
        ({"dtype": "int32", "coding": "codes", "vocabulary": 0}, "vocabulary is 0"),
        ({"dtype": "int32", "coding": "codes", "vocabulary": 4.0}, "vocabulary is 4.0"),
        ({"dtype": "int32", "coding": "codes", "vocabulary": [4, True]}, "True"),
        ({"dtype": "int32", "coding": "codes", "vocabulary": []}, "0 numbers"),
        ({"dtype": "int32", "coding": "codes", "vocabulary": "4"}, "'4'"),
        ({"dtype": "int32", "vocabulary": 4}, "for the coding 'codes'"),
        ({"dtype": "float16", "steps": 1.0}, "for the coding 'step'"),
        ({"dtype": "float16", "snr": 20.0}, "for the coding 'step'"),
        ({"dtype": "float16", "coding": "step", "snr": 20.0, "steps": 0.1}, "not both"),
        ({"dtype": "float16", "nonfinite": "keep"}, "for the coding 'step'"),
        ({"dtype": "float16", "coding": "step", "nonfinite": "drop"}, "'drop'"),
        ({"dtype": "float16", "coding": "step", "snr": float("nan")}, "nan"),
        ({"dtype": "float16", "coding": "step", "snr": True}, "True"),
        ({"dtype": "float16", "coding": "step", "steps": [1.0, 0.0]}, "a step is 0"),
        ({"dtype": "float16", "coding": "step", "steps": float("inf")}, "inf"),
        ({"dtype": "float16", "channel_axis": 8}, "channel_axis is 8"),
        ({"dtype": "float16", "channel_axis": 1.0}, "channel_axis is 1.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=r".") as caught:
        Tensor(**arguments)
    assert said in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("float16"),
        Tensor("bfloat16", "step", snr=32, channel_axis=-1, nonfinite="keep"),
        Tensor("float32", "step", steps=np.array([0.5, 0.25])),
        Tensor("float32", "step", steps=2),
        Tensor("int16", "codes", vocabulary=1024),
        Tensor("uint8", "codes", vocabulary=(256, 64), channel_axis=1),
    ],
)
def test_json_and_back(tensor: Tensor) -> None:
    again = Tensor.of_json(json.loads(json.dumps(tensor.to_json())), "the file")
    assert again == tensor and hash(again) == hash(tensor)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": 5}, {"dtype": "float64"}, {"steps": {"a": 1}}, {"steps": "1"}, {"vocabulary": [1e400]},
        {"coding": None},
        {"snr": "40"}, {"channel_axis": None}, {"extra": 1}, {"steps": [[1]]}, {"vocabulary": True}, {"nonfinite": []},
    ],
)  # fmt: skip
def test_hostile_json(change: dict[str, Any]) -> None:
    with pytest.raises(CorruptError, match="the file declares"):
        Tensor.of_json(Tensor("float16").to_json() | change, "the file")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.fixed_dictionaries({name: JSON | st.just(value) for name, value in Tensor("float16").to_json().items()}))
def test_any_json_is_a_declaration_or_refused(value: Any) -> None:
    try:
        tensor = Tensor.of_json(value, "the file")
    except CorruptError:
        return
    assert Tensor.of_json(tensor.to_json(), "again") == tensor
