"""Reads a checkpoint that `torch.save` wrote, which may come from anybody.

What the pickle inside asks for is listed before it is unpickled: tensors, plain values, and `types.SimpleNamespace`,
which holds a configuration. Anything else is refused. No byte of it runs as code.
"""

from __future__ import annotations

import os
import pickle
import pickletools
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import ArgumentError, ArtifactError, LatentstoreError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Checkpoint", "fill", "load_torch", "read_checkpoint"]

MAX_BYTES = 4 << 30
MAX_PICKLE_BYTES = 64 << 20
"""The pickle holds the names and shapes of tensors, and the log of a training run: a number for each step."""
LONGEST_NAME = 100

_TENSORS = {
    "collections.OrderedDict",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor_v2",
    *(f"torch.{kind}Storage" for kind in ("BFloat16", "Bool", "Double", "Float", "Half", "Int", "Long")),
}
_CONFIGURATION = "types.SimpleNamespace"
# A training log may hold NumPy's numbers. Nothing here needs them, and none is made.
_NUMBERS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
_ENCODE = "_codecs.encode"  # the bytes of such a number; torch allows it by itself
_ALLOWED = {*_TENSORS, _CONFIGURATION, *_NUMBERS, _ENCODE}
# What torch raises for files that contradict themselves.
_MALFORMED = (
    pickle.UnpicklingError, RuntimeError, ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError,
    AssertionError, ArithmeticError, OSError, zipfile.BadZipFile,
)  # fmt: skip

_lock = threading.Lock()


def _after_fork() -> None:
    # A lock that another thread of the parent held would never be released in the child.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Ignored:
    """Stands in place of a number of NumPy."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


@dataclass(frozen=True)
class Checkpoint:
    """The plain values of a checkpoint, and its weights by name. path: for messages."""

    path: Path
    values: Mapping[str, Any]
    weights: dict[str, Tensor]


def load_torch() -> Any:
    """The module torch; LatentstoreError if it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise LatentstoreError(
            "The networks of these checkpoints run in torch, which is not installed: "
            'pip install "latentstore[checkpoints]".'
        ) from error
    return torch


def read_checkpoint(path: Path, weights: str) -> Checkpoint:
    """Reads the file. weights: the name under which it holds the weights.

    ArgumentError if there is no such file; ArtifactError if it is not such a checkpoint, or asks for more.
    """
    torch = load_torch()
    try:
        with path.open("rb") as file:
            sizes = _check(file, path)
            file.seek(0)
            found = _load(torch, file, _asked(file, path))
    except FileNotFoundError as error:
        raise ArgumentError(f"There is no checkpoint {path}: the file is not there.") from error
    except _MALFORMED as error:
        raise ArtifactError(f"{path} is not a checkpoint that torch.save wrote whole ({short(error)}).") from error
    state = found.get(weights) if isinstance(found, dict) else None
    if not isinstance(state, dict) or not state:
        raise ArtifactError(f"{path} holds no weights under {weights!r}: it is not a checkpoint of this codec.")
    _check_weights(torch, state, sizes, path)
    return Checkpoint(path, found, state)


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Gives a network, which was made without memory, its weights. The names and shapes must be the network's."""
    import torch

    wanted = network.state_dict()
    lacking, more = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if lacking or more:
        name, what = (lacking[0], "lacks") if lacking else (more[0], "has besides")
        count = len(lacking) + len(more)
        others = f", and {count - 1} more names differ" if count > 1 else ""
        raise ArtifactError(
            f"The weights of {path} are not those that its configuration says: it {what} {name[:LONGEST_NAME]!r}"
            f"{others}."
        )
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise ArtifactError(
                f"{path}: {name!r} has the shape {tuple(state[name].shape)}; its configuration says "
                f"{tuple(tensor.shape)}."
            )
    network.load_state_dict({name: tensor.to(torch.float32) for name, tensor in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


def _check(file: IO[bytes], path: Path) -> Counter[int]:
    """How many tensors' data of each size in bytes there are; raises unless nothing becomes larger when it is read."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise ArtifactError(f"{path} holds compressed parts, which torch.save does not write.")
    total = sum(entry.file_size for entry in entries)
    length = file.seek(0, 2)
    if total > length or length > MAX_BYTES:
        raise ArtifactError(f"{path} claims {total} bytes in a file of {length}; at most {MAX_BYTES} are read.")
    return Counter(entry.file_size for entry in entries if "/data/" in entry.filename)


def _asked(file: IO[bytes], path: Path) -> set[str]:
    """What the pickle asks for, without unpickling it; ArtifactError if that is more than a checkpoint needs."""
    with zipfile.ZipFile(file) as archive:
        name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if name is None:
            raise ArtifactError(f"{path} is not a checkpoint that torch.save wrote: it has no data.pkl.")
        if archive.getinfo(name).file_size > MAX_PICKLE_BYTES:
            raise ArtifactError(f"{path}: its data.pkl has more than {MAX_PICKLE_BYTES} bytes.")
        with archive.open(name) as content:
            asked = set(_globals(content))
    file.seek(0)
    if more := sorted(asked - _ALLOWED):
        raise ArtifactError(
            f"{path} asks for {more[0][:LONGEST_NAME]}, which no checkpoint needs; nothing of it was run. A file may "
            "hold tensors, plain values and types.SimpleNamespace."
        )
    return asked


def _globals(content: IO[bytes]) -> Iterator[str]:
    for code, argument, _ in pickletools.genops(content):
        if code.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif code.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            yield code.name  # torch.save writes none of these


def _load(torch: Any, file: IO[bytes], asked: set[str]) -> Any:
    allowed: list[Any] = [SimpleNamespace] if _CONFIGURATION in asked else []
    # Only where they are asked for: torch keeps one list of what is allowed for the whole process.
    allowed += [(_Ignored, name) for name in _NUMBERS if name in asked]
    # A call that ends in another thread would take the classes from the list.
    with _lock, torch.serialization.safe_globals(allowed):
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_weights(torch: Any, state: Mapping[Any, Any], sizes: Counter[int], path: Path) -> None:
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ArtifactError(f"{path}: the weight {short(name)} is no tensor but {type(tensor).__name__}.")
        if not tensor.is_contiguous() or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ArtifactError(f"{path}: {name[:LONGEST_NAME]!r} claims more numbers than the file holds.")
    stored = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state.values()}
    if Counter(stored.values()) - sizes:
        raise ArtifactError(f"{path}: its weights claim more bytes than the file holds.")
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(f"{path}: {name!r} holds numbers that are not finite.")
