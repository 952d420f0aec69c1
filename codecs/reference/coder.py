"""The entropy coder of docs/format.md in readable, slow Python: section 5 here, sections 2 and 4 in
`reference_header`, section 6 in `reference_contexts`, the sparse form
in `sparse`, the encoder's choices in `reference_optimise`; what
docs/format-audio.md puts in their place in `reference_adaptive`.

It is the oracle of the tests, and what runs where no kernel was built: its functions have the
names, arguments and results of the kernel's, byte for byte. It knows nothing of the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.reference.adaptive import (
    AdaptiveChannel,
    Row,
    code_rows,
    value_of,
)
from latentstore.codecs.reference.contexts import (
    ESCAPE,
    RADIUS,
    Channel,
    Codes,
    Ints,
    bucket_of,
    code_plane,
    context_of,
    cross_contexts,
    cross_predictions,
    magnitudes,
    neighbours,
    prediction_of,
    rounded,
)
from latentstore.codecs.reference.header import (
    CORRUPT,
    MAX_QUALITY,
    MAX_STEP_CODE,
    OK,
    TRUNCATED,
    WRONG_SHAPE,
    Group,
    RefusedError,
    coder_lanes,
    join_group,
    parse_group,
)
from latentstore.codecs.reference.model import Coder, Int8s, require_group, require_model, require_plane
from latentstore.codecs.reference.sparse import (
    code_sparse,
    decode_sparse,
    is_better,
    position_events,
    value_events,
)

LOWEST_STATE = 1 << 16


# section 5.1


def coding_order(height: int, width: int, lanes: int) -> list[tuple[int, int, int]]:
    """(lane, row, column) of a plane's symbols in the order in which they are decoded."""
    steps = -(-height // lanes) * width + 2 * (lanes - 1)
    order = []
    for step in range(steps):
        for lane in range(lanes):
            turn, column = divmod(step - 2 * lane, width)
            row = turn * lanes + lane
            if turn >= 0 and row < height:
                order.append((lane, row, column))
    return order


# sections 5.2 to 5.4


class Reader:
    """The states, words and escapes of a payload."""

    def __init__(self, coder: Coder, group: Group) -> None:
        end = len(group.payload) - group.escapes
        self.coder = coder
        self.words = group.payload[4 * group.lanes : end]
        self.escapes = group.payload[end:]
        self.states = np.frombuffer(group.payload, "<u4", group.lanes).tolist()
        self.next_word = self.next_escape = 0
        self.sparse = group.sparse
        if not group.sparse and min(self.states) < LOWEST_STATE:
            raise RefusedError(CORRUPT)

    def symbol(self, lane: int, table: int) -> int:
        """The next symbol of a lane."""
        symbol = self.coder.symbol_at[table][self._slot(lane)]
        self._pass(lane, self.coder.freq[table][symbol], self.coder.start[table][symbol])
        return symbol

    def taken(self, empty: int) -> bool:
        """Whether the next position of a sparse group is taken; empty: the frequency of those that are not."""
        taken = self._slot(0) >= empty
        if taken:
            self._pass(0, (1 << self.coder.precision) - empty, empty)
        else:
            self._pass(0, empty, 0)
        return taken

    def _slot(self, lane: int) -> int:
        return self.states[lane] & (1 << self.coder.precision) - 1

    def _pass(self, lane: int, freq: int, start: int) -> None:
        state = freq * (self.states[lane] >> self.coder.precision) + self._slot(lane) - start
        at_end = self.next_word == len(self.words)
        if state < LOWEST_STATE and not (self.sparse and at_end):
            if at_end:
                raise RefusedError(TRUNCATED)
            word = self.words[self.next_word : self.next_word + 2]
            state = state << 16 | int.from_bytes(word, "little")
            self.next_word += 2
        self.states[lane] = state

    def escape(self) -> int:
        """The next value that is spelled out."""
        if self.next_escape == len(self.escapes):
            raise RefusedError(CORRUPT)
        byte = self.escapes[self.next_escape]
        self.next_escape += 1
        return byte - 256 if byte > 127 else byte

    def finish(self) -> None:
        """RefusedError unless all is used up and every lane is back where the encoder began."""
        used = self.next_word == len(self.words) and self.next_escape == len(self.escapes)
        first = 0 if self.sparse else LOWEST_STATE
        if not used or any(state != first for state in self.states):
            raise RefusedError(CORRUPT)


def decode_group(coder: Coder, group: Group) -> Int8s:
    """The latent int8 (channels, height, width) of a group."""
    shape = (group.height, group.width)
    if not group.payload:
        return np.zeros((coder.channels, *shape), np.int8)
    if coder.adaptive:
        return decode_rows(coder.models[group.model], Reader(coder, group), group.width)
    if group.sparse:
        sparse_reader = Reader(coder, group)
        latent = decode_sparse(coder, group.model, sparse_reader, shape)
        sparse_reader.finish()
        return latent
    reader, order = Reader(coder, group), coding_order(*shape, group.lanes)
    values: list[Ints] = []
    earlier: list[Ints] = []
    for channel in coder.models[group.model]:
        value, residual = decode_plane(channel, reader, order, shape, values, earlier)
        values.append(value)
        earlier.append(magnitudes(residual))
    reader.finish()
    return np.stack(values).astype(np.int8)


def decode_rows(channels: Sequence[AdaptiveChannel], reader: Reader, width: int) -> Int8s:
    """The latent int8 (channels, 1, width) of a group of audio."""
    rows: list[Row] = []
    for channel in channels:
        row = Row(channel, width, rows)
        for _ in range(width):
            context = row.context()
            symbol = reader.symbol(0, channel.table[context.level][context.bucket])
            if symbol == ESCAPE:
                value = reader.escape()
                row.take(value, value - context.whole)
            else:
                row.take(*value_of(context, symbol))
        rows.append(row)
    reader.finish()
    return np.array([[row.value] for row in rows], np.int8)


def decode_plane(
    channel: Channel,
    reader: Reader,
    order: Sequence[tuple[int, int, int]],
    shape: tuple[int, int],
    values: Sequence[Ints],
    earlier: Sequence[Ints],
) -> tuple[Ints, Ints]:
    """Values and residuals of the next plane."""
    cross = cross_contexts(channel, shape, earlier).tolist()
    signed_cross = cross_predictions(channel, shape, values).tolist()
    value, residual, size = ([[0] * shape[1] for _ in range(shape[0])] for _ in range(3))
    for lane, y, x in order:
        whole, level, sign = 0, 0, 1
        if channel.predicted:
            whole, level, sign = rounded(prediction_of(channel, signed_cross[y][x], neighbours(value, y, x)))
        bucket = bucket_of(context_of(channel, cross[y][x], neighbours(size, y, x)))
        symbol = reader.symbol(lane, channel.table[level][bucket])
        if symbol == ESCAPE:
            value[y][x] = reader.escape()
            residual[y][x] = value[y][x] - whole
        else:
            residual[y][x] = sign * (symbol - RADIUS)
            value[y][x] = min(max(whole + residual[y][x], -128), 127)
        size[y][x] = min(abs(residual[y][x]), 15)
    return np.array(value, np.int32), np.array(residual, np.int32)


# section 5.5


def encode_group(coder: Coder, model: int, quality: int, latent: Int8s) -> bytes:
    """The blob of a latent int8 (channels, height, width)."""
    height, width = latent.shape[1:]
    lanes = 1 if coder.adaptive else coder_lanes(height, width)
    if not latent.any():
        return join_group(Group(lanes, model, quality, height, width, 0, b""), coder.sha256)
    if is_better(coder, model, latent):
        taken = np.asarray(latent.any(0))
        events, escapes = value_events(coder, code_sparse(coder, model, latent), taken)
        payload = _coded([(0, *event) for event in position_events(coder, model, taken) + events], [0], coder.precision)
        return join_group(
            Group(1, model, quality, height, width, len(escapes), payload + escapes, sparse=True), coder.sha256
        )
    order = np.array(coding_order(height, width, lanes))
    at = (order[:, 1], order[:, 2])
    coded: list[tuple[int, int, int]] = []
    escapes = b""
    for channel, value, codes in (code_rows if coder.adaptive else code_group)(coder, model, latent):
        table = np.array(channel.table)[codes.level, codes.bucket]
        symbol = np.where(coder.freq_array[table, codes.symbol] == 0, ESCAPE, codes.symbol)
        escapes += value[at][symbol[at] == ESCAPE].astype(np.int8).tobytes()
        for lane, t, s in zip(order[:, 0].tolist(), table[at].tolist(), symbol[at].tolist(), strict=True):
            coded.append((lane, coder.freq[t][s], coder.start[t][s]))
    payload = _coded(coded, [LOWEST_STATE] * lanes, coder.precision) + escapes
    return join_group(Group(lanes, model, quality, height, width, len(escapes), payload), coder.sha256)


def _coded(events: Sequence[tuple[int, int, int]], states: list[int], precision: int) -> bytes:
    """States and words of (lane, frequency, start) in the order of decoding; states: those that the lanes end with."""
    words = []
    for lane, freq, start in reversed(events):
        state = states[lane]
        if state >= freq << 32 - precision:
            words.append(state & 0xFFFF)
            state >>= 16
        states[lane] = (state // freq << precision) + state % freq + start
    return np.array(states, "<u4").tobytes() + np.array(words[::-1], "<u2").tobytes()


def code_group(coder: Coder, model: int, latent: Int8s) -> list[tuple[Channel, Ints, Codes]]:
    """Every channel of a latent with its values and how they are coded."""
    values = list(latent.astype(np.int32))
    earlier: list[Ints] = []
    result = []
    for k, channel in enumerate(coder.models[model]):
        codes = code_plane(channel, values[k], values[:k], earlier)
        earlier.append(magnitudes(codes.residual))
        result.append((channel, values[k], codes))
    return result


# the kernel's functions


def coder_encode(coder: Coder, model: int, quality: int, latent: Int8s) -> bytes:
    """The blob of one group, int8 (channels, height, width), by one model."""
    require_model(coder, model)
    require_group(coder, latent, "latent", np.int8)
    highest = MAX_STEP_CODE if coder.adaptive else MAX_QUALITY
    if not 0 <= quality <= highest:
        raise ValueError(f"quality {quality} is not 0 to {highest}")
    return encode_group(coder, model, quality, latent)


def coder_encode_many(coder: Coder, models: npt.NDArray[np.int32], code: int, latents: Int8s) -> list[bytes]:
    """The blobs of groups of audio, int8 (n, channels, 1, t); code: the step code."""
    if not coder.adaptive:
        raise ValueError("many groups at once are of adaptive coders")
    return [coder_encode(coder, model, code, x) for model, x in zip(models.tolist(), latents, strict=True)]


def coder_cost(coder: Coder, model: int, latent: Int8s) -> float:
    """The ideal length in bits of a group int8 (channels, height, width) under a model."""
    require_model(coder, model)
    require_group(coder, latent, "latent", np.int8)
    total = 0
    if not coder.adaptive and is_better(coder, model, latent):
        taken = np.asarray(latent.any(0))
        for freq, _ in position_events(coder, model, taken):
            total += int(256 * (coder.precision - math.log2(freq)) + 0.5)
        for plain, _, codes in code_sparse(coder, model, latent):
            table = np.array(plain.table)[codes.level, codes.bucket]
            total += int(coder.cost[table, codes.symbol][taken].sum())
        return total / 256
    for channel, _, codes in (code_rows if coder.adaptive else code_group)(coder, model, latent):
        total += int(coder.cost[np.array(channel.table)[codes.level, codes.bucket], codes.symbol].sum())
    return total / 256


def coder_decode(
    coder: Coder,
    buffers: list[Any],
    source: npt.NDArray[np.int32],
    start: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    out: Int8s,
) -> tuple[int, int]:
    """Decodes blob i = buffers[source[i]][start[i]:][:length[i]] into out[i].

    Returns (0, -1), or why not and which.
    """
    if out.ndim != 4 or out.dtype != np.int8 or out.shape[:2] != (len(source), coder.channels):
        raise ValueError(f"out is {out.dtype} {out.shape}, not int8 ({len(source)}, {coder.channels}, h, w)")
    require_plane(out.shape[2], out.shape[3], "out")
    return _decode(coder, _blobs(buffers, source, start, length), list(out))


def coder_decode_rows(
    coder: Coder,
    buffers: list[Any],
    source: npt.NDArray[np.int32],
    start: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    width: npt.NDArray[np.int32],
    out: Int8s,
) -> tuple[int, int]:
    """`coder_decode` for blobs of audio of any widths int32 (n,), in order in out, int8 (sum of c * width,)."""
    if not coder.adaptive:
        raise ValueError("rows of many widths are of adaptive coders")
    for side in width.tolist():
        require_plane(1, side, "width")
    ends = np.cumsum(width.astype(np.int64) * coder.channels)
    if out.ndim != 1 or out.dtype != np.int8 or len(out) != (ends[-1] if len(ends) else 0):
        raise ValueError(f"out is {out.dtype} {out.shape}, not int8 of the sum of the widths")
    parts = [part.reshape(coder.channels, 1, -1) for part in np.split(out, ends[:-1])] if len(ends) else []
    return _decode(coder, _blobs(buffers, source, start, length), parts)


def _blobs(
    buffers: list[Any], source: npt.NDArray[Any], start: npt.NDArray[Any], length: npt.NDArray[Any]
) -> list[bytes]:
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    blobs = []
    for i, (s, first, size) in enumerate(zip(source.tolist(), start.tolist(), length.tolist(), strict=True)):
        if not 0 <= s < len(views) or first < 0 or size < 0 or first + size > len(views[s]):
            raise ValueError(f"blob {i} lies outside its buffer")
        blobs.append(bytes(views[s][first : first + size]))
    return blobs


def _decode(coder: Coder, blobs: list[bytes], parts: list[Int8s]) -> tuple[int, int]:
    """Blob i into parts[i]; all are checked before one is decoded."""
    i = -1
    groups: list[Group] = []
    try:
        for i in range(len(blobs)):
            groups.append(_expected(coder, parse_group(blobs[i], coder.sha256, coder.adaptive), parts[i].shape[1:]))
        for i in range(len(blobs)):
            parts[i][...] = decode_group(coder, groups[i])
    except RefusedError as refused:
        return refused.status, i
    return OK, -1


def _expected(coder: Coder, group: Group, shape: tuple[int, ...]) -> Group:
    if (group.height, group.width) != shape:
        raise RefusedError(WRONG_SHAPE)
    if group.model >= len(coder.models) or (group.sparse and not coder.plain[group.model]):
        raise RefusedError(CORRUPT)
    return group


def coder_contexts(coder: Coder, model: int, latent: Int8s) -> bytes:
    """uint16 (channels, height, width): (level * 64 + bucket) * 64 + symbol, for fitting."""
    require_model(coder, model)
    require_group(coder, latent, "latent", np.int8)
    coded = (code_rows if coder.adaptive else code_group)(coder, model, latent)
    return _contexts([codes for _, _, codes in coded])


def coder_sparse_contexts(coder: Coder, model: int, latent: Int8s) -> bytes:
    """`coder_contexts` of the sparse form; 0xffff at positions that are not taken."""
    require_model(coder, model)
    require_group(coder, latent, "latent", np.int8)
    contexts = np.frombuffer(
        _contexts([codes for _, _, codes in code_sparse(coder, model, latent)]), np.uint16
    ).reshape(latent.shape)
    return np.where(latent.any(0), contexts, np.uint16(0xFFFF)).tobytes()


def _contexts(coded: Sequence[Codes]) -> bytes:
    return np.stack([(c.level << 6 | c.bucket) << 6 | c.symbol for c in coded]).astype(np.uint16).tobytes()
