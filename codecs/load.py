"""From an artifact's name and SHA-256 to the codec: where codecs are looked for when only stored bytes name
them.

Looked at in this order: codecs this process has registered (`latentstore.open` registers the one inside a
store), the artifacts shipped with the package, and the folder that the environment variable
LATENTSTORE_ARTIFACTS names.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from latentstore.codecs.errors import ArtifactError, CorruptError, UnsupportedVersionError

if TYPE_CHECKING:
    from latentstore.codecs import Codec

FOLDER_VARIABLE = "LATENTSTORE_ARTIFACTS"

_codecs: dict[str, Codec] = {}
_lock = threading.RLock()


def _after_fork() -> None:
    # A lock that another thread of the parent held would never be released in the child (ZARR trap: it hung).
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def register(codec: Codec) -> Codec:
    """Make `codec` findable by its SHA-256 in this process; returns the one now registered under it."""
    with _lock:
        return _codecs.setdefault(codec.sha256, codec)


def registered(sha256: str) -> Codec | None:
    """The codec of that hash if this process has it already; never looks further."""
    return _codecs.get(sha256)


def codec_of(sha256: str, read_artifact: Callable[[], bytes]) -> Codec:
    """The registered codec of that hash, or the one made of the bytes that `read_artifact` gives; registered
    then.

    ArtifactError if those bytes have another hash.
    """
    with _lock:
        if sha256 in _codecs:
            return _codecs[sha256]
        codec = _shipped(sha256) or _made(read_artifact(), sha256, "the artifact stored with the data")
        return _codecs.setdefault(sha256, codec)


def resolve(name: str, sha256: str) -> Codec:
    """The codec of artifact `name` with that hash; ArtifactError says where it was looked for and what to
    do."""
    known = _codecs.get(sha256)
    if known is not None:
        return known
    with _lock:
        if sha256 in _codecs:
            return _codecs[sha256]
        codec = _shipped(sha256) or _in_folder(name, sha256)
        if codec is None:
            raise ArtifactError(
                f"artifact {name!r} with SHA-256 {sha256} is not here: it is not one of those shipped, and "
                f"{_folder_said()}. Open the data it came with by latentstore.open(url) (a data set) or "
                f"latentstore.zarr.open(url) (arrays) first, or put its .safetensors file into a folder and "
                f"set {FOLDER_VARIABLE} to it"
            )
        return _codecs.setdefault(sha256, codec)


def _shipped(sha256: str) -> Codec | None:
    from latentstore.codecs import load_codec, shipped

    for name in shipped():
        codec = load_codec(name)
        if codec.sha256 == sha256:
            return codec
    return None


def _in_folder(name: str, sha256: str) -> Codec | None:
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    # The likely file first; then any, since people rename files and the hash is what counts.
    for file in sorted(
        Path(folder).glob("*.safetensors"), key=lambda p: (not p.name.startswith(name), p.name)
    ):
        try:
            codec = _codec_from(file.read_bytes())
        except (ArtifactError, CorruptError, UnsupportedVersionError):
            continue  # the folder may hold other artifacts, older or newer than this package
        if codec.sha256 == sha256:
            return codec
    return None


def _codec_from(data: bytes) -> Codec:
    from latentstore.codecs import Codec

    return Codec.from_bytes(data)


def _made(data: bytes, sha256: str, what: str) -> Codec:
    codec = _codec_from(data)
    if codec.sha256 != sha256:
        raise ArtifactError(f"{what} has SHA-256 {codec.sha256}, but the data was written with {sha256}")
    return codec


def _folder_said() -> str:
    folder = os.environ.get(FOLDER_VARIABLE)
    return (
        f"{FOLDER_VARIABLE} ({folder}) has none of that hash" if folder else f"{FOLDER_VARIABLE} is not set"
    )
