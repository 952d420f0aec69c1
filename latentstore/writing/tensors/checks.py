"""Checks of what a writer is given, but for tensors and signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from latentstore.codecs.arguments import whole_number
from latentstore.codecs.artifact.checks import short
from latentstore.codecs.artifact.container import read_file
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.declaration import Tensor

__all__ = ["given_coders", "listed", "require_key", "require_text", "require_value"]

MOST_KEY_BYTES = 4096
MOST_BYTES = 1 << 28
"""Of a value that is text or bytes."""


def require_key(key: Any) -> str:
    """A key that a sample can have."""
    if not isinstance(key, str) or not key or "\0" in key:
        raise ArgumentError(f"a key is {short(key)}; it is text, not empty and without NUL characters")
    try:
        if len(key.encode()) <= MOST_KEY_BYTES:
            return key
    except UnicodeEncodeError as error:
        raise ArgumentError(f"the key {key!r} is no valid Unicode: {error}") from error
    raise ArgumentError(f"the key {key[:40]!r}... is longer than {MOST_KEY_BYTES} bytes")


def require_text(value: Any, what: str) -> None:
    """ArgumentError unless this is text that can be stored."""
    try:
        if isinstance(value, str) and value.encode() is not None:
            return
    except UnicodeEncodeError as error:
        raise ArgumentError(f"the {what} is no valid Unicode: {error}") from error
    raise ArgumentError(f"the {what} is {short(value)}; it is text")


def listed(keys: Any) -> Sequence[str]:
    """Some keys; text alone would be taken for a key a letter."""
    if isinstance(keys, str | bytes):
        raise ArgumentError(f"keys is {short(keys)}; it is a list of keys")
    return keys if isinstance(keys, list | tuple) else list(keys)


def _require_length(size: int, where: str) -> None:
    """ArgumentError if text or bytes of this size cannot be stored."""
    if size > MOST_BYTES:
        raise ArgumentError(f"{where} has {size} bytes; at most {MOST_BYTES} are stored")


def given_coders(coders: Any, tensors: Mapping[str, Tensor]) -> dict[str, TensorCoder]:
    """The coder of each tensor field for which one is given."""
    found = {}
    for name, value in (coders or {}).items():
        if name not in tensors:
            raise ArgumentError(f"a coder is given for {name!r}, which is no tensor field; {', '.join(tensors)} are")
        coder = value if isinstance(value, TensorCoder) else TensorCoder.of_bytes(read_file(value, "coder"), str(value))
        if coder.tensor != tensors[name]:
            raise ArgumentError(
                f"the coder that is given for {name!r} is for {coder.tensor.besides(tensors[name])}, and the field is "
                f"declared with {tensors[name].besides(coder.tensor)}"
            )
        found[name] = coder
    return found


def require_value(kind: str, value: Any, where: str) -> Any:
    """The value of a field that is no tensor, checked."""
    if isinstance(value, np.ndarray) or hasattr(value, "item"):
        value = value.item() if getattr(value, "size", None) == 1 or getattr(value, "ndim", 1) == 0 else value
    if kind == "int":
        whole = whole_number(value)
        if whole is not None and -(1 << 63) <= whole < 1 << 63:
            return whole
    elif kind == "float":
        if isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(OverflowError):
                return float(value)
    elif kind == "str":
        if isinstance(value, str):
            try:
                _require_length(len(value.encode()), where)
            except UnicodeEncodeError as error:
                raise ArgumentError(f"{where}: it is no valid Unicode: {error}") from error
            return value
    elif isinstance(value, bytes | bytearray):
        _require_length(len(value), where)
        return bytes(value)
    raise ArgumentError(f"{where} is {short(value)}; {kind} is declared")
