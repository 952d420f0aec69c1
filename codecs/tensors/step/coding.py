"""`StepCoding`: tensors of floats, lossy by a declared error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, CorruptError, TruncatedError
from latentstore.codecs.native import backend
from latentstore.codecs.tensors.frame import NO_HEADS, Heads
from latentstore.codecs.tensors.step import parts as stored
from latentstore.codecs.tensors.step.fitting import fit
from latentstore.codecs.tensors.step.geometry import kernel_shape

__all__ = ["StepCoding"]

Floats = npt.NDArray[np.float32]

_TRUNCATED, _NOT_FINITE = -2, -4
_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, np.dtype(np.uint16): 2}
"""What the kernel calls the types of values; uint16: the bits of bfloat16."""
_STEPS = 3


class StepCoding:
    """Codes tensors of floats whose channels lie along one axis.

    Every channel has a step, and a value comes back as a multiple of it. Where steps were given, this is the nearest
    one: the error is at most half a step, and as float16 or bfloat16 the rounding to that type. Steps that were fitted
    to an SNR are smaller, and a multiple is at most four of them away: multiples are chosen together with those of
    other values, which takes fewer bits at the same mean squared error. What else the coding was fitted to decides how
    many bytes a tensor takes, never its error.
    """

    def __init__(self, parts: stored.Parts, coder: Any) -> None:
        self._parts = parts
        self._coder = coder
        self.channel_axis = int(parts["channel_axis"][0])
        self.channels = len(parts["steps"])
        self.steps: Floats = parts["steps"]

    @classmethod
    def fit(
        cls,
        samples: Sequence[Floats],
        *,
        channel_axis: int,
        snr: float | None = None,
        steps: float | npt.NDArray[Any] | None = None,
    ) -> StepCoding:
        """Fits steps, predictors and contexts to samples.

        samples: float32 arrays of any rank from 1 on, whose shapes may differ, but for the axis of channels. snr: dB
        that a channel's variance lies above its mean squared error, the same for every channel. steps: instead of
        `snr`, the step of all channels or of each, above 0. ArgumentError for what cannot be fitted; its `index` is
        that of a sample.
        """
        parts = fit(samples, channel_axis=channel_axis, snr=snr, steps=steps)
        return cls.of(parts, "the fitted coding")

    @classmethod
    def of(cls, parts: Mapping[str, npt.NDArray[Any]], where: str) -> StepCoding:
        """The coding that `parts` gave; CorruptError, naming `where`, if these arrays cannot be parts."""
        checked = stored.check(parts, where)
        return cls(checked, stored.coder_of(checked, where))

    def parts(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays that the coding is made of, for `of`."""
        return dict(self._parts)

    def require_shape(self, shape: Sequence[int]) -> None:
        """ArgumentError unless a tensor of this shape has the channels that the coding was fitted for."""
        self._shape(shape)

    def _shape(self, shape: Sequence[int], index: int | None = None) -> tuple[int, int, int, int]:
        if len(shape) <= self.channel_axis or shape[self.channel_axis] != self.channels:
            raise ArgumentError(
                f"A tensor of shape {tuple(shape)} does not have {self.channels} channels along axis "
                f"{self.channel_axis}, as the coding was fitted for; transpose it, or fit a coding to such tensors.",
                index,
            )
        return kernel_shape(shape, self.channel_axis)

    def encode(self, arrays: Sequence[npt.NDArray[Any]], heads: Heads | None = None) -> list[bytes]:
        """The payloads of tensors, without their shapes, all in one call without Python's global lock.

        arrays: C-contiguous float32, float16, or uint16 for the bits of bfloat16; finite. Shapes may differ; a tensor
        without values has an empty payload. heads: what the payloads are to stand behind, as blobs.
        ArgumentError for others, and where a value is 2^31 steps or more; its `index` is that of an array.
        """
        numbers = np.array([self._shape(array.shape, i) for i, array in enumerate(arrays)], np.int64).reshape(-1, 4)
        for i, array in enumerate(arrays):
            if array.dtype not in _TYPES:
                raise ArgumentError(f"A tensor of {array.dtype} is not coded by steps.", i)
        types = np.array([_TYPES[array.dtype] for array in arrays], np.uint8)
        flat = [np.ascontiguousarray(np.moveaxis(array, self.channel_axis, 0)).reshape(-1) for array in arrays]
        status, index, payloads = backend().tensor_encode(
            self._coder, flat, numbers, types, heads.heads if heads else [], heads.crcs if heads else NO_HEADS
        )
        if status == _NOT_FINITE:
            raise ArgumentError(
                "A tensor holds NaN or an infinity, which coding by steps cannot keep; store it exactly.", index
            )
        if status:
            raise ArgumentError(
                f"A value is 2^31 or more times the step of its channel (steps from {self.steps.min():.3g} to "
                f"{self.steps.max():.3g}); use larger steps or a lower SNR, or store the tensor exactly.",
                index,
            )
        return list(payloads)

    def decode(self, blobs: Blobs, shapes: Sequence[tuple[int, ...]], outputs: Sequence[npt.NDArray[Any]]) -> None:
        """Decodes payload i, of a tensor of shape i, into output i, all in one call without Python's global lock.

        outputs: C-contiguous, float32, float16, or uint16 for the bits of bfloat16. A value is the integer times the
        step in float32, rounded to the nearest number of the type, ties to even, and never to an infinity.
        CorruptError for a bad payload, whose `index` says which.
        """
        self._decode(blobs, shapes, outputs, [_TYPES.get(o.dtype, -1) for o in outputs])

    def decode_steps(
        self, blobs: Blobs, shapes: Sequence[tuple[int, ...]], outputs: Sequence[npt.NDArray[np.int32]]
    ) -> None:
        """The same, but the integers themselves: multiples of a channel's step, into int32."""
        self._decode(blobs, shapes, outputs, [_STEPS if o.dtype == np.int32 else -1 for o in outputs])

    def _decode(
        self, blobs: Blobs, shapes: Sequence[tuple[int, ...]], outputs: Sequence[npt.NDArray[Any]], types: list[int]
    ) -> None:
        if not len(blobs) == len(shapes) == len(outputs):
            raise ArgumentError(f"{len(blobs)} payloads, {len(shapes)} shapes and {len(outputs)} outputs do not match.")
        for shape, output, kind in zip(shapes, outputs, types, strict=True):
            if kind < 0 or not output.flags.c_contiguous or output.shape != tuple(shape):
                raise ArgumentError(
                    f"An output of {output.dtype} and shape {output.shape} cannot take a tensor of shape "
                    f"{tuple(shape)}: it must be C-contiguous, of that shape, and of a type that is decoded to."
                )
        numbers = np.array([self._shape(shape) for shape in shapes], np.int64).reshape(-1, 4)
        status, index = backend().tensor_decode(
            self._coder, *blobs.arrays(), numbers, np.array(types, np.uint8), [o.reshape(-1) for o in outputs]
        )
        if status:
            raise self._error(status, index, len(blobs[index]), shapes[index])

    def _error(self, status: int, index: int, size: int, shape: Sequence[int]) -> CorruptError:
        where = f"Tensor payload {index} ({size} bytes) of shape {tuple(shape)}"
        if status == _TRUNCATED:
            return TruncatedError(f"{where} is cut short; fetch it again.", index)
        return CorruptError(f"{where} is damaged, or of another coding: its parts do not agree; fetch it again.", index)
