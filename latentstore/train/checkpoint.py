"""Checkpoints: the whole state of a training in one file, written so that the last good one stays."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from latentstore.codecs.errors import ArgumentError, StoreError

__all__ = ["read_checkpoint", "write_checkpoint"]

VERSION = 1
NEEDED = {"version", "network", "codec", "step", "seconds", "weights", "average", "optimisers", "curve"}


def write_checkpoint(path: Path, network: Mapping[str, Any], codec: str, state: Mapping[str, Any]) -> None:
    """Writes the state of a training beside the old file, and then puts it in its place.

    network: what says which network it is of, by name. codec: the SHA-256 of its artifact. StoreError if it cannot be
    written, for example to a full disk; then the old file is as it was.
    """
    partial = path.with_name(path.name + ".partial")
    content = {"version": VERSION, "network": dict(network), "codec": codec, **state}
    try:
        with partial.open("wb") as file:
            torch.save(content, file)
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer turns an OSError into a RuntimeError
        partial.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else error.__cause__ or error
        raise StoreError(f"{path} could not be written: {reason}. The checkpoint before it is kept.") from error


def read_checkpoint(path: Path, network: Mapping[str, Any], codec: str) -> dict[str, Any] | None:
    """The state that `write_checkpoint` wrote for this network and codec; None if there is no file.

    Nothing but tensors, numbers and texts is read, and no code is run. ArgumentError if the file is not a checkpoint,
    asks for more than that, or is of another network or codec.
    """
    if not path.exists():
        return None
    elsewhere = "give the recipe another folder as work, or move the file away"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArgumentError(
            f"The checkpoint {path} asks for more than tensors, numbers and texts, so it is not read: {elsewhere}."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ArgumentError(
            f"{path} is not a checkpoint that can be read ({str(error)[:200]}): {elsewhere}."
        ) from error
    if not isinstance(content, dict) or set(content) != NEEDED or content["version"] != VERSION:
        raise ArgumentError(f"{path} is not a checkpoint of version {VERSION} of this command: {elsewhere}.")
    if content["network"] != dict(network):
        raise ArgumentError(
            f"The checkpoint {path} is of another network, {_said(content['network'])}; the recipe asks for "
            f"{_said(dict(network))}: {elsewhere}."
        )
    if content["codec"] != codec:
        raise ArgumentError(
            f"The checkpoint {path} is for the codec with SHA-256 {str(content['codec'])[:12]}...; the recipe names "
            f"one with {codec[:12]}...: {elsewhere}."
        )
    return content


def _said(network: Any) -> str:
    if not isinstance(network, dict):
        return repr(network)[:100]
    return ", ".join(f"{key} {value}" for key, value in network.items())[:200]
