"""What the user says of fields: ``latent=float16,step,snr=32``, ``caption=skip``, ``latent=from=moments``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.tensors.declaration import DTYPES, Coding, Tensor

__all__ = ["Asked", "FieldAsked"]

KINDS: dict[str, type] = {"int": int, "float": float, "str": str, "bytes": bytes}
NUMBERS: dict[str, type] = {"snr": float, "steps": float, "vocabulary": int, "channel_axis": int}
SAID = (
    "skip, a type (float16, int32, int, str, ...), a coding (lossless, step, codes), from=NAME of the source, and "
    "snr=, steps=, vocabulary=, channel_axis= or nonfinite=, with commas between them"
)


@dataclass(frozen=True)
class FieldAsked:
    """What is said of one field. source: its name there. kind: of a field that is no tensor. dtype, coding: "" where
    nothing is said. others: further arguments of `Tensor`."""

    source: str
    skip: bool = False
    kind: type | None = None
    dtype: str = ""
    coding: str = ""
    others: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, said: Any) -> FieldAsked:
        """From text, a `Tensor`, or one of the types int, float, str and bytes. ArgumentError says what is wrong."""
        if isinstance(said, Tensor):
            rest = {k: v for k, v in said.to_json().items() if k not in ("dtype", "coding")}
            return cls(name, dtype=said.dtype, coding=said.coding, others=rest)
        if isinstance(said, type) and said in KINDS.values():
            return cls(name, kind=said)
        if not isinstance(said, str):
            raise ArgumentError(f"the field {name!r} is {short(said)}; it is a Tensor, a type, or text of {SAID}")
        found: dict[str, Any] = {"source": name}
        others: dict[str, Any] = {}
        for word in filter(None, (part.strip() for part in said.split(","))):
            option, equals, value = word.partition("=")
            if word == "skip":
                found["skip"] = True
            elif word in DTYPES:
                found["dtype"] = word
            elif word in KINDS:
                found["kind"] = KINDS[word]
            elif word in get_args(Coding):
                found["coding"] = word
            elif option == "from" and value:
                found["source"] = value
            elif option in NUMBERS and equals:
                others[option] = _number(name, option, value)
            elif option == "nonfinite" and equals:
                others[option] = value
            else:
                raise ArgumentError(f"the field {name!r} is said to be {word!r}; what can be said is {SAID}")
        return cls(**found, others=others)


@dataclass(frozen=True)
class Asked:
    """What is said of all fields. dtype: of tensors of floats, "" for that of the source. coding, snr: of tensors of
    floats. fields: what is said of single fields, by name."""

    dtype: str = ""
    coding: str = "lossless"
    snr: float | None = None
    fields: Mapping[str, FieldAsked] = field(default_factory=dict)

    @classmethod
    def of(cls, dtype: str | None, coding: str | None, snr: float | None, fields: Mapping[str, Any] | None) -> Asked:
        """From the arguments of `import_tensors`. ArgumentError says what cannot be meant."""
        chosen = coding or "lossless"
        if chosen not in ("lossless", "step"):
            raise ArgumentError(
                f"coding is {short(coding)}; it is lossless or step; a field of codes is said by itself, with its "
                "vocabulary"
            )
        if snr is not None and chosen != "step":
            raise ArgumentError("snr is given, and the coding is lossless: it is for the coding step")
        if dtype is not None and not Tensor(dtype).dtype.endswith(("float16", "float32")):
            raise ArgumentError(f"dtype is {dtype}; it is float32, float16 or bfloat16, and is for tensors of floats")
        return cls(dtype or "", chosen, snr, {name: FieldAsked.of(name, said) for name, said in (fields or {}).items()})

    @property
    def skipped(self) -> list[str]:
        """The names in the source of fields that are left out."""
        return [one.source for one in self.fields.values() if one.skip]


def _number(name: str, option: str, value: str) -> Any:
    kind = NUMBERS[option]
    try:
        many = [kind(one) for one in value.split(":")]
    except ValueError as error:
        raise ArgumentError(f"the field {name!r}: {option} is {value!r}, which is no number") from error
    return many[0] if len(many) == 1 else many
