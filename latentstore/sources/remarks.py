"""What is worth knowing about entries that are stored, or about the source as a whole: kinds, counts, examples.

Whoever reads an entry says `Remark(kind, detail)`; a conversion counts them by kind and keeps the first few paths.
Every kind has its sentence here, so that the report says the same thing everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["KINDS", "Kind", "Remark", "Told", "merged", "tally"]

# So many entries are named for a kind.
EXAMPLES = 3


@dataclass(frozen=True)
class Kind:
    """A kind of remark.

    one, many: what one of them, or several, are said to do; their number and noun stand before it. option: an option of
    `convert` and its value that would change it, and does: what it would do. noun: one and many, where they are not
    samples ("link", "links").
    """

    one: str
    many: str
    option: tuple[str, str] | None = None
    does: str = ""
    noun: tuple[str, str] | None = None


KINDS: Mapping[str, Kind] = {
    "beyond-full-scale": Kind(
        "goes beyond full scale (-1 to 1); 16-bit files that are made of it will be clipped",
        "go beyond full scale (-1 to 1); 16-bit files that are made of them will be clipped",
    ),
    "cancelled": Kind(
        "lost most of its level when two inputs were mixed to one, because they cancel each other",
        "lost most of their level when two inputs were mixed to one, because they cancel each other",
    ),
    "clipped": Kind(
        "is clipped: many of its samples are at full scale",
        "are clipped: many of their samples are at full scale",
    ),
    "coefficients": Kind(
        "had coefficients too large for this quality; they come back too weak, which a lower quality avoids",
        "had coefficients too large for this quality; they come back too weak, which a lower quality avoids",
    ),
    "color-profile": Kind(
        "has a colour profile other than sRGB, which was not applied",
        "have a colour profile other than sRGB, which was not applied",
        ("color", "srgb"),
        "converts such colours",
    ),
    "down-sampled": Kind(
        "was resampled to a lower rate, so nothing above half of that rate is kept",
        "were resampled to a lower rate, so nothing above half of that rate is kept",
        ("rate", "HERTZ"),
        "chooses another rate",
    ),
    "faint": Kind("stays below -80 dBFS", "stay below -80 dBFS"),
    "silent": Kind("is silent: all its samples are 0", "are silent: all their samples are 0"),
}


@dataclass(frozen=True)
class Remark:
    """Something worth knowing about one entry. kind: a name of `KINDS`. detail: more of it, "" for nothing."""

    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Told:
    """Remarks of one kind. count: of entries. examples: the first few, as (path, detail)."""

    kind: str
    count: int = 0
    examples: tuple[tuple[str, str], ...] = field(default=())

    def with_(self, other: Told) -> Told:
        """Both together, the examples of this one first."""
        return replace(self, count=self.count + other.count, examples=(self.examples + other.examples)[:EXAMPLES])

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"kind": self.kind, "count": self.count, "examples": [list(example) for example in self.examples]}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Told:
        """What `as_json` gave."""
        return cls(str(said["kind"]), int(said["count"]), tuple((str(p), str(d)) for p, d in said["examples"]))


def tally(said: Iterable[tuple[str, Remark]]) -> tuple[Told, ...]:
    """Counts the remarks of entries, given as (path, remark): by kind, in alphabetical order."""
    return merged(Told(remark.kind, 1, ((path, remark.detail),)) for path, remark in said)


def merged(parts: Iterable[Told]) -> tuple[Told, ...]:
    """Counts of several parts of a source, in their order, as one: by kind, in alphabetical order."""
    found: dict[str, Told] = {}
    for part in parts:
        found[part.kind] = found[part.kind].with_(part) if part.kind in found else part
    return tuple(found[kind] for kind in sorted(found))
