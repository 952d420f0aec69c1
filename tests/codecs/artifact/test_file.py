"""Artifacts: the same parts make the same bytes, and bytes that are none are refused at once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from latentstore.codecs import codec_from_bytes, load_codec
from latentstore.codecs.artifact.container import MAX_BYTES
from latentstore.codecs.artifact.file import make_artifact, read_artifact
from latentstore.codecs.errors import ArtifactError, UnsupportedVersionError

CODEC = load_codec("rgb-f8c48")
CONTENT = CODEC.artifact_bytes
FACTS, TENSORS = CODEC.artifact.facts, CODEC.artifact.tensors
HEADER_END = 8 + int.from_bytes(CONTENT[:8], "little")


def rebuilt(facts: dict[str, Any] | str | None = None, tensors: dict[str, np.ndarray] | None = None) -> bytes:
    """An artifact's bytes without any check; facts may be any text."""
    text = facts if isinstance(facts, str) else json.dumps(FACTS if facts is None else facts)
    return save(TENSORS if tensors is None else tensors, metadata={"latentstore": text})


def refused(content: bytes, match: str = "") -> None:
    """In one sentence of a reasonable length, and quickly."""
    start = time.process_time()
    with pytest.raises((ArtifactError, UnsupportedVersionError), match=match) as caught:
        codec_from_bytes(content, "x.safetensors")
    assert time.process_time() - start < 5
    said = str(caught.value)
    assert "x.safetensors" in said or CODEC.name in said
    assert len(said) < 500


def test_parts_make_the_bytes_again() -> None:
    artifact = read_artifact(CONTENT)
    assert artifact.sha256 == hashlib.sha256(CONTENT).hexdigest()
    again = make_artifact(dict(reversed(artifact.facts.items())), dict(reversed(artifact.tensors.items())))
    assert make_artifact(artifact.facts, artifact.tensors) == again
    assert read_artifact(again).facts == artifact.facts
    assert codec_from_bytes(again).compress(np.zeros((8, 8, 3), np.uint8))
    assert make_artifact({**artifact.facts, "name": "other"}, artifact.tensors) != again


def test_what_cannot_be_read_is_not_made() -> None:
    with pytest.raises(ArtifactError, match="name"):
        make_artifact({**FACTS, "name": "Has Spaces"}, TENSORS)


def test_buffers_of_any_kind() -> None:
    for content in (bytearray(CONTENT), memoryview(CONTENT)):
        assert codec_from_bytes(content).sha256 == CODEC.sha256  # type: ignore[arg-type]


# bytes that are none


def test_cut_anywhere() -> None:
    ends = {
        *range(64),
        *np.linspace(64, len(CONTENT) - 1, 60).astype(int).tolist(),
        HEADER_END,
        len(CONTENT) - 1,
    }
    for end in sorted(ends):
        refused(CONTENT[:end], "not a latentstore artifact")


def test_bytes_behind_the_end() -> None:
    refused(CONTENT + b"\0", "not a latentstore artifact")


@pytest.mark.parametrize("size", [0, 1, 7, len(CONTENT), 10**8, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
def test_any_length_of_header(size: int) -> None:
    refused(size.to_bytes(8, "little") + CONTENT[8:], "not a latentstore artifact")


def test_too_large() -> None:
    refused(bytes(MAX_BYTES + 1), f"{MAX_BYTES} bytes are no artifact")


@settings(deadline=None, max_examples=150)
@given(at=st.integers(0, HEADER_END - 1), bit=st.integers(0, 7))
def test_flipped_bits_in_the_header(at: int, bit: int) -> None:
    """Refused, or an artifact with another identity: nothing else can come of it."""
    changed = bytearray(CONTENT)
    changed[at] ^= 1 << bit
    try:
        codec = codec_from_bytes(bytes(changed))
    except (ArtifactError, UnsupportedVersionError):
        return
    assert codec.sha256 != CODEC.sha256


@settings(deadline=None, max_examples=60)
@given(at=st.integers(HEADER_END, len(CONTENT) - 1), value=st.integers(0, 255))
def test_changed_bytes_in_the_tensors(at: int, value: int) -> None:
    changed = bytearray(CONTENT)
    changed[at] = value
    try:
        codec = codec_from_bytes(bytes(changed))
    except ArtifactError:
        return
    assert (codec.sha256 == CODEC.sha256) == (changed == CONTENT)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    for header in (b"", len(content).to_bytes(8, "little")):
        with pytest.raises(ArtifactError):
            codec_from_bytes(header + content)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "3",
        "{}",
        '"x"',
        "{",
        "NaN",
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 5000,
        '{"version": null}',
    ],
    ids=lambda text: text[:12],
)
def test_facts_that_are_no_object(text: str) -> None:
    refused(rebuilt(text), "not a latentstore artifact")


def test_without_facts() -> None:
    refused(save(TENSORS), "not a latentstore artifact")
    refused(save(TENSORS, metadata={"other": "{}"}), "not a latentstore artifact")


def test_versions() -> None:
    refused(rebuilt({**FACTS, "version": 2}), "version 2; this release reads 1: upgrade")
    for version in ("1", 1.0, True, 0, -1, 10**30, None, [1]):
        refused(rebuilt({**FACTS, "version": version}), "does not say its version")


