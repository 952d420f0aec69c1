"""Numbers in headers: what is written is read, in its shortest spelling only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.codecs.bitstream.varint import read_varint, varint
from latentstore.codecs.errors import CorruptError, TruncatedError


@given(st.integers(0, (1 << 28) - 1))
def test_numbers(value: int) -> None:
    spelled = varint(value)
    assert read_varint(b"x" + spelled + b"y", 1) == (value, 1 + len(spelled))
    assert len(spelled) == max(1, -(-value.bit_length() // 7))
    for end in range(len(spelled)):
        with pytest.raises(TruncatedError):
            read_varint(spelled[:end], 0)


@pytest.mark.parametrize("spelling", [b"\x80\x00", b"\xff\x80\x00", b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff"])
def test_numbers_have_one_spelling(spelling: bytes) -> None:
    with pytest.raises(CorruptError):
        read_varint(spelling, 0)
