"""Artifacts: everything that a codec needs, in one safetensors file with its facts as JSON (docs/format.md
section 7).

The file's SHA-256 is its identity. Reading one takes no pickle and no code; every tensor's type, shape and range
is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .errors import ArgumentError, ArtifactError, UnsupportedVersionError

ARTIFACT_VERSION = 1
MAX_BYTES = 64 << 20
METADATA_KEY = "latentstore"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
FRACTIONS, BUCKETS, SYMBOLS = 4, 64, 64

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Artifact:
    """One artifact, parsed and checked.

    content: the file's bytes; sha256: their hash in hex; facts: the JSON, among it `name`, `mode`, `quality_steps`
    and the card; tensors: the arrays by name, with `classes` int8 (channels,), `analysis` and `synthesis` float32
    (weights of the channels one after another), `delta` float32 (channels, 2), and the entropy model.
    """

    content: bytes = field(repr=False)
    sha256: str
    facts: dict[str, Any] = field(repr=False)
    tensors: dict[str, Array] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.facts["name"])


def make_artifact(facts: Mapping[str, Any], tensors: Mapping[str, Array]) -> bytes:
    """The bytes of an artifact; the same facts and tensors give the same bytes."""
    text = json.dumps({"version": ARTIFACT_VERSION, **facts}, sort_keys=True, ensure_ascii=False)
    content = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata={METADATA_KEY: text})
    read_artifact(content)
    return content


def read_artifact(content: bytes, where: str = "the artifact") -> Artifact:
    """Parses and checks an artifact.

    ArtifactError says what is wrong in the file `where`; UnsupportedVersionError if a newer release wrote it.
    """
    content = bytes(content)
    if len(content) > MAX_BYTES:
        raise ArtifactError(f"{where} has {len(content)} bytes; an artifact has at most {MAX_BYTES}.")
    try:
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        facts = json.loads(header["__metadata__"][METADATA_KEY])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{where} is not a latentstore artifact ({error}); fetch it again.") from error
    if not isinstance(facts, dict):
        raise ArtifactError(f"{where} holds no JSON object of facts; fetch it again.")
    version = facts.get("version")
    if version != ARTIFACT_VERSION:
        raise UnsupportedVersionError(
            f"{where} is of artifact version {version}; this release reads {ARTIFACT_VERSION}: upgrade latentstore."
        )
    problem = _problem(facts, tensors)
    if problem:
        raise ArtifactError(f"{where} contradicts itself: {problem}; fetch it again or fit it anew.")
    return Artifact(content, hashlib.sha256(content).hexdigest(), facts, tensors)


def _problem(facts: dict[str, Any], tensors: dict[str, Array]) -> str | None:
    """What is wrong with an artifact's parts, or None."""
    if not isinstance(facts.get("name"), str) or not _NAME.fullmatch(facts["name"]):
        return "its name is not lower-case letters, digits, '.', '_' and '-'"
    if facts.get("mode") not in ("RGB", "L"):
        return f"mode {facts.get('mode')!r} is neither RGB nor L"
    for key, low, high in (
        ("channels", 1, 1024),
        ("group_channels", 1, 32),
        ("default_quality", 1, 100),
        ("precision", 8, 12),
    ):
        value = facts.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            return f"{key} is {value!r}, not {low} to {high}"
    channels, group = facts["channels"], facts["group_channels"]
    if channels % group:
        return f"{channels} channels do not fill groups of {group}"
    return _problem_of_numbers(facts) or _problem_of_tensors(facts, tensors, channels, group)


def _problem_of_numbers(facts: dict[str, Any]) -> str | None:
    steps = facts.get("quality_steps")
    try:
        curve = np.array(steps, np.float64)
        rates = np.array([facts["lambda"], facts["rounding"]], np.float64)
        bands = np.array(facts["model_steps"], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        return f"quality_steps, lambda, rounding or model_steps are not numbers ({error})"
    if curve.ndim != 2 or curve.shape[1] != 2 or len(curve) < 2:
        return "quality_steps is not a list of (quality, step)"
    rising, falling = np.diff(curve[:, 0]) > 0, np.diff(curve[:, 1]) < 0
    if not (rising.all() and falling.all() and np.isfinite(curve).all() and (curve > 0).all()):
        return "quality_steps do not fall as quality rises"
    if (curve[0, 0], curve[-1, 0]) != (1, 100):
        return "quality_steps do not span 1 to 100"
    if not (np.isfinite(rates).all() and 0 <= rates[0] <= 10 and 0 <= rates[1] <= 0.5):
        return "lambda or rounding is outside its range"
    if bands.ndim != 1 or not 1 <= len(bands) <= 64 or not (np.isfinite(bands).all() and (bands > 0).all()):
        return "model_steps is not a list of steps"
    return None


def _problem_of_tensors(facts: dict[str, Any], tensors: dict[str, Array], channels: int, group: int) -> str | None:
    models = len(facts["model_steps"]) * (channels // group)
    shapes: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "classes": ("int8", (channels,)),
        "analysis": ("float32", (None,)),
        "synthesis": ("float32", (None,)),
        "delta": ("float32", (channels, 2)),
        "entropy.own": ("int32", (models, group, 5)),
        "entropy.bias": ("int32", (models, group)),
        "entropy.cross": ("uint8", (models, group, group, 2)),
        "entropy.predicted": ("uint8", (models, group)),
        "entropy.signed_own": ("int32", (models, group, 4)),
        "entropy.signed_cross": ("int32", (models, group, group, 9)),
        "entropy.table": ("uint8", (models, group, FRACTIONS, BUCKETS)),
        "entropy.freq": ("int32", (None, SYMBOLS)),
    }
    if models > 256:
        return f"{models} entropy models are more than 256"
    if set(tensors) != set(shapes):
        return f"its tensors are {sorted(tensors)}, not {sorted(shapes)}"
    for name, (dtype, shape) in shapes.items():
        tensor = tensors[name]
        right = tensor.ndim == len(shape) and all(b in (None, a) for a, b in zip(tensor.shape, shape, strict=True))
        if tensor.dtype != dtype or not right:
            return f"{name} is {tensor.dtype} {tensor.shape}, not {dtype} {shape}"
    for name in ("analysis", "synthesis", "delta"):
        if not np.isfinite(tensors[name]).all():
            return f"{name} holds values that are not finite"
    if (tensors["delta"] < 0).any() or (tensors["delta"] > 0.49).any():
        return "delta is outside 0 to 0.49"
    return None


def require_quality(quality: int | None, default: int) -> int:
    """The quality asked for, or the default; ArgumentError unless it is a whole number from 1 to 100."""
    if quality is None:
        return default
    if isinstance(quality, bool) or int(quality) != quality or not 1 <= quality <= 100:
        raise ArgumentError(f"quality is {quality!r}; it is a whole number from 1 to 100.")
    return int(quality)
