"""Decoder files: what is read back, and what is refused before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from tiny_decoders import tiny_parts

from latentstore.codecs.artifact.container import MAX_BYTES
from latentstore.codecs.artifact.decoder import make_decoder, read_decoder
from latentstore.codecs.errors import ArtifactError, UnsupportedVersionError


def test_the_same_parts_give_the_same_bytes(codec: Any) -> None:
    facts, tensors = tiny_parts(codec)
    content = make_decoder(facts, tensors)
    assert content == make_decoder(dict(reversed(facts.items())), dict(reversed(tensors.items())))
    file = read_decoder(content)
    assert (file.name, file.shape.width, file.facts["codec_sha256"]) == ("tiny", 8, codec.sha256)
    assert file.shape.operations == 8 * 98 * 9 + 2 * 8 * 8 * 9 + 6 * 8 * 9 + 192 * 6
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(file.tensors[name], tensor)


def _network(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        facts["network"][key] = value

    return change


def _fact(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        facts[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_fact("name", "Small"), "its name"),
        (_fact("name", "linear"), "its name"),
        (_fact("codec_sha256", "12"), "SHA-256 of its codec"),
        (_fact("codec", None), "SHA-256 of its codec"),
        (_fact("network", []), "network is"),
        (_network("width", 1 << 30), "width of its network is 1073741824"),
        (_network("blocks", -1), "blocks of its network"),
        (_network("head", True), "head of its network"),
        (_network("planes", 100), "no multiple of 64"),
        (_network("more", 1), "network is"),
        (_network("width", 9), "first.weight is"),
        (_network("blocks", 2), "missing or not expected"),
        (_fact("prefixes", [12]), "prefixes is"),
        (_fact("prefixes", [12, 49]), "prefixes is"),
        (_fact("qualities", [0, 75]), "qualities is"),
        (_fact("qualities", None), "qualities is"),
        (_fact("default_step", 0), "default_step is 0"),
        (_fact("default_step", float("nan")), "default_step is nan"),
        (_fact("card", "small"), "no card"),
    ],
)
def test_facts_that_contradict(codec: Any, change: Callable[[dict[str, Any]], None], message: str) -> None:
    facts, tensors = tiny_parts(codec)
    change(facts)
    with pytest.raises(ArtifactError, match=f"the decoder contradicts itself: .*{message}"):
        make_decoder(facts, tensors)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("first.weight", np.zeros((8, 98, 3), np.float16), "first.weight is float16"),
        ("first.weight", np.zeros((8, 98, 3, 3), np.float64), "first.weight is float64"),
        ("last.bias", np.full(192, np.inf, np.float32), "not finite"),
        ("sigma", np.zeros(48, np.float32), "sigma is not positive"),
        ("other", np.zeros(1, np.float32), "missing or not expected"),
    ],
)
def test_tensors_that_contradict(codec: Any, name: str, value: np.ndarray, message: str) -> None:
    facts, tensors = tiny_parts(codec)
    with pytest.raises(ArtifactError, match=message):
        make_decoder(facts, {**tensors, name: value})


def test_files_that_are_no_decoders(codec: Any) -> None:
    content = make_decoder(*tiny_parts(codec))
    for bad in (b"", b"hello", content[:-1], content + b"x", codec.artifact_bytes, save({})):
        with pytest.raises(ArtifactError, match="x is not a latentstore decoder"):
            read_decoder(bad, "x")
    with pytest.raises(ArtifactError, match="are no decoder"):
        read_decoder(bytes(MAX_BYTES + 1))
    facts, tensors = tiny_parts(codec)
    with pytest.raises(UnsupportedVersionError, match="decoder version 2"):
        make_decoder({**facts, "version": 2}, tensors)
