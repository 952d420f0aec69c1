"""What the files of artifacts and of decoders share: tensors and facts as JSON in one safetensors file.

Reading one runs no code and no pickle. What the facts and the tensors must be is checked by who asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.errors import ArgumentError, ArtifactError, UnsupportedVersionError

__all__ = ["MAX_BYTES", "Array", "pack", "read_file", "unpack"]

MAX_BYTES = 64 << 20

Array = npt.NDArray[Any]


def pack(key: str, version: int, facts: Mapping[str, Any], tensors: Mapping[str, Array]) -> bytes:
    """The bytes of a file; the same facts and tensors give the same bytes. key: the facts' name in the metadata."""
    text = json.dumps({"version": version, **facts}, sort_keys=True, ensure_ascii=False)
    return save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata={key: text})


def read_file(path: str | Path, what: str) -> bytes:
    """The bytes of a local file. what: "artifact" or "decoder", for messages.

    ArgumentError if there is no such file; ArtifactError if it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)  # a byte too many is refused for its size
    except FileNotFoundError as error:
        raise ArgumentError(f"There is no {what} {path}: the file is not there.") from error
    except (OSError, ValueError) as error:
        raise ArtifactError(f"The {what} {path} cannot be read: {error}.") from error


def unpack(content: bytes, where: str, key: str, version: int, what: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """The facts and tensors of the file `where`. what: "artifact" or "decoder", for messages.

    ArtifactError says what is wrong; UnsupportedVersionError if a newer release wrote it.
    """
    if len(content) > MAX_BYTES:
        raise ArtifactError(f"{where} is too large: more than {MAX_BYTES} bytes are no {what}.")
    try:
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        facts = json.loads(header["__metadata__"][key])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{where} is not a latentstore {what} ({short(error)}); fetch it again.") from error
    found = facts.get("version") if isinstance(facts, dict) else None
    if not whole(found, 1, 1 << 31):
        raise ArtifactError(f"{where} is not a latentstore {what}: it does not say its version; fetch it again.")
    if found != version:
        raise UnsupportedVersionError(
            f"{where} is of {what} version {found}; this release reads {version}: upgrade latentstore."
        )
    return facts, tensors
