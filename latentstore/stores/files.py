"""The files that samples of a store are written to: their names, and what became of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from latentstore.codecs.errors import CorruptError, StoreError
from latentstore.loaders.remote.urls.place import path_here

__all__ = ["Exported", "UnwritableError", "file_path", "require_empty", "why_unwritable", "writing_to"]

# What the system says of a name that it cannot take. Any other failure, such as a full disk, ends an export.
BAD_NAMES = {
    errno.ENAMETOOLONG, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.EILSEQ, errno.ENOENT,
}  # fmt: skip


class UnwritableError(Exception):
    """A sample that no file of the format can hold; the message is the reason."""


@dataclass
class Exported:
    """What `export` did. count: files written. failures: (key, reason) of samples that could not be written."""

    count: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


def require_empty(folder: str) -> Path:
    """The folder that is written to; StoreError if there is something in it, ArgumentError if it is elsewhere."""
    out = path_here(folder, "files are exported to a disk")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{folder} exists and is not an empty folder: choose a new one, nothing is overwritten")
    return out


@contextmanager
def writing_to(folder: str) -> Iterator[None]:
    """A failure of the disk becomes a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{folder}: could not be written: {error.strerror or error}") from error


def why_unwritable(error: Exception) -> str:
    """Why one sample could not be written; raises what is not about this sample, such as a full disk."""
    if isinstance(error, UnwritableError | CorruptError):
        return str(error)
    if isinstance(error, FileExistsError):
        return "another sample has a file of that name on this disk, or a folder"
    if not isinstance(error, OSError) or error.errno not in BAD_NAMES:
        raise error
    return f"the name cannot be used on this disk: {error.strerror}"


def file_path(folder: Path, key: str, extension: str = ".png") -> Path:
    """The file for a sample; CorruptError if it would lie outside the folder, since stores come from anywhere."""
    parts = PurePosixPath(key).parts
    steers = "\0" in key or (os.name == "nt" and ("\\" in key or ":" in key))
    if not parts or key.startswith("/") or ".." in parts or steers:
        raise CorruptError(f"the store has the key {key!r}, which cannot name a file inside {folder}")
    return folder.joinpath(*parts[:-1], parts[-1] + extension)
