"""Convolutions of float32 planes in NumPy.

Planes are laid out as `Frame` says. A convolution of 3 x 3 is then one product: the three neighbours in a row of the
plane follow each other in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentstore.codecs.neural.frame import Frame

__all__ = ["Layer", "convolved", "gelu", "layers_of"]

# Positions of one product: what it reads and writes stays in the cache.
CHUNK = 1024

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """weight: (9 * inputs, outputs) of a convolution, row by row of its window. bias: (outputs,)."""

    weight: Floats
    bias: Floats


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
    out = np.zeros((frame.rows, outputs), np.float32)
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
    frame.clear(out)
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
