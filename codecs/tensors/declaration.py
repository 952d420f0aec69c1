"""`Tensor`: what a field of tensors holds, and how it is coded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import ml_dtypes
import numpy as np
import numpy.typing as npt

from latentstore.codecs.arguments import require_number, whole_number
from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import ArgumentError, CorruptError

__all__ = ["DTYPES", "MOST_CHANNELS", "MOST_RANK", "MOST_VOCABULARY", "Coding", "Nonfinite", "Tensor"]

Coding = Literal["lossless", "step", "codes"]
Nonfinite = Literal["refuse", "keep"]

FLOATS: dict[str, npt.DTypeLike] = {
    "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16,
}  # fmt: skip
INTEGERS: dict[str, npt.DTypeLike] = {
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "uint8": np.uint8,
}  # fmt: skip
DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(kind) for name, kind in (FLOATS | INTEGERS).items()}
"""Every type of values that a tensor may have, by its name. NumPy has no bfloat16; that of ml_dtypes is used."""
MOST_RANK = 8
MOST_CHANNELS = 1 << 16
"""Steps and vocabularies that are given one by one are at most so many."""
MOST_VOCABULARY = 1 << 16


@dataclass(frozen=True)
class Tensor:
    """The declaration of a field of tensors. It is checked once, and is the same after JSON.

    dtype: "float32", "float16", "bfloat16", "int8", "int16", "int32" or "uint8"; or that dtype of NumPy or of torch.
        It is kept as text.
    coding: how values are stored:
        "lossless": exactly, of any type;
        "step": floats, by one quantisation step a channel, so that the error is as `snr` says;
        "codes": integers from 0 to below `vocabulary`, such as the tokens of a residual quantiser, exactly.
    snr: of "step", the signal-to-noise ratio in dB that the steps are fitted to; 1 to 120.
    steps: of "step", the quantisation steps in place of fitted ones and without `snr`: one number, or one for each
        channel.
    vocabulary: of "codes", one more than the largest code, 1 to 65536: one number, or one for each entry along
        `channel_axis`, where each has a codebook of its own.
    channel_axis: the axis of the channels, or of the codebooks; -8 to 7, negative ones count from the last axis.
    nonfinite: of "step", what is done with NaN and infinities: "refuse", or "keep" them exactly.

    ArgumentError says what cannot be meant.
    """

    dtype: str
    coding: Coding = "lossless"
    snr: float = 40.0
    steps: float | tuple[float, ...] | None = None
    vocabulary: int | tuple[int, ...] | None = None
    channel_axis: int = 0
    nonfinite: Nonfinite = "refuse"

    # The arguments are wider than the fields: dtypes of NumPy and torch, and any sequences of numbers.
    def __init__(
        self,
        dtype: Any,
        coding: Coding = "lossless",
        *,
        snr: float = 40.0,
        steps: float | Iterable[float] | None = None,
        vocabulary: int | Iterable[int] | None = None,
        channel_axis: int = 0,
        nonfinite: Nonfinite = "refuse",
    ) -> None:
        for name, value in {
            "dtype": _dtype(dtype),
            "coding": _one_of(coding, "coding", get_args(Coding)),
            "snr": _number(snr, "snr", 1.0, 120.0),
            "steps": _numbers(steps),
            "vocabulary": _vocabulary(vocabulary),
            "channel_axis": require_number(channel_axis, "channel_axis", -MOST_RANK, MOST_RANK - 1),
            "nonfinite": _one_of(nonfinite, "nonfinite", get_args(Nonfinite)),
        }.items():
            object.__setattr__(self, name, value)
        self._check_together()

    def _check_together(self) -> None:
        if self.coding == "step" and self.dtype not in FLOATS:
            raise ArgumentError(
                f"The coding 'step' is for {', '.join(FLOATS)}, not for {self.dtype}: take 'lossless' or 'codes'."
            )
        if self.coding != "step" and (self.steps is not None or self.nonfinite != "refuse" or self.snr != 40.0):
            raise ArgumentError(f"snr, steps and nonfinite are for the coding 'step', not for {self.coding!r}.")
        if self.steps is not None and self.snr != 40.0:
            raise ArgumentError("Steps that are given have the error that they have: give snr or steps, not both.")
        if self.coding != "codes":
            if self.vocabulary is not None:
                raise ArgumentError(f"A vocabulary is for the coding 'codes', not for {self.coding!r}.")
            return
        if self.dtype not in INTEGERS:
            raise ArgumentError(f"The coding 'codes' is for {', '.join(INTEGERS)}, not for {self.dtype}.")
        if self.vocabulary is None:
            raise ArgumentError("The coding 'codes' needs a vocabulary: one more than the largest code.")
        sizes = self.vocabulary if isinstance(self.vocabulary, tuple) else (self.vocabulary,)
        largest = int(np.iinfo(self.values).max)
        if max(sizes) > largest + 1:
            raise ArgumentError(f"A vocabulary of {max(sizes)} does not fit {self.dtype}, which ends at {largest}.")

    @property
    def values(self) -> np.dtype[Any]:
        """The NumPy dtype of the arrays."""
        return DTYPES[self.dtype]

    def besides(self, other: Tensor) -> str:
        """The options in which another declaration differs, as they are here: ``snr=30.0, nonfinite='keep'``."""
        own, its = asdict(self), asdict(other)
        return ", ".join(f"{name}={short(own[name])}" for name in own if own[name] != its[name])

    def to_json(self) -> dict[str, Any]:
        """The declaration as JSON holds it, with every option; `of_json` reads it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def of_json(cls, value: Any, where: str) -> Tensor:
        """The declaration that `to_json` wrote. where: whose it is, for messages. CorruptError says what is wrong."""
        names = [field.name for field in fields(cls)]
        if not isinstance(value, dict) or sorted(value) != sorted(names):
            raise CorruptError(
                f"{where} declares a tensor by {short(value)}; the keys {', '.join(names)} are expected."
            )
        if not isinstance(value["dtype"], str):
            raise CorruptError(f"{where} declares a tensor of dtype {short(value['dtype'])}, which is no text.")
        for name in ("steps", "vocabulary"):
            if not isinstance(value[name], list | int | float | None):
                raise CorruptError(f"{where} declares a tensor whose {name} is {short(value[name])}.")
        try:
            return cls(**value)
        except ArgumentError as error:
            raise CorruptError(f"{where} declares a tensor that cannot be: {short(error)}") from error


