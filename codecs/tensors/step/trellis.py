"""What an encoder chooses in fine channels along the trellis (docs/format.md section 12.7), and what that gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentstore.codecs.native import backend
from latentstore.codecs.tensors.frame import NO_HEADS
from latentstore.codecs.tensors.step.activity import Fitted
from latentstore.codecs.tensors.step.geometry import kernel_shape
from latentstore.codecs.tensors.step.parts import Parts, coder_of
from latentstore.codecs.tensors.step.prediction import Taps
from latentstore.codecs.tensors.step.tables import fit_tables

__all__ = ["Draft", "chosen", "gain_for"]

Floats = npt.NDArray[np.float32]

_NOISE_VALUES, _NOISE_STEPS = 1 << 15, 100
_INT32 = 3


@dataclass(frozen=True, eq=False)
class Draft:
    """A coding but for its contexts. What they are does not change what an encoder chooses."""

    steps: Floats
    means: npt.NDArray[np.int32]
    spiked: npt.NDArray[np.uint8]
    fine: npt.NDArray[np.uint8]
    taps: Taps
    channel_axis: int

    def parts(self, fitted: Fitted, tables: npt.NDArray[np.uint16]) -> Parts:
        """The whole coding."""
        return {
            "steps": self.steps,
            "means": self.means,
            "spiked": self.spiked,
            "fine": self.fine,
            "tap_count": self.taps.count,
            "tap_back": self.taps.back,
            "tap_shift": self.taps.shift,
            "tap_weight": self.taps.weight,
            "activity": fitted.weights,
            "activity_bias": fitted.bias,
            "frequencies": tables,
            "channel_axis": np.array([self.channel_axis], np.int32),
        }


def chosen(draft: Draft, samples: Sequence[Floats]) -> list[npt.NDArray[np.int32]] | None:
    """The multiples that samples come back as; None if one cannot be coded."""
    wide = Fitted(len(draft.steps))
    wide.bias[:] = 1 << 29  # one context, of large residuals: nothing escapes
    tables, _ = fit_tables([], [], wide, draft.spiked, draft.fine)
    coder = coder_of(draft.parts(wide, tables), "the coding being fitted")
    axis = draft.channel_axis
    shapes = np.array([kernel_shape(s.shape, axis) for s in samples], np.int64)
    flat = [np.ascontiguousarray(np.moveaxis(s, axis, 0)).reshape(-1) for s in samples]
    kinds = np.zeros(len(samples), np.uint8)
    status, _, payloads = backend().tensor_encode(coder, flat, shapes, kinds, [], NO_HEADS)
    if status:
        return None
    outputs = [np.empty(s.shape, np.int32) for s in samples]
    lengths = np.array([len(p) for p in payloads], np.int64)
    backend().tensor_decode(
        coder, list(payloads), np.arange(len(samples), dtype=np.int32), np.zeros_like(lengths), lengths, shapes,
        kinds + np.uint8(_INT32), [o.reshape(-1) for o in outputs],
    )  # fmt: skip
    return outputs


def gain_for(samples: Sequence[Floats], channel_axis: int) -> float:
    """How many times the step of uniform quantisation four steps of a fine channel are, at the same mean squared error.

    It depends on how many values phases have, thus on the samples' shapes, and is measured on noise.
    """
    rng = np.random.default_rng(0)
    channels = samples[0].shape[channel_axis]
    zeros, ones = np.zeros(channels, np.uint8), np.ones(channels, np.uint8)
    draft = Draft(ones.astype(np.float32), zeros.astype(np.int32), zeros, ones, Taps.none(channels), channel_axis)
    noise, values, number = list[Floats](), 0, 0
    while values < _NOISE_VALUES:
        shape = samples[number % len(samples)].shape
        noise.append((rng.random(shape, np.float32) - np.float32(0.5)) * _NOISE_STEPS)
        values, number = values + noise[-1].size, number + 1 + len(samples) // 7
    got = chosen(draft, noise)
    if got is None:
        return 1.0
    error = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in zip(noise, got, strict=True)) / values
    return float(np.sqrt(16 / 12 / error))
