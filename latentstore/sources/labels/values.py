"""From the text of cells to values: labels, whose names get numbers, and columns of int, float or str.

A column of labels holds numbers or names, and never both. Numbers are whole: ``7``, ``07``, ``+7``, ``7.0`` and ``7e0``
are 7. An empty cell, and ``nan`` among numbers, is no label: -1. Names are numbered in alphabetical order, or by a list
that is given. Another column is int or float if all its values are, and str otherwise (``007`` is text); an empty cell
of a float column is not-a-number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.columns import Field
from latentstore.sources.labels.classes import NO_CLASS, Numbering

__all__ = ["LABEL", "LabelColumn", "field_values", "label_column"]

LABEL = "label"
# Numbers that read back as they were written: 007 is a name. Eighteen digits fit 64 bits.
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
DECIMAL = re.compile(rf"({WHOLE.pattern}|-?(0|[1-9][0-9]*)?\.[0-9]+|-?(0|[1-9][0-9]*)\.?)([eE][-+]?[0-9]+)?|nan|-?inf")
# A whole number that does not fit would lose digits as a float.
TOO_LONG = re.compile(r"-?[0-9]{16,}")
# What counts as a number in a column of labels, and what only looks like one.
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
LIKE_NUMBER = re.compile(r"[-+]?([0-9]+,[0-9]+|[0-9]{1,3}([,.' _][0-9]{3})+([.,][0-9]+)?|inf|infinity)", re.IGNORECASE)
NOT_A_NUMBER = {"nan", "+nan", "-nan"}
LARGEST_LABEL = 10**18
LONGEST_CELL = 1000


@dataclass(frozen=True)
class LabelColumn:
    """Labels of rows. numbers: one for each. classes: their names, or None. unlabelled: rows whose cell is empty.
    recomposed: names that the list writes in another composition of Unicode."""

    numbers: list[int]
    classes: tuple[str, ...] | None
    unlabelled: list[int]
    recomposed: list[str]


def label_column(cells: Sequence[str], where: str, fixed: Numbering | None = None) -> LabelColumn:
    """The labels in a column of text. where: file and column, for messages. fixed: the classes, if they are given.

    ArgumentError where the column mixes numbers and names, a number is not whole, or a name is not among the classes.
    """
    texts = set(cells) - {""}
    numbers = {cell for cell in texts if NUMBER.fullmatch(cell)}
    names = texts - numbers
    of_numbers = bool(numbers) and all(name.casefold() in NOT_A_NUMBER for name in names)
    value: dict[str, int]
    if fixed is not None:
        value, recomposed = _by_list(sorted(texts), of_numbers, where, fixed)
        classes: tuple[str, ...] | None = fixed.names
    elif of_numbers or not texts:
        value, classes, recomposed = {cell: _whole(cell, where) for cell in numbers}, None, []
    else:
        _require_names(where, numbers, names)
        numbering = Numbering.of_found(names)
        classes = numbering.names
        value, recomposed = numbering.numbers(names)
    found = [value.get(cell, NO_CLASS) for cell in cells]
    return LabelColumn(found, classes, [i for i, cell in enumerate(cells) if cell not in value], recomposed)


def field_values(
    columns: Mapping[str, list[str]], where: str, fixed: Numbering | None = None
) -> tuple[dict[str, list[Field]], LabelColumn | None]:
    """(the values of columns of text, by name; what is in the column ``label``, if there is one)."""
    values: dict[str, list[Field]] = {}
    labels = None
    for column, cells in columns.items():
        if column == LABEL:
            labels = label_column(cells, where, fixed)
            values[column] = list(labels.numbers)
        else:
            values[column] = list(map(_reader(cells), cells))
    return values, labels


def _by_list(texts: Sequence[str], of_numbers: bool, where: str, fixed: Numbering) -> tuple[dict[str, int], list[str]]:
    """The numbers of texts that are names of the list, or numbers of its classes."""
    as_names, recomposed = fixed.numbers(texts, strict=False)
    as_numbers: dict[str, int] = {}
    if of_numbers:
        as_numbers = {cell: _whole(cell, where) for cell in texts if cell.casefold() not in NOT_A_NUMBER}
        outside = [cell for cell, number in as_numbers.items() if not NO_CLASS <= number < len(fixed.names)]
        if len(as_names) == len(texts):
            if not outside and as_names != as_numbers:
                cell = next(c for c in as_names if as_names[c] != as_numbers.get(c))
                raise ArgumentError(
                    f"{where}: {cell!r} is the name of class {as_names[cell]} in {fixed.where}, and the number of "
                    "another: rename the classes"
                )
            return as_names, recomposed
        if outside:
            raise ArgumentError(
                f"{where}: the label {outside[0]} is no class of {fixed.where}, which has "
                f"{len(fixed.names)}, numbered from 0"
            )
        return as_numbers, []
    missing = [cell for cell in texts if cell not in as_names]
    if missing:
        raise fixed.unknown(missing[0], where)
    return as_names, recomposed


def _whole(cell: str, where: str) -> int:
    from fractions import Fraction  # and decimal with it, which few sources need

    number = Fraction(cell) if len(cell) <= LONGEST_CELL else Fraction(LARGEST_LABEL)
    if abs(number) >= LARGEST_LABEL:
        raise ArgumentError(f"{where}: the label {cell[:40]} is too large: a label is a whole number below 10^18")
    if number.denominator != 1:
        raise ArgumentError(
            f"{where}: the label {cell} is not whole: labels are numbers of classes, or names. A column of other "
            f"numbers needs another name than {LABEL!r}"
        )
    return int(number)


def _require_names(where: str, numbers: set[str], names: set[str]) -> None:
    if numbers:
        raise ArgumentError(
            f"{where}: the labels are numbers ({min(numbers)!r}) in some rows and names ({min(names)!r}) in others: "
            "write all of them as numbers, leaving cells without a label empty, or give a list of the names of all "
            "classes"
        )
    odd = sorted(name for name in names if LIKE_NUMBER.fullmatch(name) or name.casefold() in NOT_A_NUMBER)
    if len(odd) == len(names):
        raise ArgumentError(
            f"{where}: the label {odd[0]!r} is neither a whole number (such as 7) nor a name: write whole numbers, and "
            "leave cells without a label empty"
        )


def _reader(cells: list[str]) -> Callable[[str], Field]:
    """The function that turns the text of each of a column's cells into its value."""
    if all(map(WHOLE.fullmatch, cells)):
        return int
    if any(cells) and all(not cell or _is_decimal(cell) for cell in cells):
        return lambda cell: float(cell or "nan")
    return str


def _is_decimal(cell: str) -> bool:
    return bool(DECIMAL.fullmatch(cell)) and not TOO_LONG.fullmatch(cell)
