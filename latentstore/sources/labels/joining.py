"""Which entry a cell of a table names, and which column of the table names entries.

A cell names an entry by its path, with or without the extension, by its key, or, if that is unique, by the name of its
file alone. It may begin with ``./``, with the full path or URL of the source, or with any folders up to one that is
called like the source; its slashes may be backslashes; the case of its extension does not matter; and Unicode is
compared in NFC.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.columns import RESERVED
from latentstore.loaders.remote.location import Location
from latentstore.sources.item import Item
from latentstore.sources.labels.classes import normal
from latentstore.sources.labels.table import Table

__all__ = ["SEVERAL", "Finder", "joining_column"]

SEVERAL = -1
"""In place of an entry: the cell names more than one."""
SHOWN = 3
SHOWN_COLUMNS = 8
# Columns that are called so come first where several name the same entries.
NAMES = ("path", "file", "filename", "file_name", "key", "image", "image_id", "id")


class Finder:
    """Finds entries by what a table calls them. source: the URL or path of the source."""

    def __init__(self, items: Sequence[Item], source: str) -> None:
        self.items = items
        self._exact: dict[str, int] = {}
        for names in ((item.path for item in items), (item.key for item in items)):
            for i, name in enumerate(names):
                self._exact.setdefault(name, i)
        self._alike: dict[str, int] = {}
        for tier in _tiers(items):
            _add(self._alike, tier)
        self._roots = _roots(source)
        self._root = normal(self._roots[-1].rstrip("/").rpartition("/")[2])

    def find(self, cell: str) -> int | None:
        """The position of the entry that a cell names; SEVERAL; or None."""
        found = self._exact.get(cell)
        if found is not None or not cell:
            return found
        name = cell.replace("\\", "/").removeprefix("file://")
        for root in self._roots:
            name = name.removeprefix(root)
        while name.startswith("./"):
            name = name[2:]
        found = self._exact.get(name)
        return self._by_name(_folded(name)) if found is None else found

    def _by_name(self, name: str) -> int | None:
        found = self._alike.get(name)
        if found is not None or "/" not in name:
            return found
        folders = name.split("/")
        for i, folder in enumerate(folders[:-1], 1):
            if folder == self._root and (found := self._alike.get("/".join(folders[i:]))) is not None:
                return found
        return None

    def recomposed(self, cell: str, found: int) -> bool:
        """Whether the source writes the name in another composition of Unicode than the cell that names it."""
        if cell.isascii():
            return False
        last = cell.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or cell
        return last not in self.items[found].path and normal(last) in normal(self.items[found].path)


def _tiers(items: Sequence[Item]) -> Iterable[list[str]]:
    """Names of all entries, the surest first."""
    folded = [_folded(item.path) for item in items]
    yield folded
    yield [normal(item.key) for item in items]
    yield [_stem(name) for name in folded]
    yield [name.rpartition("/")[2] for name in folded]
    yield [_stem(name.rpartition("/")[2]) for name in folded]


def _add(names: dict[str, int], tier: Sequence[str]) -> None:
    """Adds names that surer ones do not have; one that two entries have stands for neither."""
    fresh: dict[str, int] = {}
    for i, name in enumerate(tier):
        fresh[name] = SEVERAL if name in fresh else i
    for name, i in fresh.items():
        names.setdefault(name, i)


def _folded(name: str) -> str:
    folder, slash, last = normal(name).rpartition("/")
    stem, dot, extension = last.rpartition(".")
    return f"{folder}{slash}{stem}{dot}{extension.lower()}" if stem else f"{folder}{slash}{last}"


def _stem(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.rpartition('.')[0] or last}"


def _roots(source: str) -> list[str]:
    """What the full path of an entry may begin with, the full path of the source last."""
    local = Location(source).local
    full = source if local is None else Path(local).resolve().as_posix()
    forms = dict.fromkeys(f"{one.rstrip('/')}/" for one in (source, unicodedata.normalize("NFC", full), full))
    return [form for form in forms if form not in ("/", "./")] or [f"{full}/"]


def joining_column(table: Table, finder: Finder, asked: str | None, label: int | None) -> tuple[int, list[int | None]]:
    """(the column whose cells name entries, what `Finder.find` says of each of its cells).

    asked: its name, if it is given. label: the column of labels, which names none. ArgumentError shows both sides where
    no column names entries, two columns name different ones, or two rows the same; or it says that the names of
    columns are missing.
    """
    if asked is not None:
        columns = table.named(asked)
        if len(columns) != 1 or columns[0] == label:
            raise ArgumentError(
                f"{table.where}: there is no column {asked!r} that names entries; its columns are "
                f"{', '.join(map(repr, table.header))}",
                option="key_column",
            )
    else:
        columns = [i for i in range(len(table.header)) if i != label]
    matches = {i: [finder.find(cell) for cell in table.cells(i)] for i in columns}
    naming = {i: found for i, found in matches.items() if _count(found)}
    if not naming:
        several = next(((i, r) for i, found in matches.items() for r, one in enumerate(found) if one == SEVERAL), None)
        if several is not None:
            i, r = several
            raise ArgumentError(
                f"{table.where}: the column {table.header[i]!r} has {table.rows[r][i]!r} in line {table.lines[r]}, and "
                "several entries have that name: write their folders before it"
            )
        raise ArgumentError(_none(table, finder, columns), option="key_column")
    distinct = {i: found for i, found in naming.items() if _twice(found) is None} or naming
    # A column called "key" can be no field, so it comes first.
    at = max(distinct, key=lambda i: (_count(distinct[i]), table.header[i] in RESERVED, -_rank(table.header[i])))
    chosen = distinct[at]
    for other, found in distinct.items():
        pairs = enumerate(zip(chosen, found, strict=True))
        row = next((r for r, (a, b) in pairs if b is not None and b != SEVERAL and a != b), None)
        if row is not None:
            raise ArgumentError(_two(table, finder, row, (at, other), distinct), option="key_column")
    if (twice := _twice(chosen)) is not None:
        first, second = (table.lines[row] for row in twice)
        raise ArgumentError(
            f"{table.where}: two rows name the same entry {finder.items[chosen[twice[0]] or 0].path}: the column "
            f"{table.header[at]!r} has {table.rows[twice[0]][at]!r} in line {first} and {table.rows[twice[1]][at]!r} "
            f"in line {second}"
        )
    title = table.header[at]
    first_line = finder.find(title) if title.lower() not in NAMES else None
    if first_line is not None and first_line != SEVERAL and first_line not in chosen:
        raise ArgumentError(
            f"{table.where}: its first line names the entry {finder.items[first_line].path}, and the names of columns "
            "are expected there: put a line of them before it"
        )
    return at, chosen


def _count(found: Sequence[int | None]) -> int:
    """Cells that name one entry."""
    return sum(one is not None and one != SEVERAL for one in found)


def _rank(name: str) -> int:
    lowered = name.lower()
    return NAMES.index(lowered) if lowered in NAMES else len(NAMES)


def _twice(found: Sequence[int | None]) -> tuple[int, int] | None:
    """Two rows that name one entry."""
    seen: dict[int, int] = {}
    for row, one in enumerate(found):
        if one is not None and one != SEVERAL and seen.setdefault(one, row) != row:
            return seen[one], row
    return None


def _none(table: Table, finder: Finder, columns: Sequence[int]) -> str:
    values = [f"{table.header[i]!r} ({_some(table.cells(i))})" for i in columns[:SHOWN_COLUMNS]]
    entries = _some([item.path for item in finder.items[:SHOWN]]) or "no entry at all"
    return (
        f"{table.where}: no column names entries of the source: the columns are {', '.join(values)}, and the source "
        f"has {entries}"
    )


def _two(table: Table, finder: Finder, row: int, pair: tuple[int, int], matches: dict[int, list[int | None]]) -> str:
    said = []
    for i in pair:
        found = matches[i][row]
        entry = "no entry" if found is None else "several" if found == SEVERAL else finder.items[found].path
        said.append(f"column {table.header[i]!r} has {table.rows[row][i]!r}, which names {entry}")
    return (
        f"{table.where}: two columns name entries of the source, and different ones: in line {table.lines[row]} "
        f"{', and '.join(said)}; say which column is meant"
    )


def _some(values: Sequence[str]) -> str:
    return ", ".join(map(repr, values[:SHOWN])) + (", ..." if len(values) > SHOWN else "")
