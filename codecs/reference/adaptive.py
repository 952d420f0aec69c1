"""The contexts of audio in plain Python: docs/format-audio.md section S5, one instant after another.

Decoding, coding and optimising all go through `Row`, so that they cannot disagree. `reference` calls this for coders
that `adaptive_new` made, and is the oracle for the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latentstore.codecs.reference.contexts import (
    BUCKETS,
    ESCAPE,
    LARGEST_CROSS,
    LARGEST_MAGNITUDE,
    LEVELS,
    RADIUS,
    SYMBOLS,
    Codes,
    Ints,
    bucket_of,
)
from latentstore.codecs.reference.model import MAX_GROUP, MAX_MODELS, MAX_TABLES, Coder, Int8s, coder_of
from latentstore.codecs.reference.optimise import Candidates, Floats

OWN_TAPS = 8
SOURCES = 2
TAPS = OWN_TAPS + 3 * SOURCES
MAX_GAINS = 16
# of the power of the inputs: what keeps the step size finite where all are zero
POWER_FLOOR = 64


@dataclass(frozen=True)
class AdaptiveChannel:
    """How one channel of one model forms its contexts (docs/format-audio.md section S7 says the ranges)."""

    own: tuple[int, ...]
    bias: int
    cross: list[list[int]]
    taps: list[int]
    source: tuple[int, ...]
    gain: list[int]
    table: list[list[int]]


class Context(NamedTuple):
    """What is known before a symbol."""

    whole: int
    level: int
    sign: int
    bucket: int


def adaptive_new(sha256: bytes, precision: int, *tables: npt.NDArray[Any]) -> Coder:
    """A coder from own int32 (m, c, 5), bias int32 (m, c), cross uint8 (m, c, c, 2), taps int32 (m, c, 14), source
    uint8 (m, c, 2), rate uint8 (m, c), gain int32 (g, 64), table uint8 (m, c, 4, 64), freq int32 (t, 64).

    ValueError if a size, weight or frequency is outside its range.
    """
    own, bias, cross, taps, source, rate, gain, table, freq = tables
    m, c = own.shape[:2]
    sizes = [(m, MAX_MODELS), (c, MAX_GROUP), (len(gain), MAX_GAINS), (len(freq), MAX_TABLES)]
    if not all(1 <= size <= most for size, most in sizes):
        raise ValueError("entropy tables have impossible sizes")
    shapes = [(m, c, 5), (m, c), (m, c, c, 2), (m, c, TAPS), (m, c, SOURCES), (m, c)]
    shapes += [(len(gain), BUCKETS), (m, c, LEVELS, BUCKETS), (len(freq), SYMBOLS)]
    for array, shape in zip(tables, shapes, strict=True):
        if array.shape != shape:
            raise ValueError(f"an entropy table has shape {array.shape} where {shape} is expected")
    ranges = [(own, 0, 32767), (bias, 0, 65535), (cross, 0, 127), (taps, -(1 << 20), 1 << 20)]
    ranges += [(rate, 0, len(gain) - 1), (gain, 0, 65535)]
    if any((array < low).any() or (array > high).any() for array, low, high in ranges):
        raise ValueError("entropy tables hold a weight or a frequency outside its range")
    models = [
        [
            AdaptiveChannel(
                own=tuple(own[i, k].tolist()),
                bias=int(bias[i, k]),
                cross=cross[i, k].tolist(),
                taps=taps[i, k].tolist(),
                source=tuple(source[i, k].tolist()),
                gain=gain[rate[i, k]].tolist(),
                table=table[i, k].tolist(),
            )
            for k in range(c)
        ]
        for i in range(m)
    ]
    return coder_of(sha256, precision, models, table, freq)


def wrapped(value: int) -> int:
    """The number in 32 bits, two's complement."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


