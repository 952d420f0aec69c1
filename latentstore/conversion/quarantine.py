"""Entries that could not be read, on the screen and in `quarantine.jsonl`.

The file has one JSON object on each line, in the order of the source: `key` (which the sample would have had), `path`
(of the entry in the source) and `reason`. It lies inside the store; in a Zarr store, beside the keys, since Zarr warns
of other files in a group.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from latentstore.progress import printable

__all__ = ["ON_ERROR", "Failure", "quarantine_name", "read_lines", "write_lines"]

ON_ERROR = ("quarantine", "skip", "raise")
"""What a conversion can do with entries that it cannot read: skip and list them, skip them, or stop."""


@dataclass(frozen=True)
class Failure:
    """One entry that could not be read."""

    key: str
    path: str
    reason: str

    @classmethod
    def of(cls, key: str, path: str, reason: str) -> Failure:
        """Escapes bytes of a file's name that are no text, so that the name can be stored anywhere."""
        return cls(key, path.encode("utf-8", "backslashreplace").decode("utf-8"), reason)

    def note(self) -> dict[str, Any]:
        """As a note of the shard, so that a resumed run knows it too."""
        return asdict(self)

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> Failure:
        return cls(str(note["key"]), str(note["path"]), str(note["reason"]))

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.reason}")


def quarantine_name(format: str) -> str:
    """The path of the file inside a store of the format "zarr" or "wds"."""
    return "key/quarantine.jsonl" if format == "zarr" else "quarantine.jsonl"


def write_lines(failures: Iterable[Failure]) -> bytes:
    """The content of `quarantine.jsonl`."""
    return "".join(json.dumps(asdict(failure)) + "\n" for failure in failures).encode("ascii")


def read_lines(content: bytes) -> list[Failure]:
    """The failures that `write_lines` wrote."""
    return [Failure.from_note(json.loads(line)) for line in content.decode("ascii").splitlines()]
