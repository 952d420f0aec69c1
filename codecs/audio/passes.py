"""A signal on its way through the encoder, which goes over it two to four times: for its level, to code it, and where
int8 does not hold it to find other steps and to code it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.audio.arguments import power_of
from latentstore.codecs.audio.lapped import LappedTransform

__all__ = ["Blocks", "Passes"]

Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]
Blocks = Callable[[], Iterable[Any]]

# Coefficients that are kept at most: 64 MiB, of a quarter of an hour of stereo music.
MOST_KEPT = 1 << 24


class Passes:
    """The signal of `blocks`, a function that begins anew each time it is called: float32 (m, inputs) each.

    in_memory: whether calling it again costs nothing. Otherwise, the first pass keeps the coefficients where they are
    much fewer than the samples, so that a file is decoded once. samples: of one input. power: the sum of the squares of
    all inputs' samples. level: their root mean square.
    """

    def __init__(self, lapped: LappedTransform, blocks: Blocks, in_memory: bool) -> None:
        self.lapped, self._blocks = lapped, blocks
        self.samples, self.power = 0, 0.0
        self._kept: list[Floats] | None = None
        feed = self._counted()
        if not in_memory and 2 * len(lapped.source) <= lapped.hop * lapped.inputs:
            self._keep(feed)
        for _ in feed:
            pass
        self.level = (self.power / max(self.samples * lapped.inputs, 1)) ** 0.5

    def coefficients(self, inverse: Floats) -> Iterator[Floats]:
        """Coefficients times inverse, float32 (channels, r), piece by piece; inverse: float32 (channels,)."""
        if self._kept is None:
            return self.lapped.coefficients(self._blocks(), inverse)
        return (part * inverse[:, None] for part in self._kept)

    def latents(self, inverse: Floats, rounding: Floats) -> Iterator[tuple[Int8s, int]]:
        """Quantised, each value by itself, and how many were limited: see `LappedTransform.signal_to_latent`."""
        if self._kept is None:
            return self.lapped.latents(self._blocks(), inverse, rounding)
        return (_quantised(part * inverse[:, None], rounding) for part in self._kept)

    def _counted(self) -> Iterator[Floats]:
        for block in self._blocks():
            self.samples += len(block)
            self.power += power_of(block)
            yield block

    def _keep(self, feed: Iterator[Floats]) -> None:
        """Keeps the coefficients, unless they are too many."""
        kept: list[Floats] = []
        values = 0
        for part in self.lapped.coefficients(feed, np.ones(len(self.lapped.source), np.float32)):
            kept.append(part)
            values += part.size
            if values > MOST_KEPT:
                return
        self._kept = kept


def _quantised(coefficients: Floats, rounding: Floats) -> tuple[Int8s, int]:
    """What the kernel does to coefficients that it has just made, bit for bit."""
    size = np.abs(coefficients) + rounding[:, None]
    outside = int(np.count_nonzero(size >= 128))
    symbols = np.minimum(size, np.float32(127)).astype(np.int8)
    return np.where(coefficients < 0, -symbols, symbols), outside