class Row:
    """One channel's plane of one row on its way: `context()`, then `take`, instant by instant.

    earlier: the rows of the channels before it, complete.
    """

    def __init__(self, channel: AdaptiveChannel, width: int, earlier: Sequence[Row]) -> None:
        self.channel = channel
        self.width = width
        self.value: list[int] = []
        self.size: list[int] = []
        self._sources = [earlier[p].value if p < len(earlier) else [0] * width for p in channel.source]
        self._sizes = [(row.size, pair[0], pair[1]) for row, pair in zip(earlier, channel.cross, strict=False)]
        self._weights = list(channel.taps)
        self._fast = self._slow = 0

    def context(self) -> Context:
        """What is known of the next symbol."""
        i = len(self.value)
        if i:
            self._fast += (256 * self.size[-1] - self._fast) >> 3
            self._slow += (256 * self.size[-1] - self._slow) >> 5
        own = self.channel.own
        context = self.channel.bias + self._cross(i)
        context += sum(weight * _at(self.size, i - 1 - j) for j, weight in enumerate(own[:3]))
        context += (own[3] * self._fast + own[4] * self._slow) >> 8
        self._x = [_at(self.value, i - 1 - j) for j in range(OWN_TAPS)]
        self._x += [_at(plane, i + d) for plane in self._sources for d in (-1, 0, 1)]
        self._sum = wrapped(sum(w * x for w, x in zip(self._weights, self._x, strict=True)))
        whole = min(max(wrapped(self._sum + 32768) >> 16, -127), 127)
        fraction = wrapped(self._sum - 65536 * whole)
        level = min(abs(fraction) >> 13, LEVELS - 1)
        return Context(whole, level, -1 if fraction < 0 else 1, bucket_of(context))

    def _cross(self, i: int) -> int:
        total = 0
        for plane, here, around in self._sizes:
            left, right = plane[max(i - 1, 0)], plane[min(i + 1, self.width - 1)]
            total += 4 * here * plane[i] + around * (3 * (left + right) + 2 * plane[i])
        return min(total, LARGEST_CROSS)

    def take(self, value: int, residual: int) -> None:
        """Goes on to the next instant."""
        error = min(max(wrapped(4096 * value - (self._sum >> 4)), -32767), 32767)
        power = POWER_FLOOR + sum(x * x for x in self._x)
        step = (error * self.channel.gain[bucket_of(power)]) >> 10
        self._weights = [wrapped(w + ((step * x + 512) >> 10)) for w, x in zip(self._weights, self._x, strict=True)]
        self.value.append(value)
        self.size.append(min(abs(residual), LARGEST_MAGNITUDE))


def _at(values: Sequence[int], i: int) -> int:
    return values[i] if 0 <= i < len(values) else 0


def symbol_of(context: Context, value: int) -> int:
    """The symbol that codes a value, the escape included."""
    coded = context.sign * (value - context.whole)
    return coded + RADIUS if abs(coded) <= RADIUS else ESCAPE


def value_of(context: Context, symbol: int) -> tuple[int, int]:
    """Value and residual of a symbol that is not the escape."""
    residual = context.sign * (symbol - RADIUS)
    return min(max(context.whole + residual, -128), 127), residual


def code_rows(coder: Coder, model: int, latent: Int8s) -> list[tuple[AdaptiveChannel, Ints, Codes]]:
    """Every channel of a latent int8 (c, 1, t) with its values and how they are coded."""
    rows: list[Row] = []
    coded = []
    for channel, plane in zip(coder.models[model], latent.astype(np.int32), strict=True):
        row, contexts = Row(channel, plane.shape[1], rows), []
        for value in plane[0].tolist():
            contexts.append(row.context())
            row.take(value, value - contexts[-1].whole)
        rows.append(row)
        whole, level, sign, bucket = np.array(contexts, np.int32).T[:, None]
        symbol = sign * (plane - whole)
        symbol = np.where(np.abs(symbol) <= RADIUS, symbol + RADIUS, ESCAPE)
        coded.append((channel, plane, Codes(plane - whole, level, bucket, symbol)))
    return coded


def coder_optimise_many(
    coder: Coder,
    models: npt.NDArray[np.int32],
    coefficients: Floats,
    weight: Floats,
    trade: float,
    delta: Floats,
    out: Int8s,
) -> None:
    """Quantises coefficients float32 (n, c, 1, t), in units of steps, into `out`.

    weight: float32 (n, c); delta: float32 (n, c, 2); otherwise as `coder_optimise`.
    """
    rates = np.float32(trade) / np.float32(256) * coder.cost.astype(np.float32)
    for i, model in enumerate(models.tolist()):
        rows: list[Row] = []
        for k, channel in enumerate(coder.models[model]):
            candidates = Candidates(coefficients[i, k], weight[i, k], delta[i, k])
            rows.append(_choose_row(channel, candidates, rates, rows))
            out[i, k, 0] = rows[-1].value


def _choose_row(channel: AdaptiveChannel, candidates: Candidates, rates: Floats, earlier: Sequence[Row]) -> Row:
    row = Row(channel, candidates.value.shape[2], earlier)
    for i in range(row.width):
        context = row.context()
        rate, best, least = rates[channel.table[context.level][context.bucket]], 0, np.float32(np.inf)
        for j in range(3):
            value = int(candidates.value[j, 0, i])
            loss = candidates.error[j, 0, i] + rate[symbol_of(context, value)]
            if candidates.possible[j, 0, i] and loss < least:
                best, least = value, loss
        row.take(best, best - context.whole)
    return row
