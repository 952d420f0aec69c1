"""Whose tensors they are: what makes two encoders the same, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.loaders.tensors.encoder import Encoder, require_encoder

STATE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.int64)}


def test_json_and_back() -> None:
    encoder = Encoder("x", "ab" * 32, {"size": 256, "crop": ["centre", 0.5]}, scale=0.5, shift=(1, 2.5))
    assert Encoder.of_json(encoder.to_json(), "here") == encoder
    assert encoder.scale == 0.5 and encoder.shift == (1.0, 2.5)
    assert Encoder("x", scale=np.float32(2), shift=np.arange(2)).to_json()["shift"] == [0.0, 1.0]


@pytest.mark.parametrize("state", [
    {**STATE, "a": STATE["a"] + 1},
    {**STATE, "a": STATE["a"].reshape(3, 2)},
    {**STATE, "a": STATE["a"].view(np.int32)},
    {"c": STATE["a"], "b": STATE["b"]},
    {"a": STATE["a"]},
])  # fmt: skip
def test_every_change_of_weights_is_another_encoder(state: dict[str, Any]) -> None:
    assert Encoder.of_state_dict("x", state).sha256 != Encoder.of_state_dict("x", STATE).sha256


def test_the_order_of_weights_does_not_matter() -> None:
    assert Encoder.of_state_dict("x", dict(reversed(STATE.items()))) == Encoder.of_state_dict("x", STATE)


def test_weights_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    layer = torch.nn.Linear(3, 2)
    again = torch.nn.Linear(3, 2)
    one, two = (Encoder.of_state_dict("x", module.state_dict()) for module in (layer, again))
    assert one.sha256 != two.sha256
    again.load_state_dict(layer.state_dict())
    assert Encoder.of_state_dict("x", again.state_dict()) == one
    half = layer.to(torch.bfloat16).state_dict()
    assert Encoder.of_state_dict("x", half).sha256 not in (one.sha256, two.sha256)
    assert np.dtype(ml_dtypes.bfloat16).itemsize == 2


def test_weights_are_the_same_in_numpy_and_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    state = {"a": torch.arange(6.0).reshape(2, 3).T, "none": torch.zeros(0, 3), "count": torch.tensor(4)}
    arrays = {name: weight.numpy() for name, weight in state.items()}
    assert Encoder.of_state_dict("x", state) == Encoder.of_state_dict("x", arrays)
    meta = torch.empty(3, device="meta")
    for bad, said in [({}, "a dict of tensors"), (None, "are None"), ({1: meta}, "a dict of tensors"),
                      ({"a": 3}, "the weight 'a' of 'x' is 3"), ({"a": meta}, "a tensor with values")]:  # fmt: skip
        with pytest.raises(ArgumentError, match=said):
            Encoder.of_state_dict("x", bad)


@pytest.mark.parametrize("odd", [{"name": "\ud800"}, {"name": "x", "preprocessing": {"a": "\ud800"}}])
def test_text_that_cannot_be_stored(odd: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="no valid Unicode"):
        Encoder(**odd)


def test_weights_of_files(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(content)
    one = Encoder.of_files("x", [tmp_path / "a", tmp_path / "b"])
    assert one == Encoder.of_files("x", [tmp_path / "c", tmp_path / "b"]), "names of files do not count"
    assert one.sha256 != Encoder.of_files("x", [tmp_path / "b", tmp_path / "a"]).sha256
    with pytest.raises(ArgumentError, match="nothing, a file of the encoder 'x', cannot be read"):
        Encoder.of_files("x", [tmp_path / "nothing"])


def test_what_differs_is_named() -> None:
    one, two = Encoder("a", preprocessing={"size": 256}), Encoder("b", preprocessing={"size": 512})
    with pytest.raises(
        ArgumentError, match=r"of the encoder 'a', and 'b' is expected.*name: 'a' and 'b'; .*256 and 512"
    ):
        require_encoder(one, two, "the store")
    with pytest.raises(ArgumentError, match="does not say which encoder made it, and 'b' is expected"):
        require_encoder(None, two, "the store")
    require_encoder(one, Encoder("a", preprocessing={"size": 256}, scale=3.0), "a scale is no part of the identity")


@pytest.mark.parametrize(("arguments", "said"), [
    ({"name": ""}, "name is ''"),
    ({"name": "x", "sha256": "AB"}, "64 hexadecimal digits"),
    ({"name": "x", "preprocessing": {"f": object()}}, "what JSON holds"),
    ({"name": "x", "preprocessing": {"f": float("nan")}}, "what JSON holds"),
    ({"name": "x", "scale": "2"}, "scale of the encoder 'x' is '2'"),
    ({"name": "x", "scale": float("inf")}, "scale"),
    ({"name": "x", "shift": []}, "shift"),
    ({"name": "x", "shift": [True]}, "shift"),
])  # fmt: skip
def test_what_cannot_be_meant(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        Encoder(**arguments)


@pytest.mark.parametrize("value", [None, [], {}, {"name": "x"}, {**Encoder("x").to_json(), "sha256": 3}])
def test_a_damaged_manifest(value: Any) -> None:
    with pytest.raises(CorruptError, match="here: its encoder is damaged"):
        Encoder.of_json(value, "here")
