"""The refinement network in NumPy: from codes to what the linear synthesis lacks (docs/learned/decoders.md).

A plane of positions is kept as rows of all its channels, with a row of zeros above and below it and one zero at the
end of each row, which is also what stands before the next row. A convolution of 3 x 3 is then one product: the three
neighbours in a row of the image follow each other in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.decoder import DecoderFile

__all__ = ["LIMIT", "Frame", "Layer", "Network", "convolved", "gelu", "layers_of"]

LIMIT = 4.0
"""Where large codes are limited, in standard deviations."""
# Positions of one product: what it reads and writes stays in the cache.
CHUNK = 1024

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """weight: (9 * inputs, outputs) of a convolution, row by row of its window. bias: (outputs,)."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Frame:
    """Where the positions of a plane of h x w lie among its rows, and which of them are padding."""

    height: int
    width: int

    @property
    def stride(self) -> int:
        return self.width + 1

    @property
    def first(self) -> int:
        return self.stride + 1

    @property
    def count(self) -> int:
        return self.height * self.stride

    def empty(self, channels: int) -> Floats:
        return np.zeros(((self.height + 2) * self.stride + 2, channels), np.float32)

    def inner(self, x: Floats) -> Floats:
        """The positions as (h, w + 1, channels), a view; the last column is padding."""
        return x[self.first : self.first + self.count].reshape(self.height, self.stride, -1)


class Network:
    """The network of one decoder file. It can be used by several threads at once."""

    def __init__(self, file: DecoderFile) -> None:
        tensors = {name: np.asarray(value, np.float32) for name, value in file.tensors.items()}
        self.shape = file.shape
        self._inverse = 1 / tensors["sigma"]
        self._layers = layers_of(tensors)
        deviation = tensors["deviation"]
        self._last = tensors["last.weight"][:, :, 0, 0] * deviation[:, None]
        self._last_bias = tensors["last.bias"] * deviation

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
        layers = self._layers
        x = convolved(layers["first"], self._input(latent, told, frame), frame)
        for block in range(self.shape.blocks):
            inner = convolved(layers[f"blocks.{block}.a"], x, frame, bent=True)
            x = convolved(layers[f"blocks.{block}.b"], inner, frame, added=x)
        x = convolved(layers["head"], x, frame, bent=True)
        flat = x[frame.first : frame.first + frame.count]
        planes: Floats = np.matmul(self._last * np.float32(step), flat.T, dtype=np.float32)
        planes += (self._last_bias * np.float32(step))[:, None]
        whole: Floats = planes.reshape(-1, frame.height, frame.stride)
        return whole[:, :, : frame.width]

    def _input(self, latent: npt.NDArray[np.int8], told: float, frame: Frame) -> Floats:
        kept, channels = len(latent), self.shape.channels
        z = np.moveaxis(latent, 0, -1) * self._inverse[:kept]
        x = frame.empty(2 * channels + 2)
        inner = frame.inner(x)[:, : frame.width]
        inner[..., :kept] = np.tanh(z)
        inner[..., channels : channels + kept] = np.clip(z, -LIMIT, LIMIT) / 2
        inner[..., 2 * channels] = kept / channels
        inner[..., 2 * channels + 1] = told / 2
        return x


def layers_of(tensors: Mapping[str, Floats]) -> dict[str, Layer]:
    """The convolutions of 3 x 3 by name: all layers but "last"."""
    names = (key.removesuffix(".weight") for key in tensors if key.endswith(".weight"))
    return {
        name: Layer(_window_rows(tensors[f"{name}.weight"]), tensors[f"{name}.bias"])
        for name in names
        if name != "last"
    }


def convolved(layer: Layer, x: Floats, frame: Frame, bent: bool = False, added: Floats | None = None) -> Floats:
    """A convolution of 3 x 3. bent: through GELU. added: what is added at the end."""
    inputs, outputs = x.shape[1], layer.weight.shape[1]
    out = frame.empty(outputs)
    windows = np.empty((CHUNK, 9 * inputs), np.float32)
    spare = np.empty((3, CHUNK, outputs), np.float32)
    for start in range(frame.first, frame.first + frame.count, CHUNK):
        count = min(CHUNK, frame.first + frame.count - start)
        for row in range(3):
            # three neighbours of each position, which overlap
            begin = start + (row - 1) * frame.stride - 1
            neighbours = np.lib.stride_tricks.as_strided(
                x[begin:], (count, 3 * inputs), (x.strides[0], x.strides[1]), writeable=False
            )
            windows[:count, 3 * inputs * row : 3 * inputs * (row + 1)] = neighbours
        here = out[start : start + count]
        np.matmul(windows[:count], layer.weight, out=here)
        here += layer.bias
        if bent:
            gelu(here, *spare[:, :count])
        if added is not None:
            here += added[start : start + count]
    frame.inner(out)[:, frame.width :] = 0
    return out


def _window_rows(weight: Floats) -> Floats:
    """A convolution's weight (outputs, inputs, 3, 3) as (9 * inputs, outputs)."""
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0]))


def gelu(x: Floats, z: Floats, t: Floats, p: Floats) -> None:
    """x times the normal distribution function of x, in place, to 1e-6. z, t, p: room for as many values.

    The error function is Abramowitz and Stegun's approximation 7.1.26.
    """
    np.multiply(x, np.float32(0.5**0.5), out=z)
    np.abs(z, out=t)
    t *= np.float32(0.3275911)
    t += 1
    np.reciprocal(t, out=t)
    np.multiply(t, np.float32(1.061405429), out=p)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        p += np.float32(coefficient)
        p *= t
    np.multiply(z, z, out=t)
    np.negative(t, out=t)
    np.exp(t, out=t)
    p *= t
    np.subtract(1, p, out=p)
    np.copysign(p, z, out=p)
    p += 1
    p *= np.float32(0.5)
    x *= p
