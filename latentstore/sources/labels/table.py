"""Reads a table of labels: a CSV file, or a .tsv, whose first line names the columns.

In a CSV file a cell may stand in double quotes, and then hold commas and line breaks. A .tsv has no quotes: a quote is
a character like any other.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.remote.location import Location

__all__ = ["Table", "read_table"]


@dataclass(frozen=True)
class Table:
    """A table. where: its URL. header: names of the columns. rows: cells of each row, without the blanks around them.
    lines: the line of the file at which each row begins. broken: rows with a line break in a cell."""

    where: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    broken: int

    def cells(self, column: int) -> list[str]:
        """The cells of a column."""
        return [row[column] for row in self.rows]

    def named(self, name: str) -> list[int]:
        """The columns of that name; without any, those whose names differ from it in case alone."""
        exact = [i for i, column in enumerate(self.header) if column == name]
        return exact or [i for i, column in enumerate(self.header) if column.casefold() == name.casefold()]


def read_table(location: Location, name: str) -> Table:
    """Reads the file `name`. StoreError if it cannot be read; ArgumentError, with the line, if it is no such table."""
    where, tabs = location.at(name), name.lower().endswith(".tsv")
    try:
        text = location.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{where} is not text in UTF-8 ({error}): save the table in UTF-8") from error
    _check_kind(where, text)
    form: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    reader = csv.reader(io.StringIO(text, newline=""), **form)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    broken, line = 0, 1
    try:
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if any(row) and not header:
                header = _checked(where, row, "\t" if tabs else ",")
            elif any(row):
                if len(row) != len(header):
                    raise ArgumentError(
                        f"{where}: line {line} has {len(row)} cells, but there are {len(header)} columns"
                    )
                rows.append(row)
                lines.append(line)
                broken += reader.line_num > line
            line = reader.line_num + 1
    except csv.Error as error:
        raise ArgumentError(
            f"{where}: the row that begins at line {line} cannot be read ({error}): a cell that begins with a double "
            "quote ends with one, and a quote inside it is written twice"
        ) from error
    if not rows:
        raise ArgumentError(f"{where} has no rows: a line of column names and at least one row below it are expected")
    return Table(where, header, rows, lines, broken)


def _check_kind(where: str, text: str) -> None:
    """ArgumentError for what is no table of this kind, but may look like one."""
    begins = text.lstrip()[:5].lower()
    if begins.startswith(("{", "[{")):
        raise ArgumentError(f"{where} is JSON; a table is a CSV file, or a .tsv: write it as one of these")
    if begins.startswith("sep="):
        raise ArgumentError(
            f"{where}: its first line says the separator ({text.lstrip()[:5]}), which spreadsheets alone know: delete "
            "that line; columns are separated by commas in a CSV file, and by tabs in a .tsv"
        )


def _checked(where: str, header: list[str], delimiter: str) -> list[str]:
    if len(set(header)) != len(header):
        raise ArgumentError(f"{where}: two columns have the same name: {', '.join(header)}")
    if len(header) == 1 and (other := next((c for c in ";\t," if c != delimiter and c in header[0]), "")):
        raise ArgumentError(
            f"{where}: its first line has {other!r} and no {delimiter!r}: columns are separated by commas in a CSV "
            "file, and by tabs in a .tsv"
        )
    return header
