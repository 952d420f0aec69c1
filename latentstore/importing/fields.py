"""From the values of a source to the fields of a store: what they are, by a first look, and each sample made to fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.declaration import DTYPES, FLOATS, MOST_RANK, Tensor
from latentstore.codecs.tensors.values import MOST_VALUES
from latentstore.importing.asked import Asked, FieldAsked
from latentstore.importing.sample import Sample, Value

__all__ = ["Fields"]

# What is not stored as it is, and is the same in another type as long as its values fit, which is looked at.
EXACT = {"bool": "uint8", "uint16": "int32", "uint32": "int32", "uint64": "int32", "int64": "int32"}
_BITS = np.dtype("V2")
"""What NumPy writes for bfloat16, of which it does not know the name."""


@dataclass(frozen=True)
class _Field:
    """source: its name there. rounded: its floats may lose bits, because its type was asked for. channels: of a field
    that is coded by steps, how many every sample has."""

    source: str
    kind: Tensor | type
    rounded: bool
    channels: int | None = None


class Fields:
    """The fields of a store, and how samples are made to fit. declared: as `latentstore.Writer` takes them."""

    def __init__(self, fields: Mapping[str, _Field], skipped: Sequence[str]) -> None:
        self._fields = dict(fields)
        self._known = {one.source for one in fields.values()} | set(skipped)
        self.declared: dict[str, Tensor | type] = {name: one.kind for name, one in fields.items()}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The fields that are tensors."""
        return {name: kind for name, kind in self.declared.items() if isinstance(kind, Tensor)}

    @classmethod
    def of(cls, looked: Sequence[Sample], asked: Asked, coders: Mapping[str, TensorCoder]) -> Fields:
        """The fields of a source: those that most of some samples have.

        coders: of fields, or of the only tensor by the name ""; their declarations say more than the samples do.
        ArgumentError names the field that cannot be stored, and what can be said of it.
        """
        counts = Counter(name for sample in looked for name in sample.values)
        said = {one.source: (name, one) for name, one in asked.fields.items()}
        for name, one in asked.fields.items():
            if one.source not in counts:
                has = ", ".join(sorted(counts))
                raise ArgumentError(f"the field {name!r} is not in the source ({one.source!r}); its fields are {has}")
        found: dict[str, _Field] = {}
        coders = _named(coders, looked, said)
        for source in sorted(name for name, count in counts.items() if 2 * count > len(looked) or name in said):
            name, one = said.get(source, (source, FieldAsked(source)))
            if one.skip:
                continue
            if name in found:
                raise ArgumentError(f"two fields of the source become {name!r}: say of one of them that it is skipped")
            values = [sample.values[source] for sample in looked if source in sample.values]
            coder = coders.get(name)
            if coder is not None and not (one.dtype or one.coding or one.kind or one.others):
                _require_coder(name, coder.tensor, asked)
                made = _Field(source, coder.tensor, rounded=True)
            else:
                made = _field(name, values, one, asked)
            found[name] = replace(made, channels=_channels(name, values, made.kind))
        return cls(found, asked.skipped)

    def fitted(self, sample: Sample) -> dict[str, Any]:
        """The values of a sample as the store declares them. SignalError says what does not fit."""
        for name in sample.values:
            if name not in self._known:
                raise SignalError(f"it has the field {name!r}, which most samples do not have; leave that field out")
        made = {}
        for name, one in self._fields.items():
            if one.source not in sample.values:
                raise SignalError(f"it lacks the field {one.source!r}, which most samples have")
            try:
                made[name] = _made(sample.values[one.source], one)
            except SignalError as error:
                raise SignalError(f"its field {one.source!r} {error}") from error
        return made


