"""Labels from a CSV file, or a tab-separated .tsv: one row for each entry, whose other columns become fields.

The column that names the entries is the one with a name of `NAMES`, or else the first. It holds the path in the
source, with or without extension, or the key. The column ``label`` is the class: whole numbers stay as they are; text
is numbered in alphabetical order, and the texts become the classes of the store. Another column is int or float if all
its values are, and str otherwise; an empty cell of a float column is not-a-number.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.columns import RESERVED, Field
from latentstore.loaders.remote.location import Location
from latentstore.sources.item import BadItem, Item

__all__ = ["Labels", "apply_labels", "field_values"]

NAMES = ("path", "file", "filename", "file_name", "key", "image", "image_id", "id")
# Numbers that read back as they were written: 007 is a name. Eighteen digits fit 64 bits.
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
DECIMAL = re.compile(rf"({WHOLE.pattern}|-?(0|[1-9][0-9]*)?\.[0-9]+|-?(0|[1-9][0-9]*)\.?)([eE][-+]?[0-9]+)?|nan|-?inf")
# A whole number that does not fit would lose digits as a float.
TOO_LONG = re.compile(r"-?[0-9]{16,}")


@dataclass(frozen=True)
class Labels:
    """Where labels come from.

    by: a CSV by path or URL, or a pattern of file names; None for the folders. key_column: the column of the CSV that
    names the entries; None finds it. label_column: the column that holds the labels; None is ``label``. classes: a file
    of class names, or a store, that fixes the names and numbers of the classes; None numbers them by their order.
    """

    by: str | None = None
    key_column: str | None = None
    label_column: str | None = None
    classes: str | None = None

    def facts(self) -> dict[str, str | None]:
        """What a resumed conversion must have the same."""
        return {
            "labels": self.by,
            "key_column": self.key_column,
            "label_column": self.label_column,
            "classes_of": self.classes,
        }


def apply_labels(items: Sequence[Item], location: Location, name: str) -> tuple[list[Item], tuple[str, ...] | None]:
    """Read labels from the file `name` in `location`: (items with the columns as fields, classes or None).

    An entry without a row, and a row without an entry, become entries that cannot be read, so that they are reported.
    StoreError if the file cannot be read; ArgumentError if it is no such table, or none of its rows names an entry.
    """
    where = location.at(name)
    header, rows = _table(where, location.read(name), "\t" if name.lower().endswith(".tsv") else ",")
    lowered = [column.strip().lower() for column in header]
    at = next((lowered.index(name) for name in NAMES if name in lowered), 0)
    columns = {column.strip(): i for i, column in enumerate(header) if i != at}
    if reserved := sorted(RESERVED & set(columns)):
        raise ArgumentError(f"{where}: a column cannot be called {reserved[0]!r}; rename it")
    values, classes = field_values({column: [row[i].strip() for row in rows] for column, i in columns.items()})
    find = _finder(items)
    fields: dict[int, dict[str, Field]] = {}
    strays = []
    for r, row in enumerate(rows):
        found = find(row[at].strip())
        if found is None:
            strays.append(BadItem(row[at], row[at], reason=f"named in {where}, but not in the source"))
        elif found in fields:
            raise ArgumentError(f"{where}: two rows name the same entry {items[found].path}")
        else:
            fields[found] = {column: cells[r] for column, cells in values.items()}
    if not fields:
        example = f"{items[0].path!r}" if items else "nothing"
        raise ArgumentError(
            f"{where}: no row names an entry of the source: the first row has {rows[0][at]!r} in column "
            f"{header[at]!r}, and the first entry is {example}"
        )
    labelled: list[Item] = []
    for i, item in enumerate(items):
        if isinstance(item, BadItem) or i in fields:
            labelled.append(item.with_(fields={**item.fields, **fields.get(i, {})}))
        else:
            reason = f"no row of {where} names it"
            labelled.append(BadItem(item.key, item.path, item.size_bytes, item.stamp, {}, reason))
    return labelled + strays, classes


def field_values(columns: Mapping[str, list[str]]) -> tuple[dict[str, list[Field]], tuple[str, ...] | None]:
    """(the values of columns of text, classes or None): as numbers if all of a column are numbers.

    The column ``label`` becomes the numbers of its classes, unless it holds whole numbers already.
    """
    values: dict[str, list[Field]] = {}
    classes = None
    for column, cells in columns.items():
        if column == "label" and not all(map(WHOLE.fullmatch, cells)):
            classes = tuple(sorted(set(cells)))
            number = {name: i for i, name in enumerate(classes)}
            values[column] = [number[cell] for cell in cells]
        else:
            values[column] = list(map(_reader(cells), cells))
    return values, classes


def _table(where: str, content: bytes, delimiter: str) -> tuple[list[str], list[list[str]]]:
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError(f"{where} is not a CSV file in UTF-8: {error}") from error
    rows = [row for row in lines if row]
    if len(rows) < 2:
        raise ArgumentError(f"{where} has no rows: a line of column names and at least one row below it are expected")
    header = rows[0]
    if len({column.strip() for column in header}) != len(header):
        raise ArgumentError(f"{where}: two columns have the same name: {', '.join(header)}")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise ArgumentError(f"{where}: row {number} has {len(row)} cells, but there are {len(header)} columns")
    return header, rows[1:]


def _reader(cells: list[str]) -> Callable[[str], Field]:
    """The function that turns the text of each of a column's cells into its value."""
    if all(map(WHOLE.fullmatch, cells)):
        return int
    if any(cells) and all(not cell or _is_decimal(cell) for cell in cells):
        return lambda cell: float(cell or "nan")
    return str


def _is_decimal(cell: str) -> bool:
    return bool(DECIMAL.fullmatch(cell)) and not TOO_LONG.fullmatch(cell)


def _finder(items: Sequence[Item]) -> Callable[[str], int | None]:
    """The function that finds the position of the item that a cell names, or None."""
    by_path = {item.path: i for i, item in enumerate(items)}
    by_key = {item.key: i for i, item in enumerate(items)}
    by_stem: dict[str, int | None] = {}
    for i, item in enumerate(items):
        stem = str(PurePosixPath(item.path).with_suffix("")) if PurePosixPath(item.path).name else item.path
        by_stem[stem] = None if stem in by_stem else i  # two entries of one stem: the extension is needed

    def find(cell: str) -> int | None:
        for names in (by_path, by_key, by_stem):
            found = names.get(cell.removeprefix("./"))
            if found is not None:
                return found
        return None

    return find
