"""Where codecs come from: the artifacts shipped with the package, files and URLs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from .artifact import MAX_BYTES
from .codec import Codec
from .errors import ArgumentError, ArtifactError

FOLDER = Path(__file__).parent / "artifacts"
SUFFIX = ".safetensors"


def shipped() -> list[str]:
    """Names of the artifacts that come with the package."""
    return sorted(path.name.removesuffix(SUFFIX) for path in FOLDER.glob("*" + SUFFIX))


def load_codec(name_or_url: str | Path) -> Codec:
    """The codec of a shipped artifact's name, or of an artifact file by path or fsspec URL.

    ArgumentError if there is no such name or file; ArtifactError if it cannot be read or is not an artifact.
    """
    name = str(name_or_url)
    if name in shipped():
        return _shipped_codec(name)
    if not name.endswith(SUFFIX):
        raise ArgumentError(
            f"There is no codec {name!r}: the package ships {', '.join(shipped()) or 'none'}; an artifact of "
            f"your own is named by its path or URL, which ends in {SUFFIX}."
        )
    return Codec.from_bytes(_read(name), name)


@lru_cache(maxsize=16)
def _shipped_codec(name: str) -> Codec:
    return Codec.from_bytes((FOLDER / (name + SUFFIX)).read_bytes(), name)


def _read(url: str) -> bytes:
    """No more of it than an artifact may have and a byte: what is larger is refused for that."""
    try:
        if "://" not in url:
            with Path(url).open("rb") as file:
                return file.read(MAX_BYTES + 1)
        import fsspec

        with fsspec.open(url, "rb") as remote:
            return bytes(remote.read(MAX_BYTES + 1))
    except FileNotFoundError as error:
        raise ArgumentError(f"There is no artifact {url}: the file is not there.") from error
    except (OSError, ValueError, ImportError) as error:
        raise ArtifactError(f"The artifact {url} cannot be read: {error}.") from error
