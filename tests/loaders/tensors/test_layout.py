"""The tail of a shard: what it says, and that no damage goes unnoticed."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.columns import Column
from latentstore.loaders.tensors import layout

LENGTHS = np.array([[3, 9], [4, 8], [5, 7]], np.int64)
COLUMNS = {
    "key": Column.flat("str", [b"a", b"b", b"c"]),
    layout.SOURCE: Column.flat("str", [b"", b"", b"x"]),
    "label": Column("int", np.array([1, 2, 3])),
}
SHAPES = {"x": np.array([[2, 3]]), "y": np.array([[1], [2], [3]])}
TAIL = layout.encode_tail(layout.Tail(COLUMNS, SHAPES, LENGTHS))


def test_what_it_says() -> None:
    tail = layout.decode_tail(TAIL, ["x", "y"], "here")
    assert tail.count == 3 and (tail.lengths == LENGTHS).all()
    assert tail.columns["key"].values() == ["a", "b", "c"] and tail.columns[layout.SOURCE].values() == ["", "", "x"]
    assert tail.columns["label"].values() == [1, 2, 3]
    assert tail.shapes["x"] is not None and tail.shapes["x"].tolist() == [[2, 3]]
    assert tail.shapes["y"] is not None and tail.shapes["y"].tolist() == [[1], [2], [3]]
    assert layout.tail_bytes(TAIL[-layout.END_BYTES :], len(TAIL) + 36, "here") == len(TAIL)
    assert layout.encode_tail(layout.Tail(COLUMNS, SHAPES, LENGTHS)) == TAIL, "the same samples give the same bytes"


def test_a_field_whose_rank_differs_has_no_shapes() -> None:
    tail = layout.decode_tail(
        layout.encode_tail(layout.Tail(COLUMNS, {"x": None, "y": None}, LENGTHS)), ["x", "y"], "here"
    )
    assert tail.shapes == {"x": None, "y": None}


@given(st.integers(0, len(TAIL) * 8 - 1))
def test_no_flipped_bit_goes_unnoticed(bit: int) -> None:
    data = bytearray(TAIL)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptError, match="here"):
        layout.decode_tail(bytes(data), ["x", "y"], "here")


@pytest.mark.parametrize("kept", [0, 5, layout.END_BYTES, len(TAIL) - 1])
def test_cut_short(kept: int) -> None:
    with pytest.raises(CorruptError, match="here"):
        layout.decode_tail(TAIL[len(TAIL) - kept :], ["x", "y"], "here")


def test_other_fields_than_those_of_the_store() -> None:
    with pytest.raises(CorruptError, match="here: its index is not that of 1 fields"):
        layout.decode_tail(TAIL, ["x"], "here")


@pytest.mark.parametrize(("samples", "fields", "columns"), [
    (1 << 60, 1, 0), (1, 1 << 20, 0), (1 << 23, 200, 0), (0, 1, 0), (1, 1, 1 << 62),
])  # fmt: skip
def test_impossible_counts(samples: int, fields: int, columns: int) -> None:
    end = struct.pack("<8sQQII", TAIL[-layout.END_BYTES :][:8], columns, samples, fields, 0)
    with pytest.raises(CorruptError, match="here"):
        layout.tail_bytes(end, 1000, "here")
    with pytest.raises(CorruptError, match="here"):
        layout.decode_tail(end, ["x"] * min(fields, 9), "here")


@pytest.mark.parametrize("columns", [
    {name: column for name, column in COLUMNS.items() if name != "key"},
    {name: column for name, column in COLUMNS.items() if name != layout.SOURCE},
    {**COLUMNS, "key": Column("int", np.arange(3))},
    {**COLUMNS, "label": Column("int", np.arange(2))},
])  # fmt: skip
def test_columns_that_cannot_be(columns: dict[str, Column]) -> None:
    with pytest.raises(CorruptError, match="here"):
        layout.decode_tail(layout.encode_tail(layout.Tail(columns, SHAPES, LENGTHS)), ["x", "y"], "here")


@pytest.mark.parametrize("shape", [np.zeros((2, 1), np.int64), np.full((3, 1), -1), np.zeros((3, 1))])
def test_shapes_that_cannot_be(shape: np.ndarray) -> None:
    with pytest.raises(CorruptError, match="here, field 'x': its shapes are damaged"):
        layout.decode_tail(
            layout.encode_tail(layout.Tail(COLUMNS, {"x": shape, "y": None}, LENGTHS)), ["x", "y"], "here"
        )
