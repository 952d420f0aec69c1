"""The refinement network: from codes to what the linear synthesis lacks (docs/learned/decoders.md).

All convolutions are of integers, and what is between them is float32 in a fixed order, so the answer is the same on
every machine. `Frame` says how planes lie in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.decoder import CODE, DecoderFile
from latentstore.codecs.native import backend
from latentstore.codecs.neural.frame import Frame

__all__ = ["LIMIT", "Network"]

LIMIT = 4.0
"""Where large codes are limited, in standard deviations."""
# Codes of the input in one unit: it reaches from -2 to 2.
INPUT_UNIT = CODE // 2
# Outputs that the kernel computes at a time.
PANEL = 16

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int16]


@dataclass(frozen=True)
class _Layer:
    """One convolution as the kernel takes it; see codecs/kernel/network/layer.h.

    side: 3, or 1 for the positions themselves. outputs: as many as it has, and one more if they are odd. unit: codes
    in one unit of its result; float32 (1,).
    """

    side: int
    outputs: int
    weight: Codes
    scale: Floats
    bias: Floats
    unit: Floats


class Network:
    """The network of one decoder file. It can be used by several threads at once."""

    def __init__(self, file: DecoderFile) -> None:
        self.shape = file.shape
        tensors = file.tensors
        ranges = np.asarray(tensors["ranges"], np.float32)
        units = np.concatenate([np.array([INPUT_UNIT], np.float32), np.float32(CODE) / ranges])
        names = file.shape.layers()
        self._layers = {
            name: _layer(tensors, name, units[i], units[i + 1] if i + 1 < len(units) else np.float32(1))
            for i, name in enumerate(names)
        }
        self._deviation = np.asarray(tensors["deviation"], np.float32)
        self._table = _input_table(np.asarray(tensors["sigma"], np.float32))

    @property
    def reach(self) -> int:
        """How many positions away a code still has an influence."""
        return 2 + 2 * self.shape.blocks

    def answer(self, latent: npt.NDArray[np.int8], told: float, step: float) -> Floats:
        """What to add to the planes of the linear synthesis: int8 (c, h, w) to float32 (planes, h, w).

        latent: the first c channels. told: the logarithm to base 2 of the step over that of the default quality.
        step: the quantisation step.
        """
        frame = Frame(*latent.shape[1:])
        stream = np.empty((frame.rows, self._layers["first"].outputs), np.float32)
        x = self._applied("first", frame, self._input(latent, told, frame), stream)
        for block in range(self.shape.blocks):
            inner = self._applied(f"blocks.{block}.a", frame, x, None, bent=True)
            x = self._applied(f"blocks.{block}.b", frame, inner, stream, added=True)
        x = self._applied("head", frame, x, None, bent=True)
        planes = np.empty((frame.rows, self._layers["last"].outputs), np.float32)
        self._applied("last", frame, x, planes, codes=False)
        flat = planes[frame.first : frame.first + frame.count, : self.shape.planes].T
        factor = (self._deviation * np.float32(step))[:, None]
        whole: Floats = (flat * factor).reshape(-1, frame.height, frame.stride)
        return whole[:, :, : frame.width]

    def _input(self, latent: npt.NDArray[np.int8], told: float, frame: Frame) -> Codes:
        kept, channels = len(latent), self.shape.channels
        x = np.zeros((frame.rows, 2 * channels + 2), np.int16)
        inner = frame.inner(x)[:, : frame.width]
        for k, plane in enumerate(latent.view(np.uint8)):
            pair = self._table[k].take(plane, axis=0)
            inner[..., k], inner[..., channels + k] = pair[..., 0], pair[..., 1]
        inner[..., 2 * channels] = round(INPUT_UNIT * kept / channels)
        inner[..., 2 * channels + 1] = round(INPUT_UNIT * min(max(told / 2, -2.0), 2.0))
        return x

    def _applied(
        self,
        name: str,
        frame: Frame,
        x: Codes,
        stream: Floats | None,
        added: bool = False,
        bent: bool = False,
        codes: bool = True,
    ) -> Codes:
        """The codes that a layer makes of the codes x, and what it does to the stream."""
        layer = self._layers[name]
        out = np.zeros((frame.rows if codes else 0, layer.outputs), np.int16)
        backend().network_layer(
            np.array([frame.first, frame.count, added, bent], np.int32),
            layer.unit,
            x,
            frame.offsets(layer.side),
            layer.weight,
            layer.scale,
            layer.bias,
            np.zeros((0, layer.outputs), np.float32) if stream is None else stream,
            out,
        )
        if codes:
            frame.clear(out)
        return out


def _layer(tensors: dict[str, npt.NDArray[np.generic]], name: str, unit_in: np.float32, unit: np.float32) -> _Layer:
    weight = np.asarray(tensors[f"{name}.weight"], np.int16)
    outputs, inputs, side, _ = weight.shape
    even, pairs, panels = outputs + outputs % 2, (inputs + 1) // 2, -(-outputs // PANEL)
    wide = np.zeros((panels * PANEL, 2 * pairs, side * side), np.int16)
    wide[:outputs, :inputs] = weight.reshape(outputs, inputs, side * side)
    packed = wide.reshape(panels, PANEL, pairs, 2, side * side).transpose(0, 4, 2, 1, 3)
    scale, bias = (np.zeros(panels * PANEL, np.float32) for _ in range(2))
    scale[:outputs] = np.asarray(tensors[f"{name}.scale"], np.float32) / unit_in
    bias[:outputs] = np.asarray(tensors[f"{name}.bias"], np.float32)
    return _Layer(side, even, np.ascontiguousarray(packed), scale, bias, np.array([unit], np.float32))


def _input_table(sigma: Floats) -> Codes:
    """int16 (channels, 256, 2): what each value of an int8, seen as a uint8, is as input: bent, and limited."""
    value = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64) / sigma[:, None].astype(np.float64)
    both = np.stack([np.tanh(value), np.clip(value, -LIMIT, LIMIT) / 2], -1)
    return np.rint(both * INPUT_UNIT).astype(np.int16)