HUGE, NAN, INF = 10**400, float("nan"), float("inf")
VALUES: list[Any] = [None, "?", True, -1, HUGE, NAN, INF, [], [[]], [["1"]], {"a": 1}, "z" * 10**6]
LISTS: list[Any] = [[1, 2], [1.0] * 47, [1.0] * 49, *([1.0] * 47 + [v] for v in ("1", NAN, INF, 0))]


@pytest.mark.parametrize("name", sorted(set(FACTS) - {"version"}))
def test_facts_missing_or_wrong(name: str) -> None:
    refused(rebuilt({key: value for key, value in FACTS.items() if key != name}), "contradicts itself")
    values = VALUES + (LISTS if name in ("bound", "floor") else [])
    for value in values:
        if name != "card" or not isinstance(value, dict):
            refused(rebuilt({**FACTS, name: value}), "contradicts itself")


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 47}, {"channels": 36}, {"group_channels": 7}, {"group_channels": 24},
        {"mode": "CMYK"}, {"mode": "L"}, {"precision": 13}, {"precision": 11},
        {"model_steps": [1.0]}, {"model_steps": [1.0] * 65}, {"lambda": 11},
        {"rounding": 0.51}, {"name": "../x"}, {"name": "a" * 65}, {"name": ""}, {"default_quality": 50.0},
        {"quality_steps": [[1, 9], [100, 10]]}, {"quality_steps": [[1, 9], [1, 8], [100, 7]]},
        {"quality_steps": [[2, 9], [100, 8]]}, {"quality_steps": [[1, 9], [99, 8]]},
        {"quality_steps": [[1, 9]]},
        {"quality_steps": [[1, 9, 9], [100, 8, 8]]}, {"quality_steps": [[1, 9], [100, -8]]},
        {"levels": 2}, {"levels": 4}, {"levels": 5}, {"levels": 3.0}, {"levels": "3"}, {"levels": None},
        {"levels": True},
        {"quality_steps": [[1, 1e300], [100, 8]]}, {"quality_steps": [[1, 9], [100]]},
    ],
    ids=str,
)  # fmt: skip
def test_facts_that_contradict(changes: dict[str, Any]) -> None:
    refused(rebuilt({**FACTS, **changes}), "contradicts itself|cannot be used")


# tensors


@pytest.mark.parametrize("name", sorted(TENSORS))
def test_tensors_missing_or_of_another_kind(name: str) -> None:
    tensor = TENSORS[name]
    refused(rebuilt(tensors={k: v for k, v in TENSORS.items() if k != name}), "tensors are missing")
    other = np.float64 if tensor.dtype.kind == "f" else np.int64
    shorter = tensor.ravel()[:-1].copy()
    for changed in (tensor.astype(other), tensor[..., None], shorter, tensor[:0], tensor[:1]):
        refused(rebuilt(tensors={**TENSORS, name: changed}), "contradicts itself|cannot be used")
    refused(rebuilt(tensors={**TENSORS, "extra." + name: tensor}), "not expected")


def with_value(name: str, place: Any, value: float) -> Callable[[], bytes]:
    def make() -> bytes:
        tensor = TENSORS[name].copy()
        tensor[place] = value
        return rebuilt(tensors={**TENSORS, name: tensor})

    return make


WEIGHTS = ("own", "signed_own", "signed_cross", "bias")
PAIR = int(np.flatnonzero(TENSORS["classes"] == 4)[0])


@pytest.mark.parametrize(
    "make",
    [
        *(with_value(n, 3, v) for n in ("analysis", "synthesis") for v in (np.nan, np.inf, -np.inf)),
        *(with_value("delta", (5, 1), v) for v in (np.nan, -0.01, 0.5)),
        *(with_value("classes", 0, v) for v in (-1, 6, 127, -128, 4, 5)),
        with_value("classes", PAIR, 5), with_value("classes", PAIR + 1, 0),
        *(with_value(f"entropy.{n}", (0, 0), v) for n in WEIGHTS for v in (1 << 20, -1 << 20)),
        with_value("entropy.predicted", (0, 0), 2), with_value("entropy.cross", (0, 3, 1), 255),
        with_value("entropy.table", (0, 0, 0, 0), 255), with_value("entropy.freq", (0, 0), -1),
        with_value("entropy.freq", (0, 31), 1), with_value("entropy.freq", 0, 0),
        # what a quarter turn swaps must be alike
        with_value("delta", (PAIR, 0), 0.4),
        lambda: rebuilt({**FACTS, "floor": [1.0 + (k == PAIR) for k in range(48)]}),
    ],
)  # fmt: skip
def test_values_out_of_range(make: Callable[[], bytes]) -> None:
    refused(make(), "contradicts itself|cannot be used")


def test_three_levels_may_be_said() -> None:
    assert codec_from_bytes(rebuilt({**FACTS, "levels": 3})).reduction == 8


def test_weights_of_a_pair_must_be_alike() -> None:
    from latentstore.codecs.image.symmetry import symmetric_basis

    counts = [symmetric_basis(3, 3).runs[kind][1] for kind in TENSORS["classes"]]
    for name in ("analysis", "synthesis"):
        refused(with_value(name, sum(counts[:PAIR]), 0.125)(), f"Channels {PAIR} and {PAIR + 1} are a pair")
