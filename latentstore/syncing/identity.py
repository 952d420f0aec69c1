"""What a sample was made of, as text: the size of its file, its time, and a hash of its bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from latentstore.codecs.errors import StoreError
from latentstore.sources.identity import hash_of


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


def found_files(source: str | Path) -> dict[str, tuple[Path, Stamp]]:
    """All files below a folder, by key: the path in it without the last ending. Hidden ones are passed over.

    StoreError if there is no such folder, or two files have one key.
    """
    root, found = Path(source), dict[str, tuple[Path, Stamp]]()
    try:
        _walk(root, "", found)
    except OSError as error:
        raise StoreError(f"{error.filename or root} cannot be listed: {error.strerror}") from error
    return dict(sorted(found.items()))


def _walk(folder: Path, prefix: str, found: dict[str, tuple[Path, Stamp]]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                _walk(Path(entry.path), f"{prefix}{entry.name}/", found)
            elif entry.is_file():
                stem = entry.name.rpartition(".")[0] or entry.name
                key = prefix + stem
                if key in found:
                    raise StoreError(
                        f"{found[key][0]} and {entry.path} would both have the key {key!r}: give one of them another "
                        "name"
                    )
                found[key] = Path(entry.path), Stamp.of(entry.stat())
