"""How the values of a tensor lie: channels, positions, and the phases in which positions are coded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["AROUND", "BESIDE", "PHASES", "SELF", "Integers", "Planes", "gather", "kernel_shape", "known", "present"]

Integers = npt.NDArray[np.int32]

PHASES = ((0, 0), (1, 1), (1, 0), (0, 1))
"""Parity of row and column of a phase's positions, in the order of coding. A phase is coded when those before it are
known, and its own positions do not depend on each other."""

SELF = (0, 0)
BESIDE = ((0, -1), (0, 1), (-1, 0), (1, 0))
AROUND = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def known(phase: int, shift: tuple[int, int]) -> bool:
    """Whether the neighbour at a distance of `shift` (rows, columns) is of an earlier phase."""
    row, column = PHASES[phase]
    return PHASES.index(((row + shift[0]) % 2, (column + shift[1]) % 2)) < phase


def kernel_shape(shape: Sequence[int], channel_axis: int) -> tuple[int, int, int, int]:
    """A tensor's frames, height and width, and how many values lie between two channels of one position.

    Without the axis of channels, the last axis is the width, the one before it the height, and all before that are
    frames; what is missing is 1.
    """
    rest = [*shape[:channel_axis], *shape[channel_axis + 1 :]]
    height, width = ([1, 1, *rest])[-2:]
    return math.prod(rest[:-2]), height, width, max(1, math.prod(shape[channel_axis + 1 :]))


@dataclass(frozen=True, eq=False)
class Planes:
    """Integers of samples of one shape, or what is made of them: (channels, frames of all samples, height, width)."""

    values: npt.NDArray[Any]

    @classmethod
    def group(cls, samples: Sequence[npt.NDArray[Any]], channel_axis: int) -> list[Planes]:
        """Samples without empty axes, those of one shape together."""
        groups: dict[tuple[int, int], list[npt.NDArray[Any]]] = {}
        for sample in samples:
            _, height, width, _ = kernel_shape(sample.shape, channel_axis)
            planes = np.moveaxis(sample, channel_axis, 0).reshape(sample.shape[channel_axis], -1, height, width)
            groups.setdefault((height, width), []).append(planes)
        return [cls(np.concatenate(parts, axis=1)) for parts in groups.values()]

    def like(self, values: npt.NDArray[Any]) -> Planes:
        """Other values at the same places."""
        return Planes(values)

    def padded(self) -> Planes:
        """With a row and a column of zeros on each side."""
        return Planes(np.pad(self.values, ((0, 0), (0, 0), (1, 1), (1, 1))))

    def at(self, phase: int, shift: tuple[int, int]) -> npt.NDArray[Any]:
        """Of padded planes: the neighbours at `shift` of a phase's positions, (channels, frames, rows, columns)."""
        (row, column), (down, right) = PHASES[phase], shift
        height, width = self.values.shape[2] - 2, self.values.shape[3] - 2
        rows = slice(1 + row + down, 1 + height + down, 2)
        columns = slice(1 + column + right, 1 + width + right, 2)
        return self.values[:, :, rows, columns]


def gather(planes: Sequence[Planes], phase: int, shift: tuple[int, int]) -> npt.NDArray[Any]:
    """`Planes.at` of many padded planes, (channels, positions)."""
    return np.concatenate([p.at(phase, shift).reshape(len(p.values), -1) for p in planes], axis=1)


def present(planes: Sequence[Planes], padding: int) -> list[int]:
    """The phases that any of the planes has; padding: 1 for padded planes, else 0."""
    height = max(p.values.shape[2] - 2 * padding for p in planes)
    width = max(p.values.shape[3] - 2 * padding for p in planes)
    return [i for i, (row, column) in enumerate(PHASES) if row < height and column < width]
