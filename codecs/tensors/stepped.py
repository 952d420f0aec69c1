"""The coding `step` as one of those that a tensor can declare: `codecs.tensors.step`, and exact values where asked for.

With ``nonfinite="keep"``, NaN and infinities are stored beside the steps: a payload begins with their number, as a
varint; then come their positions, each as the distance to the one before it, and their bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from latentstore.codecs.bitstream.varint import read_varint, varint
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, ArtifactError, CorruptError
from latentstore.codecs.tensors.coding import TensorCoding
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.codecs.tensors.frame import Heads
from latentstore.codecs.tensors.step.coding import StepCoding
from latentstore.codecs.tensors.values import Array, bits_of, finite, magnitude

__all__ = ["SteppedCoding"]

MOST_SHAPES = 1024
"""That are kept in mind as fitting."""


class SteppedCoding(TensorCoding):
    """Floats by steps. Samples to fit to are float32. Arrays and outputs are of the declared type, and bfloat16 is its
    bits."""

    def __init__(self, steps: StepCoding, tensor: Tensor) -> None:
        self._steps, self._tensor = steps, tensor
        self._keeps = tensor.nonfinite == "keep"
        with np.errstate(over="ignore"):
            few = (np.float32(2.0**31) * steps.steps.min(initial=np.inf)).astype(tensor.values)
        self._surely = magnitude(few.reshape(1)) - 1
        """Values up to this magnitude are less than 2^31 steps."""
        self._fitting: set[tuple[int, ...]] = set()

    @classmethod
    def fit(cls, samples: Sequence[Array], tensor: Tensor) -> Self:
        """See `TensorCoding.fit`. The steps come from the samples, so there is to be one at least."""
        if not samples:
            raise ArgumentError("The coding 'step' is fitted to samples, and there is none: give one or more.")
        axes = {_axis(sample, tensor) for sample in samples}
        if len(axes) > 1:
            raise ArgumentError(
                f"channel_axis is {tensor.channel_axis}, and the tensors have different numbers of axes: count the "
                "axis from the first one."
            )
        chosen = list(samples)
        if tensor.nonfinite == "keep":
            chosen = [np.where(np.isfinite(sample), sample, np.float32(0)) for sample in samples]
        if tensor.steps is None:
            return cls(StepCoding.fit(chosen, channel_axis=axes.pop(), snr=tensor.snr), tensor)
        steps = np.asarray(tensor.steps, np.float32)
        given = float(steps) if steps.ndim == 0 else steps
        return cls(StepCoding.fit(chosen, channel_axis=axes.pop(), steps=given), tensor)

    def parts(self) -> dict[str, Array]:
        """See `TensorCoding.parts`."""
        return self._steps.parts()

    @classmethod
    def of(cls, parts: Mapping[str, Array], tensor: Tensor, where: str) -> Self:
        """See `TensorCoding.of`."""
        try:
            return cls(StepCoding.of(parts, where), tensor)
        except CorruptError as error:
            raise ArtifactError(str(error)) from error

    def require(self, array: Array, magnitude: int) -> None:
        """See `TensorCoding.require`."""
        if magnitude > self._surely:
            self.encode([array], Heads("step", [array.shape], b""))
        elif array.shape not in self._fitting:
            self._steps.require_shape(array.shape)
            if len(self._fitting) < MOST_SHAPES:
                self._fitting.add(array.shape)

    def encode(self, arrays: Sequence[Array], heads: Heads) -> list[bytes]:
        """See `TensorCoding.encode`."""
        if not self._keeps:
            return self._steps.encode(arrays, heads)
        odd = [np.flatnonzero(~finite(array, self._tensor.dtype).reshape(-1)) for array in arrays]
        kept, whole = list[bytes](), list[Array]()
        for array, positions in zip(arrays, odd, strict=True):
            gaps = b"".join(map(varint, np.diff(positions, prepend=0).tolist()))
            kept.append(varint(len(positions)) + gaps + bits_of(array).reshape(-1)[positions].tobytes())
            if len(positions):
                array = array.copy()
                array.reshape(-1)[positions] = 0
            whole.append(array)
        payloads = self._steps.encode(whole)
        return [heads.join(i, first + rest) for i, (first, rest) in enumerate(zip(kept, payloads, strict=True))]

    def decode(self, payloads: Blobs, shapes: Sequence[tuple[int, ...]], outputs: Sequence[Array]) -> None:
        """See `TensorCoding.decode`."""
        if not self._keeps:
            self._steps.decode(payloads, shapes, outputs)
            return
        start, length = payloads.start.copy(), payloads.length.copy()
        kept: list[tuple[int, Array, Array]] = []
        for i, output in enumerate(outputs):
            size, positions, bits = self._odd(payloads[i], output.size, i)
            start[i] += size
            length[i] -= size
            if len(positions):
                kept.append((i, positions, bits))
        self._steps.decode(Blobs(payloads.buffers, payloads.source, start, length), shapes, outputs)
        for i, positions, bits in kept:
            bits_of(outputs[i].reshape(-1))[positions] = bits

    def _odd(self, payload: memoryview, values: int, index: int) -> tuple[int, Array, Array]:
        """(bytes that were read, positions, bits) of the values that are no numbers."""
        width = self._tensor.values.itemsize
        try:
            count, at = read_varint(payload, 0)
            if count > values or count * (1 + width) > len(payload):
                raise ValueError
            gaps = np.empty(count, np.int64)
            for i in range(count):
                gaps[i], at = read_varint(payload, at)
            positions = np.cumsum(gaps)
            if at + count * width > len(payload) or (positions >= values).any() or (gaps[1:] == 0).any():
                raise ValueError
        except (CorruptError, ValueError) as error:
            raise CorruptError(
                f"Tensor payload {index} is damaged: its list of infinities and NaN; fetch it again.", index
            ) from error
        bits = np.frombuffer(payload[at : at + count * width], f"<u{width}").astype(f"u{width}")
        return at + count * width, positions, bits


def _axis(sample: Array, tensor: Tensor) -> int:
    """The axis of the channels, counted from the first."""
    axis = tensor.channel_axis + (sample.ndim if tensor.channel_axis < 0 else 0)
    if not 0 <= axis < sample.ndim:
        raise ArgumentError(
            f"channel_axis is {tensor.channel_axis}, and a tensor has the shape {sample.shape}: there is no such axis."
        )
    return axis