def _dtype(value: Any) -> str:
    name = value if isinstance(value, str) else str(value)
    if name.startswith("torch."):
        name = name.removeprefix("torch.")
    elif not isinstance(value, str):
        try:
            name = np.dtype(value).name
        except (TypeError, ValueError):
            name = repr(value)
    if name not in DTYPES:
        raise ArgumentError(f"dtype is {short(name)}; it is one of {', '.join(DTYPES)}.")
    return name


def _one_of(value: Any, name: str, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ArgumentError(f"{name} is {short(value)}; it is one of {', '.join(map(repr, allowed))}.")
    return value


def _number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise ArgumentError(f"{name} is {short(value)}; it is a number from {low:g} to {high:g}.")
    if not math.isfinite(value) or not low <= value <= high:
        raise ArgumentError(f"{name} is {short(value)}; it is a number from {low:g} to {high:g}.")
    return float(value)


def _several(value: Any, name: str) -> list[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ArgumentError(f"{name} is {short(value)}; it is a number, or one number for each channel.")
    many = list(value)
    if not 1 <= len(many) <= MOST_CHANNELS:
        raise ArgumentError(f"{name} has {len(many)} numbers; it has one for each channel, 1 to {MOST_CHANNELS}.")
    return many


def _numbers(value: Any) -> float | tuple[float, ...] | None:
    if value is None:
        return None
    if isinstance(value, int | float | np.integer | np.floating):
        return _number(value, "steps", 1e-30, 1e30)
    return tuple(_number(one, "a step", 1e-30, 1e30) for one in _several(value, "steps"))


def _vocabulary(value: Any) -> int | tuple[int, ...] | None:
    if value is None:
        return None
    if whole_number(value) is not None or isinstance(value, bool | float):
        return require_number(value, "vocabulary", 1, MOST_VOCABULARY)
    return tuple(require_number(one, "a vocabulary", 1, MOST_VOCABULARY) for one in _several(value, "vocabulary"))
