"""Values as tokens and extra bits (docs/format.md section 11.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.reference.tensors.frame import join_blob

__all__ = ["TokenTables", "tokens_decode", "tokens_encode", "tokens_new", "tokens_repeats"]

OK, TRUNCATED, CORRUPT = 0, -2, -3
PRECISION = 12
LOWEST_STATE = 1 << 16
MOST_TOKENS, MOST_TABLES = 256, 64

Ints = npt.NDArray[np.int64]


class RefusedError(Exception):
    """Why a payload is refused: its status."""


@dataclass(frozen=True)
class Interval:
    """The values from `base` on, 2^extra of them."""

    base: int
    extra: int


@dataclass(frozen=True)
class TokenTables:
    """Everything that a payload's bytes depend on beside the shape of the array."""

    bytes: int
    shift: int
    last: int
    intervals: list[Interval]
    freq: list[list[int]]
    start: list[list[int]]
    table: list[int]
    books: list[list[int]] | None
    """The codes of each codebook by rank."""


# section 11.2


def tokens_new(
    bytes: int, shift: int, last: int, base: Ints, extra: npt.NDArray[np.uint8], freq: npt.NDArray[np.int32],
    table: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int32], codes: npt.NDArray[np.int32],
) -> TokenTables:  # fmt: skip
    """The tables, or ValueError if a number is outside its range."""
    intervals = [Interval(b, e) for b, e in zip(base.tolist(), extra.tolist(), strict=True)]
    _require(bytes in (1, 2, 4) and 0 <= shift < 8 * bytes and 0 <= last < 1 << 8 * bytes - shift)
    _require(2 <= len(intervals) <= MOST_TOKENS and 1 <= len(freq) <= MOST_TABLES and freq.shape[1] == len(intervals))
    after = 0
    for one in intervals:
        _require(one.base == after <= last and one.extra <= 32)
        after += 1 << one.extra
    _require(after > last)
    _require(bool((freq >= 1).all() and (freq.sum(1, dtype=np.int64) == 1 << PRECISION).all()))
    _require(len(table) <= 1 << 16 and all(one < len(freq) for one in table.tolist()))
    books = None
    _require(bool(len(sizes)) or last + 1 == 1 << 8 * bytes - shift)
    if len(sizes):
        _require(last < 1 << 16 and not shift)
        _require(codes.shape == (len(sizes), last + 1) and len(sizes) == 1 + len(table))
        _require(all(0 <= size <= last + 1 for size in sizes.tolist()))
        books = [row[:size] for row, size in zip(codes.tolist(), sizes.tolist(), strict=True)]
        _require(all(sorted(book) == list(range(len(book))) for book in books))
    start = np.cumsum(freq, axis=1) - freq
    return TokenTables(bytes, shift, last, intervals, freq.tolist(), start.tolist(), table.tolist(), books)


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("the tables of tokens hold a number outside its range")


# section 11.3


def lanes_of(values: int) -> int:
    if values < 512:
        return 1
    return 4 if values < 2048 else 16 if values < 4096 else 32


def channel_of(tables: TokenTables, i: int, inner: int) -> int | None:
    """The channel of value i, or None where the array has not the channels of the tables."""
    return i // inner % len(tables.table) if inner and tables.table else None


def table_of(tables: TokenTables, i: int, inner: int) -> int:
    channel = channel_of(tables, i, inner)
    return 0 if channel is None else tables.table[channel]


def book_of(tables: TokenTables, i: int, inner: int) -> list[int]:
    channel = channel_of(tables, i, inner)
    assert tables.books is not None
    return tables.books[0 if channel is None else 1 + channel]


# section 11.4


