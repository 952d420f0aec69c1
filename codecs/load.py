"""From a name, a file, an artifact's bytes or its SHA-256 to a codec.

`load_codec` takes what a user writes. `resolve` serves stored data, which names its artifact by name and SHA-256; it
looks at the codecs this process has registered (`latentstore.open` registers the one inside a store), at the artifacts
shipped with the package, and in the folder that the environment variable LATENTSTORE_ARTIFACTS names.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from latentstore.codecs.artifact.container import read_file
from latentstore.codecs.artifact.file import read_artifact
from latentstore.codecs.audio.codec import AudioCodec
from latentstore.codecs.codec import Codec
from latentstore.codecs.errors import ArgumentError, ArtifactError, CorruptError, UnsupportedVersionError
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.modality import AUDIO, IMAGE, modality_of

__all__ = [
    "FOLDER_VARIABLE",
    "SUFFIX",
    "codec_from_bytes",
    "codec_of",
    "load_codec",
    "register",
    "registered",
    "resolve",
    "shipped",
]

FOLDER_VARIABLE = "LATENTSTORE_ARTIFACTS"
SUFFIX = ".safetensors"

_CODECS: dict[str, type[Codec]] = {IMAGE.name: ImageCodec, AUDIO.name: AudioCodec}
_SHIPPED = Path(__file__).parent / "artifact" / "shipped"

_registered: dict[str, Codec] = {}
_shipped_made: dict[str, Codec] = {}
_lock = threading.RLock()


def _after_fork() -> None:
    # A lock that another thread of the parent held would never be released in the child.
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# from what a user writes


def shipped() -> list[str]:
    """Names of the artifacts that come with the package, sorted."""
    return sorted(path.name.removesuffix(SUFFIX) for path in _SHIPPED.glob("*" + SUFFIX))


def load_codec(name_or_path: str | Path) -> Codec:
    """The codec of a shipped artifact's name, or of an artifact file by its path.

    ArgumentError if there is no such name or file; ArtifactError if it cannot be read or is not an artifact.
    `latentstore.load_codec` takes URLs too.
    """
    name = str(name_or_path)
    if name in shipped():
        return _shipped_codec(name)
    if not name.endswith(SUFFIX):
        raise ArgumentError(
            f"There is no codec {name!r}: the package ships {', '.join(shipped()) or 'none'}; an artifact of "
            f"your own is named by its path or URL, which ends in {SUFFIX}."
        )
    if "://" in name:
        raise ArgumentError(f"{name} is a URL: open it with latentstore.load_codec, and pass the codec itself.")
    return codec_from_bytes(read_file(name, "artifact"), name)


def codec_from_bytes(content: bytes, where: str = "the artifact") -> Codec:
    """The codec of an artifact's bytes; ArtifactError, naming `where`, if they are not an artifact."""
    artifact = read_artifact(content, where)
    return _CODECS[modality_of(artifact.mode).name](artifact)


@lru_cache(maxsize=16)
def _shipped_codec(name: str) -> Codec:
    codec = codec_from_bytes(_shipped_bytes(name), name)
    _shipped_made[codec.sha256] = codec
    return codec


def _shipped_bytes(name: str) -> bytes:
    return (_SHIPPED / (name + SUFFIX)).read_bytes()


# from what stored data says


def register(codec: Codec) -> Codec:
    """Make `codec` findable by its SHA-256 in this process; returns the one now registered under it."""
    with _lock:
        return _registered.setdefault(codec.sha256, codec)


def registered(sha256: str) -> Codec | None:
    """The codec of that hash if this process has it already; never looks further."""
    return _registered.get(sha256)


def codec_of(sha256: str, read: Callable[[], bytes]) -> Codec:
    """The registered codec of that hash, or the one made of the artifact's bytes that `read` gives; registered then.

    ArtifactError if those bytes have another hash.
    """
    with _lock:
        if sha256 in _registered:
            return _registered[sha256]
        codec = _shipped_of(sha256)
        if codec is None:
            codec = codec_from_bytes(read())
            if codec.sha256 != sha256:
                raise ArtifactError(
                    f"the artifact stored with the data has SHA-256 {codec.sha256}, but the data was written with "
                    f"{sha256}"
                )
        return _registered.setdefault(sha256, codec)


def resolve(name: str, sha256: str) -> Codec:
    """The codec of artifact `name` with that hash; ArtifactError says where it was looked for and what to do."""
    known = _registered.get(sha256)
    if known is not None:
        return known
    with _lock:
        if sha256 in _registered:
            return _registered[sha256]
        codec = _shipped_of(sha256) or _in_folder(name, sha256)
        if codec is None:
            raise ArtifactError(
                f"artifact {name!r} with SHA-256 {sha256} is not here: it is not one of those shipped, and "
                f"{_folder_said()}. Open the data it came with by latentstore.open(url) (a data set) or "
                f"latentstore.zarr.open(url) (arrays) first, or put its .safetensors file into a folder and "
                f"set {FOLDER_VARIABLE} to it"
            )
        return _registered.setdefault(sha256, codec)


def _shipped_of(sha256: str) -> Codec | None:
    if sha256 in _shipped_made:
        return _shipped_made[sha256]
    # to make a codec takes ten times as long as to hash its artifact
    for name in shipped():
        if hashlib.sha256(_shipped_bytes(name)).hexdigest() == sha256:
            return _shipped_codec(name)
    return None


def _in_folder(name: str, sha256: str) -> Codec | None:
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    # The likely file first; then any, since people rename files and the hash is what counts.
    for file in sorted(Path(folder).glob("*" + SUFFIX), key=lambda p: (not p.name.startswith(name), p.name)):
        try:
            codec = codec_from_bytes(file.read_bytes(), str(file))
        except (ArtifactError, CorruptError, UnsupportedVersionError):
            continue  # the folder may hold other artifacts, older or newer than this package
        if codec.sha256 == sha256:
            return codec
    return None


def _folder_said() -> str:
    folder = os.environ.get(FOLDER_VARIABLE)
    return f"{FOLDER_VARIABLE} ({folder}) has none of that hash" if folder else f"{FOLDER_VARIABLE} is not set"