def _named(
    coders: Mapping[str, TensorCoder], looked: Sequence[Sample], said: Mapping[str, tuple[str, FieldAsked]]
) -> Mapping[str, TensorCoder]:
    """The coders by the names of their fields; one of the name "" is that of the only tensor."""
    if "" not in coders:
        return coders
    sources = {name for sample in looked for name, value in sample.values.items() if isinstance(value, np.ndarray)}
    pairs = [said.get(source, (source, FieldAsked(source))) for source in sorted(sources)]
    names = [name for name, one in pairs if not one.skip]
    if len(names) != 1:
        raise ArgumentError(
            f"one coder is given, and the tensors are {', '.join(names)}: give a folder that has one for each"
        )
    return {names[0]: coders[""]}


def _require_coder(name: str, tensor: Tensor, asked: Asked) -> None:
    """ArgumentError if something is said of all fields that is not so of one whose coder is given."""
    if tensor.dtype not in FLOATS:
        return
    for what, said, has in [
        ("dtype", asked.dtype or None, tensor.dtype),
        ("coding", "step" if asked.coding == "step" else None, tensor.coding),
        ("snr", asked.snr, tensor.snr),
    ]:
        if said is not None and said != has:
            raise ArgumentError(
                f"{what} is {said}, and the coder that is given for the field {name!r} was fitted with {has}: leave "
                f"{what} out, or fit another coder"
            )


def _field(name: str, values: Sequence[Value], one: FieldAsked, asked: Asked) -> _Field:
    if one.kind is not None:
        return _Field(one.source, one.kind, rounded=False)
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    if not arrays and not (one.dtype or one.coding):
        return _Field(one.source, _plain(name, values), rounded=False)
    dtype = one.dtype
    if not dtype:
        types = Counter(array.dtype.name for array in arrays) or Counter(np.asarray(v).dtype.name for v in values)
        dtype = _stored(name, types.most_common(1)[0][0], asked)
    scalars = all(not np.ndim(value) for value in values)
    coding = one.coding or (asked.coding if dtype in FLOATS and not scalars else "lossless")
    others = dict(one.others)
    if coding == "step" and asked.snr is not None and "steps" not in others:
        others.setdefault("snr", asked.snr)
    try:
        tensor = Tensor(dtype, coding, **others)  # type: ignore[arg-type]
    except ArgumentError as error:
        raise ArgumentError(f"the field {name!r}: {error}") from error
    return _Field(one.source, tensor, rounded=bool(one.dtype or asked.dtype))


def _plain(name: str, values: Sequence[Value]) -> type:
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        return float
    if len(kinds) > 1:
        has = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ArgumentError(f"the field {name!r} is {has} in different samples: say which it is, or skip it")
    return kinds.pop()


def _stored(name: str, dtype: str, asked: Asked) -> str:
    """The type that a field of a type of the source has in the store."""
    dtype = dtype if dtype in DTYPES else EXACT.get(dtype, dtype)
    if asked.dtype and (dtype in FLOATS or dtype == "float64"):
        return asked.dtype
    if dtype not in DTYPES:
        hint = {
            "float64": "say its dtype to round it, such as float32",
            "void16": "NumPy writes bfloat16 so: say that its dtype is bfloat16",
        }.get(dtype, "skip it")
        raise ArgumentError(f"the field {name!r} is {dtype}, which is not stored: {hint}", option="field")
    return dtype


def _made(value: Value, one: _Field) -> Any:
    kind = one.kind
    if isinstance(kind, Tensor):
        if isinstance(value, str | bytes):
            raise SignalError(f"is {type(value).__name__}, and those of other samples are tensors")
        return _tensor(np.asarray(value), kind, one)
    if isinstance(value, np.ndarray):
        raise SignalError(f"is an array of {value.dtype} {value.shape}, and those of other samples are {kind.__name__}")
    if kind is float and isinstance(value, int):
        value = float(value)
    if type(value) is not kind:
        raise SignalError(f"is {type(value).__name__}, and those of other samples are {kind.__name__}")
    return value


