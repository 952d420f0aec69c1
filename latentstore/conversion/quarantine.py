"""Entries that could not be read, on the screen and in `quarantine.jsonl`.

The file has one JSON object on each line, in the order of the source: `key` (which the sample would have had), `path`
(of the entry in the source) and `reason`; in a store with versions also `source` (what it was when it was tried). It
lies inside the store; in a Zarr store, beside the keys, since Zarr warns of other files in a group.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from latentstore.progress import printable

__all__ = ["ON_ERROR", "Failure", "count_lines", "quarantine_name", "read_lines", "reasons", "write_lines"]

ON_ERROR = ("quarantine", "skip", "raise")
"""What a conversion can do with entries that it cannot read: skip and list them, skip them, or stop."""
SHOWN_REASONS = 8
SHOWN_LENGTH = 120
_INDENT = "  "


@dataclass(frozen=True)
class Failure:
    """One entry that could not be read. source: as `Sample.source`, where the store keeps it."""

    key: str
    path: str
    reason: str
    source: str = ""

    @classmethod
    def of(cls, key: str, path: str, reason: str, source: str = "") -> Failure:
        """Escapes bytes of a file's name that are no text, so that the name can be stored anywhere."""
        return cls(key, _text(path), reason, _text(source))

    def note(self) -> dict[str, Any]:
        """As a note of the shard, so that a resumed run knows it too."""
        return {name: value for name, value in asdict(self).items() if name != "source" or value}

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> Failure:
        return cls(str(note["key"]), str(note["path"]), str(note["reason"]), str(note.get("source", "")))

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.reason}")


def quarantine_name(format: str) -> str:
    """The path of the file inside a store of this format."""
    return "key/quarantine.jsonl" if format == "zarr" else "quarantine.jsonl"


def write_lines(failures: Iterable[Failure]) -> bytes:
    """The content of `quarantine.jsonl`."""
    return "".join(json.dumps(failure.note()) + "\n" for failure in failures).encode("ascii")


def read_lines(content: bytes) -> list[Failure]:
    """The failures that `write_lines` wrote."""
    return [Failure.from_note(json.loads(line)) for line in content.decode("ascii").splitlines()]


def reasons(failures: Sequence[Failure]) -> list[tuple[str, int]]:
    """Why entries were left out, the most frequent first."""
    return sorted(Counter(failure.reason for failure in failures).items(), key=lambda one: (-one[1], one[0]))


def count_lines(stored: int, failures: Sequence[Failure], passed_over: Mapping[str, int]) -> list[str]:
    """The lines of a report that say where the entries of a source are: found = stored + left out + passed over.

    passed_over: by what they are. There is no line where all are stored.
    """
    passed = sum(passed_over.values())
    found = stored + len(failures) + passed
    if found == stored:
        return []
    lines = [f"{name:<16}{count:>12,}" for name, count in (("entries found", found), (f"{_INDENT}stored", stored))]
    if failures:
        lines.append(f"{_INDENT + 'left out':<16}{len(failures):>12,}")
        why = reasons(failures)
        lines += [f"{count:>28,}  {_short(reason)}" for reason, count in why[:SHOWN_REASONS]]
        if len(why) > SHOWN_REASONS:
            rest = sum(count for _, count in why[SHOWN_REASONS:])
            lines.append(f"{rest:>28,}  for other reasons")
    if passed_over:
        lines.append(f"{_INDENT + 'passed over':<16}{passed:>12,}")
        lines += [f"{count:>28,}  {kind}" for kind, count in sorted(passed_over.items())]
    return lines


def _text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _short(reason: str) -> str:
    return reason if len(reason) <= SHOWN_LENGTH else reason[: SHOWN_LENGTH - 3] + "..."
