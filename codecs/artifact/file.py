"""Artifacts: everything that a codec needs, in one safetensors file with its facts as JSON (docs/format.md
section 7).

The file's SHA-256 is its identity. Reading one takes no pickle and no code; every tensor's type, shape and
range is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from latentstore.codecs.errors import ArtifactError, UnsupportedVersionError

ARTIFACT_VERSION = 1
MAX_BYTES = 64 << 20
METADATA_KEY = "latentstore"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
FRACTIONS, BUCKETS, SYMBOLS = 4, 64, 64
TAPS = 14
# How artifacts of version 1 spell the modes of codecs.
_MODES = {"RGB": "RGB", "L": "L", "sound": "audio"}
STORED_AUDIO = "sound"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Artifact:
    """One artifact, parsed and checked.

    content: the file's bytes; sha256: their hash in hex; facts: the JSON, among it `name`, `mode`,
    `quality_steps` and the card; tensors: the arrays by name, with `classes` int8 (channels,), `analysis` and
    `synthesis` float32 (weights of the channels one after another), `delta` float32 (channels, 2), and the
    entropy model.
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
        return _MODES[self.facts["mode"]]


def is_name(value: Any) -> bool:
    """Whether an artifact can be called that."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


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
        raise ArtifactError(f"{where} is too large: more than {MAX_BYTES} bytes are no artifact.")
    try:
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        facts = json.loads(header["__metadata__"][METADATA_KEY])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{where} is not a latentstore artifact ({_short(error)}); fetch it again.") from error
    version = facts.get("version") if isinstance(facts, dict) else None
    if not _whole(version, 1, 1 << 31):
        raise ArtifactError(f"{where} is not a latentstore artifact: it does not say its version; fetch it again.")
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
    if not is_name(facts.get("name")):
        return "its name is not lower-case letters, digits, '.', '_' and '-'"
    if not isinstance(facts.get("mode"), str) or facts["mode"] not in _MODES:
        return f"mode {_short(facts.get('mode'))} is neither RGB nor L nor {STORED_AUDIO}"
    if not isinstance(facts.get("card"), dict):
        return "it has no card"
    for key, low, high in (
        ("channels", 1, 1024),
        ("group_channels", 1, 32),
        ("default_quality", 1, 100),
        ("precision", 8, 12),
    ):
        if not _whole(facts.get(key), low, high):
            return f"{key} is {_short(facts.get(key))}, not {low} to {high}"
    if facts["mode"] == STORED_AUDIO:
        if not _whole(facts.get("inputs"), 1, 16) or not isinstance(facts.get("relative"), bool):
            return "inputs is not 1 to 16, or relative neither true nor false"
        if not _whole(facts.get("hop"), 8, 1024) or facts["hop"] % 2:
            return f"hop is {_short(facts.get('hop'))}, not even and 8 to 1024"
        if not _whole(facts.get("rate"), 1, (1 << 28) - 1):
            return f"rate is {_short(facts.get('rate'))}, not 1 hertz or more"
    channels, group = facts["channels"], facts["group_channels"]
    if channels % group:
        return f"{channels} channels do not fill groups of {group}"
    return _problem_of_numbers(facts) or _problem_of_tensors(facts, tensors, channels, group)


def _problem_of_numbers(facts: dict[str, Any]) -> str | None:
    if _number(facts.get("lambda"), 0, 10) is None or _number(facts.get("rounding"), 0, 0.5) is None:
        return "lambda or rounding is outside its range"
    pairs = facts.get("quality_steps")
    if not isinstance(pairs, list) or not 2 <= len(pairs) <= 100:
        return "quality_steps is not a list of (quality, step)"
    curve = [_numbers(pair, 2) for pair in pairs]
    if None in curve:
        return "quality_steps is not a list of (quality, step)"
    qualities, steps = np.array(curve).T
    if not ((np.diff(qualities) > 0).all() and (np.diff(steps) < 0).all()):
        return "quality_steps do not fall as quality rises"
    if (qualities[0], qualities[-1]) != (1, 100):
        return "quality_steps do not span 1 to 100"
    if _numbers(facts.get("model_steps"), None) is None:
        return "model_steps is not a list of 1 to 64 steps"
    for name in ("bound", "floor"):
        if _numbers(facts.get(name), facts["channels"]) is None:
            return f"{name} is not a list of {facts['channels']} numbers"
    return None


def _number(value: Any, low: float, high: float) -> float | None:
    """The number if it is one from low to high."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return float(value)


def _numbers(value: Any, count: int | None) -> list[float] | None:
    """The list of so many (by default 1 to 64) steps, sizes and the like: above zero, and within float32."""
    if not isinstance(value, list) or len(value) not in (range(1, 65) if count is None else (count,)):
        return None
    found = [_number(number, 1e-6, 1e6) for number in value]
    return None if None in found else [number for number in found if number is not None]


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _short(value: Any) -> str:
    """A value of the file, or an error about it, as a message can hold it."""
    text = value if isinstance(value, Exception) else reprlib.repr(value)
    return str(text)[:200]


def _problem_of_tensors(facts: dict[str, Any], tensors: dict[str, Array], channels: int, group: int) -> str | None:
    models = len(facts["model_steps"]) * (channels // group)
    shapes: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "delta": ("float32", (channels, 2)),
        "entropy.own": ("int32", (models, group, 5)),
        "entropy.bias": ("int32", (models, group)),
        "entropy.cross": ("uint8", (models, group, group, 2)),
        "entropy.table": ("uint8", (models, group, FRACTIONS, BUCKETS)),
        "entropy.freq": ("int32", (None, SYMBOLS)),
    }
    if facts["mode"] == STORED_AUDIO:
        shapes |= {
            "mix": ("float32", (facts["inputs"], facts["inputs"])),
            "source": ("int8", (channels,)),
            "basis": ("float32", (channels, 2 * facts["hop"])),
            "entropy.taps": ("int32", (models, group, TAPS)),
            "entropy.source": ("uint8", (models, group, 2)),
            "entropy.rate": ("uint8", (models, group)),
            "entropy.gain": ("int32", (None, BUCKETS)),
        }
    else:
        shapes |= {
            "classes": ("int8", (channels,)),
            "analysis": ("float32", (None,)),
            "synthesis": ("float32", (None,)),
            "entropy.predicted": ("uint8", (models, group)),
            "entropy.signed_own": ("int32", (models, group, 4)),
            "entropy.signed_cross": ("int32", (models, group, group, 9)),
        }
    if models > 256:
        return f"{models} entropy models are more than 256"
    if set(tensors) != set(shapes):
        wrong = sorted(set(tensors) ^ set(shapes))
        return f"tensors are missing or not expected: {_short(wrong)}"
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
    if facts["mode"] == STORED_AUDIO:
        source = tensors["source"]
        return "source is not one of the inputs" if (source < 0).any() or (source >= facts["inputs"]).any() else None
    if (tensors["entropy.predicted"] > 1).any():
        return "entropy.predicted holds values other than 0 and 1"
    return None