def _tensor(array: np.ndarray, tensor: Tensor, one: _Field) -> np.ndarray:
    dtype, wanted = array.dtype.newbyteorder("="), tensor.values
    if array.ndim > MOST_RANK or max(array.size, *array.shape, 0) >= MOST_VALUES:
        raise SignalError(
            f"has the shape {array.shape}; a tensor has at most {MOST_RANK} axes, and fewer than {MOST_VALUES} values"
        )
    if dtype == _BITS and wanted == ml_dtypes.bfloat16:
        array = np.ascontiguousarray(array).view(ml_dtypes.bfloat16)
    elif dtype != wanted:
        array = _converted(array, tensor, one.rounded)
    if tensor.coding == "codes":
        _check_codes(array, tensor)
    elif tensor.coding == "step":
        _check_steps(array, tensor, one.channels)
    return array


def _converted(array: np.ndarray, tensor: Tensor, rounded: bool) -> np.ndarray:
    wanted = tensor.values
    floats = tensor.dtype in FLOATS
    if array.dtype.kind in "biu" and not floats:
        low, high = np.iinfo(wanted).min, np.iinfo(wanted).max
        if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
            raise SignalError(f"is {array.dtype} with values from {array.min()} to {array.max()}, beyond {wanted}")
        return array.astype(wanted)
    from_float = array.dtype.name in FLOATS or array.dtype.name == "float64"
    widened = tensor.dtype == "float32" and array.dtype.name != "float64"
    if not (floats and from_float) or not (rounded or widened):
        raise SignalError(f"is {array.dtype}, and {tensor.dtype} is stored; convert it, or say its dtype")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is looked at, and NaN stays NaN
        made = array.astype(wanted)
    if not widened and np.isinf(made.astype(np.float32)).any() and not np.isinf(array.astype(np.float64)).any():
        raise SignalError(f"has values up to {np.abs(array).max():g}, which are infinite in {tensor.dtype}")
    return made


def _channels(name: str, values: Sequence[Value], kind: Tensor | type) -> int | None:
    """How many channels the tensors of a field have that is coded by steps."""
    if not isinstance(kind, Tensor) or kind.coding != "step":
        return None
    axis, shapes = kind.channel_axis, [value.shape for value in values if isinstance(value, np.ndarray)]
    counts = Counter(shape[axis] for shape in shapes if -len(shape) <= axis < len(shape))
    if not counts or 2 * counts.most_common(1)[0][1] < len(shapes):
        seen = ", ".join(map(str, dict.fromkeys(shapes[:3])))
        raise ArgumentError(
            f"the field {name!r} has no channels along axis {axis}, of which every sample has the same number (its "
            f"shapes are {seen}, ...): say its channel_axis, or that its coding is lossless"
        )
    return counts.most_common(1)[0][0]


def _check_steps(array: np.ndarray, tensor: Tensor, channels: int | None) -> None:
    axis = tensor.channel_axis
    if not -array.ndim <= axis < array.ndim or array.shape[axis] != channels:
        raise SignalError(f"has the shape {array.shape}, and most samples have {channels} channels along axis {axis}")
    if tensor.nonfinite == "refuse" and not np.isfinite(array).all():
        raise SignalError("has NaN or infinite values, which the coding step keeps only with nonfinite=keep")


def _check_codes(array: np.ndarray, tensor: Tensor) -> None:
    """SignalError if a code is outside of the vocabulary; the coder would say so too late to leave the sample out."""
    if not array.size:
        return
    limit: Any = tensor.vocabulary
    if isinstance(limit, tuple):
        axis = tensor.channel_axis
        if not -array.ndim <= axis < array.ndim or array.shape[axis] != len(limit):
            raise SignalError(f"has the shape {array.shape}, and there are {len(limit)} vocabularies along axis {axis}")
        sides = [1] * array.ndim
        sides[axis] = len(limit)
        limit = np.array(limit).reshape(sides)
    if (array < 0).any() or (array >= limit).any():
        raise SignalError(f"has codes from {array.min()} to {array.max()}, outside of the vocabulary")
