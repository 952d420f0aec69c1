"""What a sample was made of, as text: the size of its file, its time, and a hash of its bytes."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote.urls.place import path_here
from latentstore.sources.identity import hash_of
from latentstore.sources.item import text_of


@dataclass(frozen=True)
class Stamp:
    """What the file system says of a file. size: in bytes. time: of its last change, in nanoseconds."""

    size: int
    time: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """From what `os.stat` gives."""
        return cls(status.st_size, status.st_mtime_ns)


def identity(stamp: Stamp, content: str) -> str:
    """The text that a store keeps. content: what `content_hash` gave."""
    return f"{stamp.size}:{stamp.time}:{content}"


def is_unchanged(kept: str, stamp: Stamp, path: Path) -> bool | None:
    """Whether a file is still what the text says. True without reading it where size and time are the same; None where
    its bytes had to be read to find that they are."""
    size, _, rest = kept.partition(":")
    time, _, content = rest.partition(":")
    if size != str(stamp.size):
        return False
    if time == str(stamp.time):
        return True
    return None if content_hash(path) == content else False


def content_hash(path: Path) -> str:
    """32 hexadecimal digits that stand for the bytes of a file. StoreError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hash_of(file)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error


def found_files(source: str | Path, without: Collection[str] = ()) -> dict[str, tuple[Path, Stamp]]:
    """All files below a folder, by key: the path in it without the last ending. Hidden ones are passed over.

    without: paths of folders that are no part of it. StoreError if there is no such folder, two files have one key, or
    a file cannot be reached, since what is missing is taken for gone.
    """
    root = path_here(source, "encode is given the paths of files")
    found = dict[str, tuple[Path, Stamp]]()
    apart = {os.path.realpath(path) for path in without}
    try:
        _walk(root, "", found, {os.path.realpath(root)}, apart)
    except OSError as error:
        raise StoreError(f"{error.filename or root} cannot be listed: {error.strerror}") from error
    return dict(sorted(found.items()))


def _walk(folder: Path, prefix: str, found: dict[str, tuple[Path, Stamp]], above: set[str], apart: set[str]) -> None:
    """above: the folders that this one lies in, and itself."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                real = os.path.realpath(entry.path)
                if real in above:
                    raise StoreError(f"{entry.path} is a link to a folder that holds it: remove it")
                if real not in apart:
                    _walk(Path(entry.path), f"{prefix}{entry.name}/", found, {*above, real}, apart)
            elif entry.is_file():
                stem = entry.name.rpartition(".")[0] or entry.name
                key = prefix + stem
                if text_of(key) != key:
                    raise StoreError(f"the name of the file {entry.path!r} is not UTF-8: rename it")
                if key in found:
                    raise StoreError(
                        f"{found[key][0]} and {entry.path} would both have the key {key!r}: give one of them another "
                        "name"
                    )
                found[key] = Path(entry.path), Stamp.of(entry.stat())
            elif entry.is_symlink() and not Path(entry.path).exists():
                raise StoreError(f"{entry.path} is a link to nothing: remove it, or bring back what it links to")
