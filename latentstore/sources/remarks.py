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
    "absolute-member": Kind(
        "has an absolute name; the slash at its beginning was dropped",
        "have absolute names; the slash at their beginning was dropped",
        noun=("member of a tar", "members of tars"),
    ),
    "beyond-full-scale": Kind(
        "goes beyond full scale (-1 to 1); 16-bit files that are made of it will be clipped",
        "go beyond full scale (-1 to 1); 16-bit files that are made of them will be clipped",
    ),
    "cancelled": Kind(
        "lost most of its level when two inputs were mixed to one, because they cancel each other",
        "lost most of their level when two inputs were mixed to one, because they cancel each other",
    ),
    "class-number": Kind(
        "has a number for its name, and another number for its label",
        "have numbers for their names, and other numbers for their labels",
        noun=("class", "classes"),
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
    "composition": Kind(
        "has a name in another composition of Unicode, which was taken for the same",
        "have names in another composition of Unicode, which were taken for the same",
        noun=("entry or class", "entries or classes"),
    ),
    "damaged": Kind(
        "is damaged; what its decoder made of it was kept", "are damaged; what their decoder made of them was kept"
    ),
    "dark": Kind(
        "has 16-bit values that are all below 4096, so it came out very dark",
        "have 16-bit values that are all below 4096, so they came out very dark",
    ),
    "decoder-warning": Kind(
        "has bytes that its decoder did not expect, which may be damage",
        "have bytes that their decoder did not expect, which may be damage",
    ),
    "down-sampled": Kind(
        "was resampled to a lower rate, so nothing above half of that rate is kept",
        "were resampled to a lower rate, so nothing above half of that rate is kept",
        ("rate", "HERTZ"),
        "chooses another rate",
    ),
    "empty-class": Kind(
        "has no sample",
        "have no sample",
        noun=("class", "classes"),
    ),
    "faint": Kind("stays below -80 dBFS", "stay below -80 dBFS"),
    "floats-0-1": Kind("has floats; 1 was taken as white", "have floats; 1 was taken as white"),
    "floats-0-255": Kind("has floats; 255 was taken as white", "have floats; 255 was taken as white"),
    "key-case": Kind(
        "has a key that differs from another in case or composition alone; some disks cannot hold both files",
        "have keys that differ from others in case or composition alone; some disks cannot hold all the files",
    ),
    "key-control": Kind(
        "has a key with control characters; not every disk can hold a file of that name",
        "have keys with control characters; not every disk can hold files of these names",
    ),
    "key-folder": Kind(
        "has a key whose file would be called like the folder of another",
        "have keys whose files would be called like the folder of another",
    ),
    "key-long": Kind(
        "has a key too long for the name of a file; it cannot be exported",
        "have keys too long for names of files; they cannot be exported",
    ),
    "key-windows": Kind(
        "has a key that Windows takes for no name of a file",
        "have keys that Windows takes for no names of files",
    ),
    "line-break": Kind(
        "has a line break inside quotes; if it should not, a quote is missing its partner",
        "have line breaks inside quotes; if they should not, a quote is missing its partner",
        noun=("row of the table", "rows of the table"),
    ),
    "linked-member": Kind(
        "is a link; the file that it points to was read",
        "are links; the files that they point to were read",
        noun=("member of a tar", "members of tars"),
    ),
    "metadata": Kind(
        "has a colour profile or EXIF data that cannot be used, and was read without it",
        "have a colour profile or EXIF data that cannot be used, and were read without it",
    ),
    "no-label": Kind(
        "has no label there; its label is -1",
        "have no label there; their label is -1",
        noun=("row", "rows"),
    ),
    "no-label-column": Kind(
        "has no column 'label', so it gives no labels",
        "have no column 'label', so they give no labels",
        ("label_column", "NAME"),
        "chooses another column",
        ("table", "tables"),
    ),
    "replaced-column": Kind(
        "called 'label' was left out, because another column holds the labels",
        "called 'label' were left out, because another column holds the labels",
        noun=("column", "columns"),
    ),
    "silence": Kind(
        "comes back as silence although it is not silent: next to nothing of it lies in what the codec keeps",
        "come back as silence although they are not silent: next to nothing of them lies in what the codec keeps",
    ),
    "silent": Kind("is silent: all its samples are 0", "are silent: all their samples are 0"),
    "transparent": Kind(
        "is transparent everywhere, and was stored as white", "are transparent everywhere, and were stored as white"
    ),
    "unheard": Kind(
        "is a JPEG of a rare kind, in whose pixels damage cannot be noticed",
        "are JPEGs of a rare kind, in whose pixels damage cannot be noticed",
    ),
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
