"""Fields from the names of files: ``{label}_{speaker}_{n}.wav`` reads 7_theo_12.wav.

A pattern with slashes is matched with as many of the last parts of the path. A field takes as few characters as
possible, at least one, and no slash. ``{_}`` matches text that is not kept. Extensions are compared if both the
pattern and the name have one; names in tars and Zarr have none. Values become numbers and classes as in a table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.columns import RESERVED, Field
from latentstore.sources.item import BadItem, Item, text_of
from latentstore.sources.labels.apply import Labelled
from latentstore.sources.labels.classes import Numbering
from latentstore.sources.labels.values import field_values
from latentstore.sources.remarks import Remark, tally

__all__ = ["is_pattern", "match_names"]

FIELD = re.compile(r"\{([^{}]*)\}")
PASSED_OVER = "_"


def is_pattern(labels: str) -> bool:
    """Whether labels are given as a pattern, and not as a file."""
    return FIELD.search(labels) is not None


def match_names(items: Sequence[Item], pattern: str, fixed: Numbering | None = None) -> Labelled:
    """The entries with the fields of their names.

    fixed: the classes, if they are given. There are classes if a field ``label`` is text. An item whose name does not
    fit becomes an entry that cannot be read. ArgumentError if no name fits, the pattern is not valid, or the labels
    cannot be meant.
    """
    path = PurePosixPath(pattern)
    extension = "" if "{" in path.suffix else path.suffix
    expression, parts = _expression(pattern.removesuffix(extension)), len(path.parts)
    found: list[dict[str, str] | None] = []
    for item in items:
        name = PurePosixPath(*text_of(item.path).split("/")[-parts:])
        other = bool(extension and name.suffix) and name.suffix.lower() != extension.lower()
        match = None if other else expression.fullmatch(str(name.with_suffix("")))
        found.append(None if match is None else match.groupdict())
    fitting = [one for one in found if one is not None]
    if not fitting:
        example = repr(items[0].path) if items else "nothing"
        raise ArgumentError(f"no name in the source fits the pattern {pattern!r}; the first is {example}")
    columns = {name: [one[name] for one in fitting] for name in fitting[0]}
    values, labels = field_values(columns, f"the pattern {pattern!r}", fixed)
    rows = iter([dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)])
    named: list[Item] = []
    for item, one in zip(items, found, strict=True):
        if one is not None:
            fields: dict[str, Field] = {**item.fields, **next(rows, {})}
            named.append(item.with_(fields=fields))
        elif isinstance(item, BadItem):
            named.append(item)
        else:
            reason = f"its name does not fit the pattern {pattern}"
            named.append(BadItem(item.key, item.path, item.size_bytes, item.stamp, {}, reason))
    if labels is None:
        return Labelled(named, False, None)
    composed = tally((name, Remark("composition", fixed.where if fixed else pattern)) for name in labels.recomposed)
    return Labelled(named, True, labels.classes, composed)


def _expression(pattern: str) -> re.Pattern[str]:
    names: list[str] = []
    parts = FIELD.split(pattern)
    for i, name in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.escape(name)
        elif name == PASSED_OVER:
            parts[i] = "[^/]+?"
        elif not name.isidentifier() or not name.isascii() or name in names or name in RESERVED:
            raise ArgumentError(
                f"the pattern {pattern!r}: {{{name}}} is not a valid field: a name has letters, digits and _, occurs "
                f"once, and is none of {', '.join(sorted(RESERVED))}"
            )
        else:
            names.append(name)
            parts[i] = f"(?P<{name}>[^/]+?)"
    return re.compile("".join(parts))
