"""Codecs by name, path or URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentstore.codecs.artifact.container import MAX_BYTES
from latentstore.codecs.codec import Codec
from latentstore.codecs.errors import ArgumentError, ArtifactError, StoreError
from latentstore.codecs.load import SUFFIX, codec_from_bytes
from latentstore.codecs.load import load_codec as load_local
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location

__all__ = ["FOREIGN", "load_codec"]

FOREIGN = ("walloc", "livecodec")
"""Packages whose checkpoints `latentstore.load_codec` opens, "walloc:PATH". They make no blobs, and so no stores."""


def load_codec(name_or_url: str | Path, storage_options: dict[str, Any] | None = None) -> Codec:
    """The codec of a shipped artifact's name, or of an artifact file by path or fsspec URL.

    ArgumentError if there is no such name or file; ArtifactError if it cannot be read or is not an artifact.
    """
    name = str(name_or_url)
    if name.partition(":")[0] in FOREIGN:
        raise ArgumentError(
            f"{name} is a checkpoint of another package: latentstore.load_codec encodes and decodes with it, but a "
            "store needs an artifact with an entropy coder, which a checkpoint has not."
        )
    if "://" not in name or not name.endswith(SUFFIX):
        return load_local(name)
    folder, _, file = name.rpartition("/")
    place = Location(folder, storage_options)
    try:
        size = place.size(file)
        if size > MAX_BYTES:
            raise ArtifactError(f"{name} is too large: {size} bytes, and an artifact has at most {MAX_BYTES}.")
        content = place.read(file)
    except MissingError as error:
        raise ArgumentError(f"There is no artifact {name}: the file is not there.") from error
    except StoreError as error:
        raise ArtifactError(f"The artifact {name} cannot be read: {error}.") from error
    return codec_from_bytes(content, name)
