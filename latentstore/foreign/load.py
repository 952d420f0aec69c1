"""`latentstore.load_codec`: from a name, a path or a URL to a codec, checkpoints of other packages included."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from latentstore.codecs.codec import Codec
from latentstore.codecs.errors import ArgumentError
from latentstore.foreign.checkpoint import load_torch
from latentstore.loaders.artifacts import FOREIGN
from latentstore.loaders.artifacts import load_codec as load_own

__all__ = ["load_codec"]

_CLASSES = {"walloc": "Walloc", "livecodec": "LiveCodec"}


def load_codec(name_or_url: str | Path, storage_options: dict[str, Any] | None = None) -> Codec | Any:
    """The codec of a shipped artifact's name, or of an artifact file by path or fsspec URL.

    "walloc:PATH" and "livecodec:PATH" give the codec of a local checkpoint that the authors of WaLLoC or LiVeAction
    trained, a `ForeignCodec`: it encodes and decodes latents, and needs torch.

    ArgumentError if there is no such name or file; ArtifactError if it cannot be read or is not an artifact, or not
    such a checkpoint.
    """
    package, _, path = str(name_or_url).partition(":")
    if package not in FOREIGN:
        return load_own(name_or_url, storage_options)
    if "://" in path:
        raise ArgumentError(f"{name_or_url}: a checkpoint is read from a local file; download it first.")
    load_torch()
    return getattr(import_module(f"latentstore.foreign.{package}"), _CLASSES[package])(Path(path))
