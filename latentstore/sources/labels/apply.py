"""Gives the entries of a source the labels and fields of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.columns import RESERVED, Field
from latentstore.loaders.remote.location import Location
from latentstore.sources.item import BadItem, Item
from latentstore.sources.labels import Labels
from latentstore.sources.labels.classes import Numbering
from latentstore.sources.labels.joining import SEVERAL, Finder, joining_column
from latentstore.sources.labels.table import Table, read_table
from latentstore.sources.labels.values import LABEL, field_values, label_column
from latentstore.sources.remarks import Remark, Told, merged, tally

__all__ = ["Labelled", "apply_labels", "relabelled"]


@dataclass(frozen=True)
class Labelled:
    """Entries with labels and fields. labelled: whether the labels come from here, and not from folders. classes: the
    names of these labels, or None. remarks: what the report tells."""

    items: list[Item]
    labelled: bool
    classes: tuple[str, ...] | None
    remarks: tuple[Told, ...] = ()


def apply_labels(
    items: Sequence[Item], source: str, location: Location, name: str, asked: Labels, fixed: Numbering | None
) -> Labelled:
    """The entries with the fields that the table `name` in `location` has for them.

    source: the URL of the source. fixed: the classes, if they are given. An entry without a row, and a row without an
    entry, become entries that cannot be read, so that they are reported. StoreError if the table cannot be read;
    ArgumentError if it is no such table, or its columns cannot be meant.
    """
    table = read_table(location, name)
    label = _label_at(table, asked.label_column)
    finder = Finder(items, source)
    at, found = joining_column(table, finder, asked.key_column, label)
    columns = {n: i for i, n in enumerate(table.header) if i not in (at, label)}
    dropped = [n for n in columns if n == LABEL]
    if reserved := sorted(RESERVED.intersection(columns)):
        raise ArgumentError(f"{table.where}: a column cannot be called {reserved[0]!r}; rename it")
    wanted = {n: i for n, i in columns.items() if n not in dropped}
    if label is not None:
        wanted[LABEL] = label
    where = table.where if label is None else f"{table.where}, column {table.header[label]!r}"
    values, labels = field_values({n: table.cells(i) for n, i in wanted.items()}, where, fixed)
    fields: dict[int, dict[str, Field]] = {}
    strays: list[Item] = []
    for r, entry in enumerate(found):
        if entry is None or entry == SEVERAL:
            cell = table.rows[r][at]
            lacks = "several entries have that name" if entry == SEVERAL else "but not in the source"
            strays.append(BadItem(cell, cell, reason=f"named in {table.where}, {lacks}"))
        else:
            fields[entry] = {n: column[r] for n, column in values.items()}
    told = [
        *_told(table, finder, at, found),
        *(Told("replaced-column", 1, ((table.where, n),)) for n in dropped),
    ]
    if labels is None:
        told.append(Told("no-label-column", 1, ((table.where, ", ".join(table.header)),)))
    else:
        told += _label_remarks(table, [_path(items, entry) for entry in found], labels.unlabelled, labels.recomposed)
    labelled = [_with(item, fields.get(i), table.where) for i, item in enumerate(items)]
    return Labelled(labelled + strays, labels is not None, None if labels is None else labels.classes, merged(told))


def relabelled(items: Sequence[Item], where: str, fixed: Numbering | None) -> Labelled:
    """Entries of a Zarr array whose labels are names, or numbers that are not of type int, with numbers as in a table.

    Numbers that are not whole stay what they are, unless classes are given.
    """
    found = [item.fields.get(LABEL) for item in items]
    if not any(isinstance(one, str | float) for one in found):
        return Labelled(list(items), False, None)
    if fixed is None and any(isinstance(one, float) and math.isfinite(one) and one % 1 for one in found):
        return Labelled(list(items), False, None)
    labels = label_column([str(one).strip() for one in found], f"{where}, array 'label'", fixed)
    numbered = [
        item.with_(fields={**item.fields, LABEL: number}) for item, number in zip(items, labels.numbers, strict=True)
    ]
    unlabelled = tally((items[i].path, Remark("no-label")) for i in labels.unlabelled)
    return Labelled(numbered, True, labels.classes, unlabelled)


def _label_at(table: Table, asked: str | None) -> int | None:
    """The column of labels. ArgumentError if the one that is asked for is not there, or two could be it."""
    columns = table.named(asked or LABEL)
    if len(columns) > 1:
        names = ", ".join(repr(table.header[i]) for i in columns)
        raise ArgumentError(f"{table.where}: the columns {names} may all be the label", option="label_column")
    if asked is not None and not columns:
        raise ArgumentError(
            f"{table.where}: there is no column {asked!r}; its columns are {', '.join(map(repr, table.header))}",
            option="label_column",
        )
    return columns[0] if columns else None


def _with(item: Item, fields: dict[str, Field] | None, where: str) -> Item:
    if fields is not None:
        return item.with_(fields={**item.fields, **fields})
    if isinstance(item, BadItem):
        return item
    return BadItem(item.key, item.path, item.size_bytes, item.stamp, {}, f"no row of {where} names it")


def _path(items: Sequence[Item], entry: int | None) -> str:
    return "" if entry is None or entry == SEVERAL else items[entry].path


def _told(table: Table, finder: Finder, at: int, found: Sequence[int | None]) -> tuple[Told, ...]:
    """What is worth knowing of how rows and entries were joined."""
    composed = [
        (finder.items[entry].path, Remark("composition", table.where))
        for cell, entry in zip(table.cells(at), found, strict=True)
        if entry is not None and entry != SEVERAL and finder.recomposed(cell, entry)
    ]
    broken = (Told("line-break", table.broken, ((table.where, ""),)),) if table.broken else ()
    return (*tally(composed), *broken)


def _label_remarks(
    table: Table, paths: Sequence[str], unlabelled: Sequence[int], recomposed: Sequence[str]
) -> tuple[Told, ...]:
    said = [(paths[row], Remark("no-label", f"line {table.lines[row]}")) for row in unlabelled if paths[row]]
    return tally([*said, *((name, Remark("composition", table.where)) for name in recomposed)])
