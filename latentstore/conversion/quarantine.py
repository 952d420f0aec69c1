"""Entries that could not be stored: what is kept of each, on the screen and in `quarantine.jsonl`.

The file has one JSON object a line, in the order of the source: `key` (the sample's key had it been stored),
`path` (where it lies in the source) and `reason`. It lies inside the store; in a Zarr store beside
the keys, since Zarr warns of other files in a group.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from latentstore.progress import printable

__all__ = ["Failure", "file_name", "read_lines", "write_lines"]


@dataclass(frozen=True)
class Failure:
    """One entry that could not be stored."""

    key: str
    path: str
    reason: str

    @classmethod
    def of(cls, key: str, path: str, reason: str) -> Failure:
        """With what is no text in a file's name escaped, so that it can be stored anywhere."""
        return cls(key, path.encode("utf-8", "backslashreplace").decode("utf-8"), reason)

    def note(self) -> dict[str, Any]:
        """As a note of the shard, so that a resumed run knows it too."""
        return asdict(self)

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> Failure:
        return cls(str(note["key"]), str(note["path"]), str(note["reason"]))

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.reason}")


def file_name(format: str) -> str:
    """Where the file lies, relative to a store of the format "zarr" or "wds"."""
    return "key/quarantine.jsonl" if format == "zarr" else "quarantine.jsonl"


def write_lines(failures: Iterable[Failure]) -> bytes:
    """The content of `quarantine.jsonl`."""
    return "".join(json.dumps(asdict(failure)) + "\n" for failure in failures).encode("ascii")


def read_lines(content: bytes) -> list[Failure]:
    """The failures that `write_lines` wrote."""
    return [Failure.from_note(json.loads(line)) for line in content.decode("ascii").splitlines()]
