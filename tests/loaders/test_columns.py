"""Columns: whatever goes in comes out, from Python to a file and back; what cannot be kept is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.loaders.columns import Column, pack, same_names, unpack

INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
VALUES = {"int": INTS, "float": FLOATS, "str": TEXTS, "bytes": st.binary(max_size=9)}
KIND = st.sampled_from(sorted(VALUES))
# a zip file's names end at a zero byte
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)


def lists(kind: str, most: int = 8) -> Any:
    return st.lists(VALUES[kind], min_size=1, max_size=most)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data(), KIND)
def test_values_come_out_as_they_went_in(data: Any, kind: str) -> None:
    values = data.draw(lists(kind))
    column = Column.of("x", values)
    assert (column.kind, len(column), column.values()) == (kind, len(values), values)
    rows = np.array(data.draw(st.lists(st.integers(0, len(values) - 1))), np.int64)
    assert list(column.take(rows)) == [values[row] for row in rows]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data(), KIND)
def test_parts_make_the_whole(data: Any, kind: str) -> None:
    parts = data.draw(st.lists(lists(kind, 4), min_size=1, max_size=4))
    empty = Column.flat("bytes", [])  # of no kind that counts
    whole = Column.concat("x", [empty, *(Column.of("x", part) for part in parts), empty])
    expected = Column.of("x", [value for part in parts for value in part])
    assert whole.kind == kind and whole.values() == expected.values()
    if expected.offsets is not None:
        np.testing.assert_array_equal(whole.offsets, expected.offsets)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), st.dictionaries(NAMES, KIND, max_size=4))
def test_a_table_survives_its_file(data: Any, kinds: dict[str, str]) -> None:
    columns = {name: Column.of(name, data.draw(lists(kind))) for name, kind in kinds.items()}
    arrays = {f"at_{name}": np.arange(3) for name in kinds}
    packed = pack(columns, arrays)
    assert pack(columns, arrays) == packed
    found, beside = unpack(packed, "here")
    assert {name: (c.kind, c.values()) for name, c in found.items()} == {
        name: (c.kind, c.values()) for name, c in columns.items()
    }
    assert {name: array.tolist() for name, array in beside.items()} == {name: [0, 1, 2] for name in arrays}


def test_whole_numbers_and_others_become_float() -> None:
    column = Column.of("x", [1, 2.5, np.int64(3), np.float32(0.5)])
    assert (column.kind, column.values()) == ("float", [1.0, 2.5, 3.0, 0.5])
    both = Column.concat("x", [Column.of("x", [1]), Column.of("x", [2.5])])
    assert (both.kind, both.values()) == ("float", [1.0, 2.5])
    assert Column.of("x", [True, np.int8(-3)]).values() == [1, -3]
    assert Column.of("x", []).kind == "int" and len(Column.flat("str", [])) == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, "a"], "types that cannot be mixed: int, str"),
        ([b"a", "a"], "types that cannot be mixed: bytes, str"),
        ([None], "types that cannot be mixed: NoneType"),
        ([2**63], "cannot be stored"),
        (["\ud800"], "cannot be stored"),
    ],
)
def test_what_no_column_can_hold(values: list[Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=f"field 'x' holds .*{said}"):
        Column.of("x", values)


def test_kinds_that_do_not_fit_together() -> None:
    parts = [Column.of("x", [1]), Column.of("x", ["a"])]
    with pytest.raises(ArgumentError, match="field 'x' has different types in different shards: int, str"):
        Column.concat("x", parts)


def test_every_cut_of_a_file_is_noticed() -> None:
    packed = pack({"a": Column.of("a", ["é", ""]), "n": Column.of("n", [1, 2])})
    for size in range(len(packed)):
        with pytest.raises(CorruptError, match="here"):
            unpack(packed[:size], "here")


def test_offsets_that_cannot_be() -> None:
    for offsets in ([0, 2, 1], [0, 5], [1, 2], [], [[0, 2]]):
        entries = {"str:a": np.zeros(2, np.uint8), "offsets:a": np.array(offsets, np.int64)}
        with pytest.raises(CorruptError, match="here, column 'a': not a column of str"):
            unpack(pack({}, entries), "here")
    with pytest.raises(CorruptError, match="not a column of int"):
        unpack(pack({}, {"int:a": np.zeros(2, np.float64)}), "here")


def test_names_must_be_the_same() -> None:
    assert same_names([{"b": 1, "a": 2}, {"a": 0, "b": 0}], "here") == ["a", "b"]
    assert same_names([], "here") == []
    with pytest.raises(ArgumentError, match="here: samples have different fields: some have b, c, and others do not"):
        same_names([{"a": 1, "b": 1}, {"a": 1, "c": 1}], "here")
