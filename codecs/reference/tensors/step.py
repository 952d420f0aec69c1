"""Payloads of tensors of coding "step", value by value (docs/format.md section 12)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.reference.tensors.frame import join_blob
from latentstore.codecs.reference.tensors.trellis import SEQUENCE, choose, follow, residual_of

__all__ = ["TensorCoder", "tensor_decode", "tensor_encode", "tensor_new"]

Array = npt.NDArray[Any]

PHASES = ((0, 0), (1, 1), (1, 0), (0, 1))
SELF, BESIDE, AROUND = [(0, 0)], [(-1, 0), (0, -1), (0, 1), (1, 0)], [(-1, -1), (-1, 1), (1, -1), (1, 1)]
BUCKETS, SYMBOLS, CENTRE, PRECISION = 72, 64, 32, 11
LOW, WORD = 1 << 16, (1 << 16) - 1
MOST = 32767
VALUES_PER_LANE, MOST_LANES, DENSEST = 4096, 16, 11400
TRUNCATED, CORRUPT, NOT_FINITE, BEYOND = -2, -3, -4, -7
SPIKE = -(1 << 31)  # the residual that stands for the value 0 of a spiked channel
NEAR_ZERO = 2  # steps that spikes of a fine channel stand for
FLOAT32, FLOAT16, BFLOAT16 = 0, 1, 2


class PayloadError(Exception):
    """A payload that cannot be decoded; `status`: why, as the kernel says it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def signed(number: int) -> int:
    """The lowest 32 bits as a number with a sign."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)


def narrow(number: int) -> int:
    return max(-32768, min(32767, number))


def is_earlier(phase: int, shift: tuple[int, int]) -> bool:
    """Whether the neighbour at `shift` of a position of the phase is in an earlier phase."""
    row, column = PHASES[phase]
    return PHASES.index(((row + shift[0]) % 2, (column + shift[1]) % 2)) < phase


class TensorCoder:
    """The numbers of a coding; ValueError where one lies outside its range."""

    def __init__(self, parts: Sequence[Array]) -> None:
        steps, means, spiked, fine, count, back, shift, weight, activity, bias, frequencies = parts
        self.steps = steps
        self.means = [int(m) for m in means]
        self.spiked = [int(s) for s in spiked]
        self.fine = [int(f) for f in fine]
        self.activity = [[[int(w) & 0xFFFF for w in row] for row in channel] for channel in activity]
        self.bias = bias.tolist()
        taps = [(int(b) & 0xFFFF, int(dy), int(dx), int(w)) for b, (dy, dx), w in zip(back, shift, weight, strict=True)]
        self.taps: list[list[list[tuple[int, int, int, int]]]] = []
        for row in count:
            self.taps.append([[taps.pop(0) for _ in range(min(int(n), len(taps)))] for n in row])
        self.tables = [[[int(f) & 0xFFFF for f in row] for row in tables] for tables in frequencies]
        if (
            taps
            or any(
                len(model) != n
                for row, ns in zip(self.taps, count, strict=True)
                for model, n in zip(row, ns, strict=True)
            )
            or not self._fits()
        ):
            raise ValueError("a number lies outside its range, or a sum is not what it must be")

    def _fits(self) -> bool:
        if not all(np.isfinite(step) and step > 0 for step in self.steps):
            return False
        if any(f > 1 for f in self.fine):
            return False
        if any(spike > 1 or (spike and mean) for spike, mean in zip(self.spiked, self.means, strict=True)):
            return False
        for channel, models in enumerate(self.taps):
            for phase, model in enumerate(models):
                if len(model) > 64 or sum(abs(w) for *_, w in model) > 65535:
                    return False
                for back, dy, dx, _ in model:
                    if back > channel or abs(dy) > 1 or abs(dx) > 1 or (not back and not is_earlier(phase, (dy, dx))):
                        return False
                if sum(self.activity[channel][phase]) > MOST or not 0 <= self.bias[channel][phase] <= 1 << 29:
                    return False
        return all(sum(table) == 1 << PRECISION and table[0] for tables in self.tables for table in tables)


class Tensor:
    """A tensor that is being coded: each channel is a grid of frames, height and width."""

    def __init__(self, coder: TensorCoder, shape: Sequence[int]) -> None:
        self.frames, self.height, self.width, self.inner = (int(n) for n in shape)
        self.coder = coder
        size = (self.frames, self.height, self.width)
        self.size = self.frames * self.height * self.width * len(coder.means)
        self.value = [np.zeros(size, np.int64) for _ in coder.means]  # multiples of the step less the mean
        self.magnitude = np.zeros(size, np.int64)
        self.activity = np.zeros(size, np.int64)
        self.lanes = 1
        while self.lanes < MOST_LANES and self.size >= 2 * self.lanes * VALUES_PER_LANE:
            self.lanes *= 2

    def phases(self) -> Iterator[tuple[int, int, list[tuple[int, int, int]]]]:
        """Each channel and phase, and its positions, in the order of coding."""
        for channel in range(len(self.coder.means)):
            self.magnitude[:] = 0
            for phase, (row, column) in enumerate(PHASES):
                positions = [
                    (z, y, x)
                    for z in range(self.frames)
                    for y in range(row, self.height, 2)
                    for x in range(column, self.width, 2)
                ]
                yield channel, phase, positions
            self.activity += (self.magnitude - self.activity) >> 3

    def _at(self, grid: Array, position: tuple[int, int, int], shift: tuple[int, int]) -> int:
        z, y, x = position[0], position[1] + shift[0], position[2] + shift[1]
        return int(grid[z, y, x]) if 0 <= y < self.height and 0 <= x < self.width else 0

    def prediction(self, channel: int, phase: int, position: tuple[int, int, int]) -> int:
        total = 1 << 11
        for back, dy, dx, weight in self.coder.taps[channel][phase]:
            total += weight * narrow(self._at(self.value[channel - back], position, (dy, dx)))
        return narrow(total >> 12)

    def bucket(self, channel: int, phase: int, position: tuple[int, int, int]) -> int:
        """The context of a position's residual."""

        def ring(grid: Array, shifts: list[tuple[int, int]], there: bool) -> int:
            return min(MOST, sum(self._at(grid, position, shift) for shift in shifts)) if there else 0

        sums = [
            ring(self.magnitude, BESIDE, phase >= 2),
            ring(self.magnitude, AROUND, phase in (1, 3)),
            *(ring(self.activity, shifts, channel > 0) for shifts in (SELF, BESIDE, AROUND)),
        ]
        weights = self.coder.activity[channel][phase]
        expected = (sum(w * s for w, s in zip(weights, sums, strict=True)) + self.coder.bias[channel][phase]) >> 10
        if expected < 8:
            return 0
        octave = expected.bit_length() - 1
        return min(BUCKETS - 1, 4 * (octave - 3) + (expected * 4 >> octave) - 4)

    def set(self, channel: int, position: tuple[int, int, int], value: int, residual: int) -> None:
        self.value[channel][position] = value
        most, unit = (8191, 4) if self.coder.fine[channel] else (2047, 16)
        self.magnitude[position] = min(most, abs(residual)) * unit

    def place(self, channel: int, position: tuple[int, int, int]) -> int:
        """Where in the tensor a value lies."""
        number = (position[0] * self.height + position[1]) * self.width + position[2]
        return (number // self.inner * len(self.coder.means) + channel) * self.inner + number % self.inner


def low_bits(bucket: int) -> int:
    return max(0, bucket // 4 - 4)


def get_varint(take: Iterator[int], missing: int, most_bytes: int) -> int:
    number = 0
    for shift in range(0, 7 * most_bytes, 7):
        byte = next(take, None)
        if byte is None:
            raise PayloadError(missing)
        number |= (byte & 127) << shift
        if byte < 128 and not (shift and byte == 0):
            return number
        if byte == 0:
            break
    raise PayloadError(CORRUPT)


class Reader:
    """The lanes of a payload: states, sizes of all lanes but the last, words of each lane, escapes backwards."""

    def __init__(self, payload: bytes, lanes: int) -> None:
        if len(payload) < 4 * lanes:
            raise PayloadError(TRUNCATED)
        self.payload = payload
        self.states = [int.from_bytes(payload[4 * k : 4 * k + 4], "little") for k in range(lanes)]
        rest = iter(range(4 * lanes, len(payload)))
        sizes = [get_varint((payload[i] for i in rest), TRUNCATED, 4) for _ in range(lanes - 1)]
        first = next(rest, len(payload))
        self.at, self.end = [], []
        for size in sizes:
            self.at.append(first)
            first += 2 * size
            self.end.append(first)
        if first > len(payload):
            raise PayloadError(TRUNCATED)
        self.at.append(first)
        self.end.append(len(payload))
        self.taken = len(payload)  # escapes begin at the end

    def _refill(self, lane: int) -> None:
        if self.states[lane] < LOW:
            at = self.at[lane]
            if at + 2 > self.end[lane]:
                raise PayloadError(TRUNCATED)
            self.states[lane] = self.states[lane] << 16 | int.from_bytes(self.payload[at : at + 2], "little")
            self.at[lane] = at + 2

    def _backwards(self) -> Iterator[int]:
        while self.taken > self.at[-1]:
            self.taken -= 1
            yield self.payload[self.taken]

    def _escape(self) -> int:
        number = get_varint(self._backwards(), CORRUPT, 5)
        if number >> 32:
            raise PayloadError(CORRUPT)
        return signed(number >> 1 ^ -(number & 1))

    def residual(self, lane: int, table: list[int], low: int, spiked: int) -> int:
        state = self.states[lane]
        slot, symbol, start = state % (1 << PRECISION), 0, 0
        while slot >= start + table[symbol]:
            start += table[symbol]
            symbol += 1
        self.states[lane] = table[symbol] * (state >> PRECISION) + slot - start
        self._refill(lane)
        if spiked and symbol == 1:
            return SPIKE
        high = symbol - CENTRE if symbol else self._escape()
        if not low:
            return high
        rest = self.states[lane] % (1 << low)
        self.states[lane] >>= low
        self._refill(lane)
        return signed(high << low | rest)

    def finish(self) -> None:
        """Every lane is where the encoder began, and the last one ends where the escapes do."""
        if any(state != LOW for state in self.states) or self.at != [*self.end[:-1], self.taken]:
            raise PayloadError(CORRUPT)


def as_type(value: int, step: np.float32, kind: int) -> Any:
    """A value as the output has it."""
    if kind not in (FLOAT32, FLOAT16, BFLOAT16):
        return value
    with np.errstate(over="ignore"):
        product = np.float32(np.float32(value) * step)
    if kind == FLOAT32:
        most = np.finfo(np.float32).max
        return np.clip(product, -most, most)
    if kind == FLOAT16:
        return np.float16(np.clip(product, -65504, 65504))
    bits = int(product.view(np.uint32))
    sign, size = bits >> 31, bits & 0x7FFFFFFF
    return np.uint16(sign << 15 | min(0x7F7F, (size + 0x7FFF + (size >> 16 & 1)) >> 16))


def decode_one(coder: TensorCoder, payload: bytes, shape: Sequence[int], kind: int, out: Array) -> None:
    """One payload into a flat array; `PayloadError` where it cannot be decoded."""
    tensor = Tensor(coder, shape)
    if not tensor.size:
        if payload:
            raise PayloadError(CORRUPT)
        return
    if len(payload) < 4 * tensor.lanes:
        raise PayloadError(TRUNCATED)
    if tensor.size // DENSEST > len(payload):
        raise PayloadError(CORRUPT)
    reader = Reader(payload, tensor.lanes)
    for channel, phase, positions in tensor.phases():
        found, spiked, state = [], coder.spiked[channel], 0
        for i, position in enumerate(positions):
            bucket = tensor.bucket(channel, phase, position)
            residual = reader.residual(i % tensor.lanes, coder.tables[spiked][bucket], low_bits(bucket), spiked)
            prediction = tensor.prediction(channel, phase, position)
            spike = spiked and residual == SPIKE
            if coder.fine[channel]:
                state = state if i % SEQUENCE else 0
                coded, residual = residual, signed(residual_of(residual, state % 2))
                state = follow(state, coded % 2)
            if spike:
                residual = -prediction
            found.append((position, signed(residual + prediction), residual))
        for position, value, residual in found:
            tensor.set(channel, position, value, residual)
            whole = signed(value + coder.means[channel])
            out[tensor.place(channel, position)] = as_type(whole, coder.steps[channel], kind)
    reader.finish()


def put_varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number % 128 | 128)
        number >>= 7
    return bytes([*out, number])


def encode_one(coder: TensorCoder, values: Array, shape: Sequence[int]) -> bytes | None:
    """The payload of a tensor, channel after channel; None where a value lies beyond int32."""
    tensor = Tensor(coder, shape)
    if not tensor.size:
        return b""
    channels = values.reshape(len(coder.means), tensor.frames, tensor.height, tensor.width)
    order, escapes = [], b""
    for channel, phase, positions in tensor.phases():
        spiked, fine = coder.spiked[channel], coder.fine[channel]
        nearest, parts = [], []
        for position in positions:
            with np.errstate(over="ignore"):
                multiple = channels[channel][position] / coder.steps[channel]
            if abs(multiple) >= np.float32(2147483520):
                return None
            whole = int(np.rint(multiple))
            residual = signed(whole - coder.means[channel] - tensor.prediction(channel, phase, position))
            if spiked and residual == SPIKE:
                return None
            nearest.append(SPIKE if spiked and abs(whole) <= (NEAR_ZERO if fine else 0) else residual)
            parts.append(int(np.rint((multiple - np.float32(whole)) * np.float32(8192))))
        coded = nearest
        if fine:
            chosen = [
                pair
                for first in range(0, len(positions), SEQUENCE)
                for pair in choose(
                    nearest[first : first + SEQUENCE], parts[first : first + SEQUENCE], SPIKE if spiked else None
                )
            ]
            nearest, coded = [signed(e) for e, _ in chosen], [j for _, j in chosen]
        found = []
        for i, position in enumerate(positions):
            prediction = tensor.prediction(channel, phase, position)
            bucket = tensor.bucket(channel, phase, position)
            residual = -prediction if spiked and coded[i] == SPIKE else nearest[i]
            order.append((i % tensor.lanes, bucket, spiked, coded[i]))
            found.append((position, signed(prediction + residual), residual))
        for position, value, residual in found:
            tensor.set(channel, position, value, residual)
    states, words = [LOW] * tensor.lanes, [b""] * tensor.lanes
    for lane, bucket, spiked, residual in reversed(order):
        low, table, state = low_bits(bucket), coder.tables[spiked][bucket], states[lane]
        high = residual >> low
        symbol = high + CENTRE if abs(high) < CENTRE and table[high + CENTRE] else 0
        if spiked and symbol == 1:
            symbol = 0
        if spiked and residual == SPIKE and table[1]:
            symbol = 1
            low = 0
        if not symbol:
            escapes += put_varint(high << 1 if high >= 0 else -(high << 1) - 1)[::-1]
        if state >> (32 - low):
            words[lane] = (state & WORD).to_bytes(2, "little") + words[lane]
            state >>= 16
        state = state << low | residual % (1 << low)
        if state >> (32 - PRECISION) >= table[symbol]:
            words[lane] = (state & WORD).to_bytes(2, "little") + words[lane]
            state >>= 16
        states[lane] = (state // table[symbol] << PRECISION) + state % table[symbol] + sum(table[:symbol])
    sizes = b"".join(put_varint(len(w) // 2) for w in words[:-1])
    return b"".join(state.to_bytes(4, "little") for state in states) + sizes + b"".join(words) + escapes


def tensor_new(*parts: Array) -> TensorCoder:
    """See the kernel's function of this name."""
    return TensorCoder(parts)


def tensor_encode(
    coder: TensorCoder, arrays: list[Array], shapes: Array, types: Array, heads: list[bytes], crcs: Array
) -> tuple[int, int, list[bytes]]:
    """See the kernel's function of this name."""
    payloads = []
    for i, (array, shape, kind) in enumerate(zip(arrays, shapes.tolist(), types.tolist(), strict=True)):
        values = (array.astype(np.uint32) << 16).view(np.float32) if kind == 2 else array.astype(np.float32)
        if not np.isfinite(values).all():
            return NOT_FINITE, i, []
        payload = encode_one(coder, values, shape)
        if payload is None:
            return BEYOND, i, []
        payloads.append(join_blob(heads, crcs, i, payload))
    return 0, -1, payloads


def tensor_decode(
    coder: TensorCoder,
    buffers: list[Any],
    source: Array,
    start: Array,
    length: Array,
    shapes: Array,
    types: Array,
    outputs: list[Array],
) -> tuple[int, int]:
    """See the kernel's function of this name."""
    for i, out in enumerate(outputs):
        payload = bytes(memoryview(buffers[source[i]]).cast("B")[int(start[i]) : int(start[i] + length[i])])
        try:
            decode_one(coder, payload, shapes[i].tolist(), int(types[i]), out)
        except PayloadError as error:
            return error.status, i
    return 0, -1
