"""Artifacts: everything that a codec needs, in one safetensors file with its facts as JSON (docs/format.md section 7).

The SHA-256 of the file is its identity. Reading one runs no code and no pickle. The type, shape and range of every
tensor are checked before it is used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latentstore.codecs.artifact.checks import number, numbers, short, whole
from latentstore.codecs.artifact.container import Array, pack, unpack
from latentstore.codecs.artifact.parts import BUCKETS, FRACTIONS, PARTS, SYMBOLS, Parts, Shapes
from latentstore.codecs.errors import ArtifactError
from latentstore.codecs.modality import modality_of

ARTIFACT_VERSION = 1
METADATA_KEY = "latentstore"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# How artifacts of version 1 spell the modes of codecs.
STORED_AUDIO = "sound"
MODES = {"RGB": "RGB", "L": "L", STORED_AUDIO: "audio"}


@dataclass(frozen=True)
class Artifact:
    """One artifact, parsed and checked.

    content: the bytes of the file. sha256: their hash in hexadecimal. facts: the JSON, with `name`, `mode`,
    `quality_steps` and the card. tensors: the arrays by name; `artifact.parts` and `read_artifact` say which.
    """

    content: bytes = field(repr=False)
    sha256: str
    facts: dict[str, Any] = field(repr=False)
    tensors: dict[str, Array] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.facts["name"])

    @property
    def mode(self) -> str:
        """What the codec takes: "RGB", "L" or "audio"."""
        return MODES[self.facts["mode"]]


def is_name(value: Any) -> bool:
    """Whether an artifact can be called that."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def make_artifact(facts: Mapping[str, Any], tensors: Mapping[str, Array]) -> bytes:
    """The bytes of an artifact; the same facts and tensors give the same bytes."""
    content = pack(METADATA_KEY, ARTIFACT_VERSION, facts, tensors)
    read_artifact(content)
    return content


def read_artifact(content: bytes, where: str = "the artifact") -> Artifact:
    """Parses and checks an artifact.

    ArtifactError says what is wrong in the file `where`; UnsupportedVersionError if a newer release wrote it.
    """
    content = bytes(content)
    facts, tensors = unpack(content, where, METADATA_KEY, ARTIFACT_VERSION, "artifact")
    problem = _problem(facts, tensors)
    if problem:
        raise ArtifactError(f"{where} contradicts itself: {problem}; fetch it again or fit it anew.")
    return Artifact(content, hashlib.sha256(content).hexdigest(), facts, tensors)


def _problem(facts: dict[str, Any], tensors: dict[str, Array]) -> str | None:
    """What is wrong with an artifact's parts, or None."""
    if not is_name(facts.get("name")):
        return "its name is not lower-case letters, digits, '.', '_' and '-'"
    if not isinstance(facts.get("mode"), str) or facts["mode"] not in MODES:
        return f"mode {short(facts.get('mode'))} is not one of {', '.join(MODES)}"
    if not isinstance(facts.get("card"), dict):
        return "it has no card"
    for key, low, high in (
        ("channels", 1, 1024),
        ("group_channels", 1, 32),
        ("default_quality", 1, 100),
        ("precision", 8, 12),
    ):
        if not whole(facts.get(key), low, high):
            return f"{key} is {short(facts.get(key))}, not {low} to {high}"
    channels, group = facts["channels"], facts["group_channels"]
    if channels % group:
        return f"{channels} channels do not fill groups of {group}"
    parts = PARTS[modality_of(MODES[facts["mode"]]).name]
    return parts.facts(facts) or _problem_of_numbers(facts) or _problem_of_tensors(facts, tensors, parts)


def _problem_of_numbers(facts: dict[str, Any]) -> str | None:
    if number(facts.get("lambda"), 0, 10) is None or number(facts.get("rounding"), 0, 0.5) is None:
        return "lambda or rounding is outside its range"
    pairs = facts.get("quality_steps")
    if not isinstance(pairs, list) or not 2 <= len(pairs) <= 100:
        return "quality_steps is not a list of (quality, step)"
    curve = [numbers(pair, 2) for pair in pairs]
    if None in curve:
        return "quality_steps is not a list of (quality, step)"
    qualities, steps = np.array(curve).T
    if not ((np.diff(qualities) > 0).all() and (np.diff(steps) < 0).all()):
        return "quality_steps do not fall as quality rises"
    if (qualities[0], qualities[-1]) != (1, 100):
        return "quality_steps do not span 1 to 100"
    if numbers(facts.get("model_steps"), None) is None:
        return "model_steps is not a list of 1 to 64 steps"
    for name in ("bound", "floor"):
        if numbers(facts.get(name), facts["channels"]) is None:
            return f"{name} is not a list of {facts['channels']} numbers"
    return None


def _problem_of_tensors(facts: dict[str, Any], tensors: dict[str, Array], parts: Parts) -> str | None:
    channels, group = facts["channels"], facts["group_channels"]
    models = len(facts["model_steps"]) * (channels // group)
    if models > 256:
        return f"{models} entropy models are more than 256"
    shapes: Shapes = {
        "delta": ("float32", (channels, 2)),
        "entropy.own": ("int32", (models, group, 5)),
        "entropy.bias": ("int32", (models, group)),
        "entropy.cross": ("uint8", (models, group, group, 2)),
        "entropy.table": ("uint8", (models, group, FRACTIONS, BUCKETS)),
        "entropy.freq": ("int32", (None, SYMBOLS)),
        **parts.shapes(facts, models),
    }
    if set(tensors) != set(shapes):
        wrong = sorted(set(tensors) ^ set(shapes))
        return f"tensors are missing or not expected: {short(wrong)}"
    for name, (dtype, shape) in shapes.items():
        tensor = tensors[name]
        right = tensor.ndim == len(shape) and all(b in (None, a) for a, b in zip(tensor.shape, shape, strict=True))
        if tensor.dtype != dtype or not right:
            return f"{name} is {tensor.dtype} {tensor.shape}, not {dtype} {shape}"
    for name, tensor in tensors.items():
        if tensor.dtype == np.float32 and not np.isfinite(tensor).all():
            return f"{name} holds values that are not finite"
    if (tensors["delta"] < 0).any() or (tensors["delta"] > 0.49).any():
        return "delta is outside 0 to 0.49"
    return parts.values(facts, tensors)
