"""Which files hold tensors, and what is read of them, by the last part of their name."""

from __future__ import annotations

from collections.abc import Callable

from latentstore.codecs.errors import SignalError
from latentstore.importing.files.npy import read_npy, read_npz
from latentstore.importing.files.safetensors import read_safetensors
from latentstore.importing.files.torch_file import read_torch
from latentstore.importing.sample import MOST_BYTES, UNNAMED, Value

__all__ = ["TENSORS", "named", "read_tensors", "require_size"]

_Read = Callable[[bytes | memoryview], dict[str, Value]]
TENSORS: dict[str, _Read] = {
    "npy": lambda data: {UNNAMED: read_npy(data)},
    "npz": read_npz,
    "pt": read_torch,
    "pth": read_torch,
    "safetensors": read_safetensors,
}
"""By extension: from the bytes of a file to its values by name."""


def read_tensors(extension: str, data: bytes | memoryview) -> dict[str, Value]:
    """The values of a file. extension: one of `TENSORS`. SignalError says why there are none."""
    found = TENSORS[extension](data)
    if not found:
        raise SignalError("it holds no tensor")
    return found


def require_size(size: int | None) -> None:
    """SignalError if a file, or a member of a tar, is too large to be read whole."""
    if size is not None and size > MOST_BYTES:
        raise SignalError(f"it has {size} bytes; a file of one sample has at most {MOST_BYTES}")


def named(values: dict[str, Value], prefix: str) -> dict[str, Value]:
    """The values of a member of a tar by the names of their fields. prefix: its extension but for the last part."""
    if not prefix:
        return values
    return {prefix if name == UNNAMED else f"{prefix}.{name}": value for name, value in values.items()}
