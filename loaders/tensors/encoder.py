"""Whose latents a store holds: the encoder's name, its weights, and what was done to its inputs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from latentstore.codecs.artifact.checks import number, short
from latentstore.codecs.errors import ArgumentError, CorruptError

__all__ = ["Encoder", "given_encoders", "require_encoder"]

MOST_VALUES = 65536
"""No encoder has a scale of more channels."""
_SHA = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Encoder:
    """What made the tensors of a store.

    name: for people. sha256: of the weights, 64 hexadecimal digits; `of_state_dict` and `of_files` compute it.
    preprocessing: what was done to the inputs, such as {"size": 256, "crop": "centre"}: anything that JSON holds. Two
    encoders are the same one if name, sha256 and preprocessing are equal.

    scale, shift: what loaders do with the tensors where ``output="latents"``: (tensor - shift) * scale. A number, or
    one for each channel.

    ArgumentError: one of these is something else.
    """

    name: str
    sha256: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    scale: float | tuple[float, ...] = 1.0
    shift: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 0 < len(self.name) <= 1000:
            raise ArgumentError(f"the encoder's name is {short(self.name)}; it is text of 1 to 1000 characters")
        if self.sha256 is not None and not (isinstance(self.sha256, str) and _SHA.fullmatch(self.sha256)):
            raise ArgumentError(
                f"sha256 of the encoder {self.name!r} is {short(self.sha256)}; it is 64 hexadecimal digits in small "
                "letters, which Encoder.of_state_dict and Encoder.of_files compute"
            )
        try:
            said = json.dumps(dict(self.preprocessing), allow_nan=False, ensure_ascii=False)
            f"{self.name}{said}".encode()
            plain = json.loads(said)
        except UnicodeEncodeError as error:
            raise ArgumentError(f"the encoder {self.name!r}: its text is no valid Unicode ({error})") from error
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"preprocessing of the encoder {self.name!r} is {short(self.preprocessing)}; it is a dict of what JSON "
                f"holds ({short(error)})"
            ) from error
        object.__setattr__(self, "preprocessing", plain)
        for name in ("scale", "shift"):
            object.__setattr__(self, name, _numbers(getattr(self, name), f"{name} of the encoder {self.name!r}"))

    @classmethod
    def of_state_dict(cls, name: str, state: Mapping[str, Any], **others: Any) -> Encoder:
        """The encoder whose weights are `state`: what ``module.state_dict()`` gives, or NumPy arrays by name.

        The SHA-256 is over names, types, shapes and bytes, in the order of the names. others: preprocessing, scale,
        shift. ArgumentError if something else is in `state`, or a tensor without values, as on the device "meta".
        """
        found = hashlib.sha256()
        if not isinstance(state, Mapping) or not state or not all(isinstance(key, str) for key in state):
            raise ArgumentError(f"the weights of {name!r} are {short(state)}; they are a dict of tensors by name")
        for key in sorted(state):
            try:
                data = _bytes_of(state[key]).tobytes()
            except (AttributeError, TypeError, RuntimeError) as error:
                raise ArgumentError(
                    f"the weight {key!r} of {name!r} is {short(state[key])}; a tensor with values is expected"
                ) from error
            dtype = str(state[key].dtype).removeprefix("torch.")
            found.update(json.dumps([key, dtype, list(state[key].shape)]).encode())
            found.update(data)
        return cls(name, found.hexdigest(), **others)

    @classmethod
    def of_files(cls, name: str, paths: Iterable[str | Path], **others: Any) -> Encoder:
        """The encoder whose weights are files, in this order. Their names do not count. others: see `of_state_dict`.

        ArgumentError if one of them cannot be read.
        """
        found = hashlib.sha256()
        for path in paths:
            try:
                with Path(path).open("rb") as file:
                    found.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise ArgumentError(
                    f"{path}, a file of the encoder {name!r}, cannot be read: {error.strerror}"
                ) from error
        return cls(name, found.hexdigest(), **others)

    def is_same(self, other: Encoder) -> bool:
        """Whether both make the same tensors of the same inputs."""
        return not self.differences(other)

    def differences(self, other: Encoder) -> list[str]:
        """What differs, in words: ``name: 'a' and 'b'``, ..."""
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in ("name", "sha256")]
        names = sorted({*self.preprocessing, *other.preprocessing})
        pairs += [
            (f"preprocessing {name!r}", self.preprocessing.get(name), other.preprocessing.get(name)) for name in names
        ]
        return [f"{name}: {short(own)} and {short(its)}" for name, own, its in pairs if own != its]

    def to_json(self) -> dict[str, Any]:
        """What a manifest says."""
        scale, shift = (list(v) if isinstance(v, tuple) else v for v in (self.scale, self.shift))
        own = {"name": self.name, "sha256": self.sha256, "preprocessing": dict(self.preprocessing)}
        return {**own, "scale": scale, "shift": shift}

    @classmethod
    def of_json(cls, value: Any, where: str) -> Encoder:
        """What `to_json` gave; CorruptError naming `where` if it is something else."""
        try:
            return cls(**{name: value[name] for name in ("name", "sha256", "preprocessing", "scale", "shift")})
        except (ArgumentError, KeyError, TypeError) as error:
            raise CorruptError(f"{where}: its encoder is damaged: {short(error)}") from error


def given_encoders(encoder: Any, tensors: Iterable[str]) -> dict[str, Encoder]:
    """The encoder of each tensor field for which one is given. encoder: one for all, or by the field's name. tensors:
    the names of the tensor fields."""
    if encoder is None:
        return {}
    tensors = list(tensors)
    found = dict.fromkeys(tensors, encoder) if isinstance(encoder, Encoder) else encoder
    if not isinstance(found, Mapping) or not all(isinstance(one, Encoder) for one in found.values()):
        raise ArgumentError(f"encoder is {short(encoder)}; it is an Encoder, or one for each field by its name")
    if isinstance(encoder, Encoder) and not tensors:
        raise ArgumentError("an encoder is given, and no field is a tensor: it is what made tensors, not latents")
    for name in found:
        if name not in tensors:
            raise ArgumentError(f"an encoder is given for {name!r}, which is no tensor field; {', '.join(tensors)} are")
    return dict(found)


def require_encoder(found: Encoder | None, expected: Encoder, where: str) -> None:
    """ArgumentError naming both unless the store `where` is of the encoder that is expected."""
    if found is None:
        raise ArgumentError(f"{where} does not say which encoder made it, and {expected.name!r} is expected")
    differing = found.differences(expected)
    if differing:
        raise ArgumentError(
            f"{where} is of the encoder {found.name!r}, and {expected.name!r} is expected; they differ in "
            f"{'; '.join(differing)}"
        )


def _numbers(value: Any, what: str) -> float | tuple[float, ...]:
    if isinstance(value, np.ndarray | list | tuple):
        many = [one.item() if isinstance(one, np.generic) else one for one in value]
        if 0 < len(many) <= MOST_VALUES and all(number(one, -1e30, 1e30) is not None for one in many):
            return tuple(float(one) for one in many)
    else:
        one = number(value.item() if isinstance(value, np.generic) else value, -1e30, 1e30)
        if one is not None:
            return one
    raise ArgumentError(f"{what} is {short(value)}; it is a number, or one for each channel")


def _bytes_of(value: Any) -> np.ndarray:
    """The array; of a torch tensor its bytes, int8, whatever its type."""
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)
    import torch

    flat = value.detach().cpu().contiguous().reshape(-1)
    return np.asarray(flat.view(torch.int8).numpy())
