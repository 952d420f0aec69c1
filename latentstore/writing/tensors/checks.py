"""Checks of keys and text that a writer is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import ArgumentError

__all__ = ["listed", "require_key", "require_length", "require_text"]

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
    return keys if hasattr(keys, "__len__") else list(keys)


def require_length(size: int, where: str) -> None:
    """ArgumentError if text or bytes of this size cannot be stored."""
    if size > MOST_BYTES:
        raise ArgumentError(f"{where} has {size} bytes; at most {MOST_BYTES} are stored")
