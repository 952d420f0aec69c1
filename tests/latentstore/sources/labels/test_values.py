"""Columns of labels: what is a number, what is a name, and what is refused."""

from __future__ import annotations

import pytest

from latentstore.codecs.errors import ArgumentError
from latentstore.sources.labels.classes import Numbering
from latentstore.sources.labels.values import label_column

LISTED = Numbering(("cat", "dog", "emu"), "names.txt")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["3.0", "10.0", "2.0", "7.0"], [3, 10, 2, 7]),
        (["03", "7", "007"], [3, 7, 7]),
        (["1e3", "-1", "+2", "5."], [1000, -1, 2, 5]),
        (["4", "", "6"], [4, -1, 6]),
        (["4", "nan", "NaN"], [4, -1, -1]),
        (["", ""], [-1, -1]),
        (["-0", "0"], [0, 0]),
        (["999999999999999999"], [999999999999999999]),
    ],
)
def test_numbers(cells: list[str], numbers: list[int]) -> None:
    found = label_column(cells, "t")
    assert (found.numbers, found.classes) == (numbers, None)
    assert [cells[i] for i in found.unlabelled] == [cell for cell in cells if cell.lower() in ("", "nan")]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["0.5", "1"], "0.5 is not whole"),
        (["1,5", "2,5"], "neither a whole number"),
        (["1.000,5"], "neither a whole number"),
        (["inf"], "neither a whole number"),
        (["1", "inf"], "numbers .* in some rows and names"),
        (["1", "cat"], r"numbers \('1'\) in some rows and names \('cat'\) in others"),
        (["3.0", "n/a"], "numbers .* in some rows and names"),
        (["9223372036854775808"], "too large"),
        (["1e999"], "too large"),
        (["nan"], "neither a whole number"),
    ],
)
def test_what_is_refused(cells: list[str], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        label_column(cells, "t")


def test_names_are_numbered_in_order_and_an_empty_cell_is_none() -> None:
    found = label_column(["dog", "", "cat", "1a", "1.2.3"], "t")
    assert (found.classes, found.numbers, found.unlabelled) == (("1.2.3", "1a", "cat", "dog"), [3, -1, 2, 1, 0], [1])


def test_names_of_one_composition_are_one_class() -> None:
    found = label_column(["cafe\u0301", "caf\u00e9"], "t")
    assert (found.numbers, len(found.classes or ()), len(found.recomposed)) == ([0, 0], 1, 1)


def test_a_list_of_classes_decides() -> None:
    assert label_column(["emu", "cat", ""], "t", LISTED).numbers == [2, 0, -1]
    assert label_column(["2", "0.0", "-1"], "t", LISTED).numbers == [2, 0, -1]
    digits = Numbering(("0", "1", "2"), "digits.txt")
    assert label_column(["2", "0"], "t", digits).numbers == [2, 0]
    for cells, listed, words in (
        (["emu", "yak"], LISTED, "'yak', which is not in names.txt"),
        (["3"], LISTED, "label 3 is no class"),
        (["-2"], LISTED, "label -2 is no class"),
        (["1", "cat"], LISTED, "'1', which is not in"),
        (["1", "0"], Numbering(("1", "0"), "turned.txt"), "is the name of class"),
    ):
        with pytest.raises(ArgumentError, match=words):
            label_column(cells, "t", listed)
    assert label_column(["7", "9"], "t", Numbering(("9", "7"), "names")).numbers == [1, 0]
