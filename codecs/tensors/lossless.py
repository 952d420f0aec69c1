"""The coding `lossless`: every bit of every value, of any type (docs/format.md section 11.6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArtifactError, CorruptError, LatentstoreError, TruncatedError
from latentstore.codecs.native import backend
from latentstore.codecs.tensors.coding import TensorCoding
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.codecs.tensors.frame import Heads
from latentstore.codecs.tensors.planes import join_planes, split_planes
from latentstore.codecs.tensors.tokens.intervals import fit_intervals
from latentstore.codecs.tensors.tokens.model import TokenModel, flat_bytes
from latentstore.codecs.tensors.tokens.sampling import by_channel, some_of
from latentstore.codecs.tensors.tokens.tables import MOST_CLASSED, fit_tables
from latentstore.codecs.tensors.values import Array, bits_of

__all__ = ["LosslessCoding"]

RAW, PLANES, TOKENS = 0, 1, 2
"""The first byte of a payload: values as they are, planes of bytes by zstd, or tokens."""
FEW = 256
"""A sample of fewer values says nothing of the others."""
LIKELY_REPEATED = 1 / 16
"""Where so many values equal those a row before, zstd may find whole rows again."""
PROBES = 96
WORTH_IT = 0.95
"""Planes are read more slowly than tokens: they are to take so much less."""


class LosslessCoding(TensorCoding):
    """Tokens by tables that fit the sample; what they do not fit is stored as planes of bytes, or as it is."""

    def __init__(self, model: TokenModel | None, tensor: Tensor) -> None:
        self.model = model
        self.axis = tensor.channel_axis

    @classmethod
    def fit(cls, samples: Sequence[Array], tensor: Tensor) -> LosslessCoding:
        arrays = [bits_of(array) for array in some_of(samples, tensor.channel_axis)]
        if sum(array.size for array in arrays) < FEW:
            return cls(None, tensor)
        channels = by_channel(arrays, tensor.channel_axis, MOST_CLASSED)
        every = np.concatenate(channels)
        shift = _zero_bits(every)
        bits = 8 * every.itemsize - shift
        values, counts = np.unique(every >> shift, return_counts=True)
        base, extra = fit_intervals(values, counts, (1 << bits) - 1)
        occurred = [np.bincount(_tokens(c >> shift, base), minlength=len(base)) for c in channels]
        freq, table = fit_tables(np.array(occurred, np.float64))
        none = np.zeros(0, np.int32)
        model = TokenModel(
            every.itemsize, shift, (1 << bits) - 1, base, extra, freq, table, none, none.reshape(0, 0)
        )  # fmt: skip
        return cls(model, tensor)

    def parts(self) -> dict[str, Array]:
        return self.model.parts() if self.model else {}

    @classmethod
    def of(cls, parts: Mapping[str, Array], tensor: Tensor, where: str) -> LosslessCoding:
        model = TokenModel.of(parts, tensor.values.itemsize, where) if parts else None
        if model is not None and len(model.sizes):
            raise ArtifactError(f"{where} holds codebooks, and its tensors have none; fetch it again.")
        return cls(model, tensor)

    def encode(self, arrays: Sequence[Array], heads: Heads) -> list[bytes]:
        shapes = [array.shape for array in arrays]
        every = [bits_of(array) for array in arrays]
        flat = flat_bytes(every)
        coded: Sequence[bytes | int] = [0] * len(every)
        if self.model is not None:
            coded = self.model.encode(flat, shapes, self.axis, bytes([TOKENS]), heads)
        repeated = _repeats(flat, shapes)
        return [
            _best(values, tokens, repeats, heads, i)
            for i, (values, tokens, repeats) in enumerate(zip(every, coded, repeated, strict=True))
        ]

    def decode(self, payloads: Blobs, shapes: Sequence[tuple[int, ...]], outputs: Sequence[Array]) -> None:
        at = zip(payloads.source.tolist(), payloads.start.tolist(), payloads.length.tolist(), strict=True)
        views = [memoryview(buffer).cast("B") for buffer in payloads.buffers]
        kinds = [views[source][start] if length else None for source, start, length in at]
        inside = Blobs(payloads.buffers, payloads.source, payloads.start + 1, payloads.length - 1)
        self._decode_tokens(inside, [i for i, kind in enumerate(kinds) if kind == TOKENS], shapes, outputs)
        for i, kind in enumerate(kinds):
            if kind != TOKENS:
                try:
                    _decode_other(kind, inside[i] if kind is not None else memoryview(b""), bits_of(outputs[i]))
                except LatentstoreError as error:
                    raise type(error)(f"Tensor blob {i} cannot be read: {error}", i) from error

    def _decode_tokens(
        self, inside: Blobs, which: list[int], shapes: Sequence[tuple[int, ...]], outputs: Sequence[Array]
    ) -> None:
        if not which:
            return
        if self.model is None:
            raise CorruptError(f"Tensor blob {which[0]} has tokens, and its coder has no tables for them.", which[0])
        inner = self.model.inners([shapes[i] for i in which], self.axis)
        some = inside if len(which) == len(inside) else inside.take(np.array(which))
        try:
            self.model.decode(some, inner, [outputs[i] for i in which])
        except LatentstoreError as error:
            if error.index is None:
                raise
            i = which[error.index]
            raise type(error)(f"Tensor blob {i} holds no tensor of its shape: fetch it again.", i) from error


def _best(values: Array, tokens: bytes | int, repeats: bool, heads: Heads, index: int) -> bytes:
    """The blob of an array. tokens: by the coder's tables, or a number where they cannot hold it. repeats: see
    `_repeats`."""
    if not values.size:
        return heads.join(index, b"")
    size = len(tokens) - heads.size(index) if isinstance(tokens, bytes) else values.nbytes + 1
    fits = size <= values.nbytes
    if not fits or repeats:
        planes = join_planes(values)
        if len(planes) < (WORTH_IT * size if fits else values.nbytes):
            return heads.join(index, bytes([PLANES]) + planes)
    return tokens if fits and isinstance(tokens, bytes) else heads.join(index, bytes([RAW]) + values.tobytes())


def _decode_other(kind: int | None, payload: memoryview, output: Array) -> None:
    """Decodes a payload, less its first byte, that has no tokens."""
    if kind == RAW:
        if len(payload) != output.nbytes:
            lost = TruncatedError if len(payload) < output.nbytes else CorruptError
            raise lost(f"it has {len(payload)} bytes of values; {output.nbytes} are expected.")
        output[...] = np.frombuffer(payload, output.dtype).reshape(output.shape)
    elif kind == PLANES:
        split_planes(payload, output)
    elif kind is None and not output.size:
        return
    else:
        raise CorruptError(f"its payload begins with {kind}, which is reserved." if output.size else "it is empty.")


def _zero_bits(values: npt.NDArray) -> int:
    """How many of the lowest bits are 0 in all values."""
    used = int(np.bitwise_or.reduce(values))
    return (used & -used).bit_length() - 1 if used else 0


def _tokens(values: npt.NDArray, base: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.searchsorted(base, values.astype(np.int64), side="right") - 1


def _repeats(flat: Sequence[npt.NDArray[np.uint8]], shapes: Sequence[tuple[int, ...]]) -> list[bool]:
    """Whether rows of each array may be found again in others, by some values that are not 0 and those a row before.

    flat: the bytes of the arrays.
    """
    known = {shape: _probes(shape) for shape in set(shapes)}
    which = [i for i, shape in enumerate(shapes) if known[shape][0]]
    found = [False] * len(shapes)
    if which:
        width = len(flat[which[0]]) // math.prod(shapes[which[0]])
        probes = np.array([known[shapes[i]] for i in which], np.int64)
        rows, steps = np.ascontiguousarray(probes.T)
        counts = backend().tokens_repeats([flat[i] for i in which], width, rows, steps)
        for i, count in zip(which, counts, strict=True):
            row, step = known[shapes[i]]
            found[i] = count * step > LIKELY_REPEATED * (math.prod(shapes[i]) - row)
    return found


def _probes(shape: tuple[int, ...]) -> tuple[int, int]:
    """The values of a row, and how far apart those are that are looked at; (0, 0) where there is one row or none."""
    row, size = shape[-1] if len(shape) > 1 else 1, math.prod(shape)
    return (row, max(1, (size - row) // PROBES)) if size > row else (0, 0)