def decode(tables: TokenTables, payload: bytes, values: int, inner: int) -> list[int]:
    """The values of a payload."""
    if not values:
        if payload:
            raise RefusedError(CORRUPT)
        return []
    lanes = lanes_of(values)
    if len(payload) < 4 * lanes:
        raise RefusedError(TRUNCATED)
    states = np.frombuffer(payload, "<u4", lanes).tolist()
    if min(states) < LOWEST_STATE:
        raise RefusedError(CORRUPT)
    at = 4 * lanes
    tokens = []
    for i in range(values):
        lane, table = i % lanes, table_of(tables, i, inner)
        freq, start = tables.freq[table], tables.start[table]
        slot = states[lane] & (1 << PRECISION) - 1
        token = max(t for t in range(len(start)) if start[t] <= slot)
        states[lane] = freq[token] * (states[lane] >> PRECISION) + slot - start[token]
        if states[lane] < LOWEST_STATE:
            if at + 2 > len(payload):
                raise RefusedError(TRUNCATED)
            states[lane] = states[lane] << 16 | int.from_bytes(payload[at : at + 2], "little")
            at += 2
        tokens.append(token)
    if any(state >> 16 != 1 for state in states):
        raise RefusedError(CORRUPT)
    held = b"".join((state & 0xFFFF).to_bytes(2, "little") for state in states)
    extras = held + payload[at:]
    stream, place = int.from_bytes(extras, "little"), 0
    found = []
    for token in tokens:
        interval = tables.intervals[token]
        found.append(interval.base + (stream >> place & (1 << interval.extra) - 1) << tables.shift)
        place += interval.extra
    if place > 8 * len(extras):
        raise RefusedError(TRUNCATED)
    if stream >> place or len(extras) > max(len(held), (place + 7) // 8):
        raise RefusedError(CORRUPT)
    if tables.books is None:
        return found
    for i, rank in enumerate(found):
        book = book_of(tables, i, inner)
        if rank >= len(book):
            raise RefusedError(CORRUPT)
        found[i] = book[rank]
    return found


# section 11.5


def encode(tables: TokenTables, values: Sequence[int], inner: int) -> bytes | int:
    """The payload of values, or the position of one that has no token."""
    if not len(values):
        return b""
    lanes = lanes_of(len(values))
    tokens = []
    stream, place = 0, 0
    for i, given in enumerate(values):
        if tables.books is not None:
            book = book_of(tables, i, inner)
            if given not in book:
                return i
            value = book.index(given)
        else:
            value = given >> tables.shift
            if value << tables.shift != given or value > tables.last:
                return i
        token = max(t for t, one in enumerate(tables.intervals) if one.base <= value)
        stream |= value - tables.intervals[token].base << place
        place += tables.intervals[token].extra
        tokens.append(token)
    extras = stream.to_bytes(max(2 * lanes, (place + 7) // 8), "little")
    states = [LOWEST_STATE | int.from_bytes(extras[2 * k : 2 * k + 2], "little") for k in range(lanes)]
    words = []
    for i in reversed(range(len(values))):
        lane, table = i % lanes, table_of(tables, i, inner)
        freq, start = tables.freq[table][tokens[i]], tables.start[table][tokens[i]]
        if states[lane] >= freq << 32 - PRECISION:
            words.append(states[lane] & 0xFFFF)
            states[lane] >>= 16
        states[lane] = (states[lane] // freq << PRECISION) + states[lane] % freq + start
    return np.array(states, "<u4").tobytes() + np.array(words[::-1], "<u2").tobytes() + extras[2 * lanes :]


# the kernel's functions


def tokens_encode(
    tables: TokenTables,
    arrays: list[npt.NDArray[np.uint8]],
    inner: Ints,
    before: bytes,
    heads: list[bytes],
    crcs: npt.NDArray[np.int64],
) -> list[bytes | int]:
    """For the bytes of each array `before` and its payload, or the position of a value that has no token."""
    found: list[bytes | int] = []
    for i, (array, one) in enumerate(zip(arrays, inner.tolist(), strict=True)):
        payload = encode(tables, _shaped(tables, array, one).tolist(), one)
        found.append(payload if isinstance(payload, int) else join_blob(heads, crcs, i, before + payload))
    return found


def tokens_decode(
    tables: TokenTables,
    buffers: list[Any],
    source: npt.NDArray[np.int32],
    start: Ints,
    length: Ints,
    inner: Ints,
    outputs: list[npt.NDArray[np.uint8]],
) -> tuple[int, int]:
    """Decodes payload i = buffers[source[i]][start[i]:][:length[i]] into outputs[i].

    Returns (0, -1), or why not and which.
    """
    for i, output in enumerate(outputs):
        values = _shaped(tables, output, int(inner[i]))
        first, size = int(start[i]), int(length[i])
        whole = memoryview(buffers[source[i]]).cast("B")
        if first < 0 or size < 0 or first + size > len(whole):
            raise ValueError(f"blob {i} lies outside its buffer")
        try:
            found = decode(tables, bytes(whole[first : first + size]), len(values), int(inner[i]))
        except RefusedError as refused:
            return refused.args[0], i
        values[:] = found
    return OK, -1


def tokens_repeats(arrays: list[npt.NDArray[np.uint8]], width: int, rows: Ints, steps: Ints) -> list[int]:
    """For each array how many of every `step`-th value, from the second row on, are not 0 and equal the value a row
    before."""
    found = []
    for array, row, step in zip(arrays, rows.tolist(), steps.tolist(), strict=True):
        if not (1 <= width <= 4 and 1 <= row <= len(array) and 1 <= step <= len(array)):
            raise ValueError("width, rows and steps are at least 1, and not beyond the array")
        values = array.reshape(-1, width)
        later, earlier = values[row::step], values[:-row:step]
        found.append(int(np.count_nonzero((later == earlier).all(1) & later.any(1))))
    return found


def _shaped(tables: TokenTables, array: npt.NDArray[np.uint8], inner: int) -> npt.NDArray[Any]:
    values = array.view(f"<u{tables.bytes}")
    if inner < 0 or (inner and tables.table and len(values) % (inner * len(tables.table))):
        raise ValueError("an array does not hold whole values, or whole channels")
    return values
