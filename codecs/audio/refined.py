"""What a trained decoder adds to a signal: its network's answer in bands of the MDCT, through the inverse transform.

The transform is linear, so the kernel's samples and those of the answer are summed.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.decoder import DecoderFile
from latentstore.codecs.artifact.folded import FoldedShape
from latentstore.codecs.audio.lapped import LappedTransform, mdct_basis
from latentstore.codecs.audio.steps import StepCodes, step_of
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.folded import FoldedNetwork

__all__ = ["Bands", "Refiner"]

# Instants that are refined at once: bounds the memory, and changes no value.
TILE = 512

Floats = npt.NDArray[np.float32]


class Bands:
    """The lowest bands of each mixed signal of an audio codec: what the linear decoder makes of them, and samples.

    bands: how many of each mixed signal. delta: as of the codec, float32 (channels, 2). default_step: the step of the
    default quality, for a signal of level 1.
    """

    def __init__(
        self, lapped: LappedTransform, bands: tuple[int, ...], steps: StepCodes, delta: Floats, default_step: float
    ) -> None:
        if len(bands) != lapped.inputs or max(bands) > lapped.hop:
            raise ArgumentError(f"Its bands are {list(bands)}, for {lapped.inputs} mixed signals of {lapped.hop} each.")
        self.lapped, self.bands, self.steps, self.delta = lapped, bands, steps, delta
        self.default_step = default_step
        self.basis = mdct_basis(lapped.hop).astype(np.float32)
        parts = [
            np.where(lapped.source == signal, self.basis[:count] @ lapped.basis.T, np.float32(0))
            for signal, count in enumerate(bands)
        ]
        # float32 (bands, channels): channels times this are bands
        self.map = np.concatenate(parts).astype(np.float32)
        # float32 (channels, bands): how much of each band the first channels hold
        self.shares = np.cumsum(np.square(self.map), axis=1, dtype=np.float32).T

    def linear(self, latent: npt.NDArray[np.int8], code: int) -> Floats:
        """The bands that the linear decoder makes, in units of the step: int8 (c, t) to float32 (b, t).

        latent: the first c channels. code: the step code.
        """
        kept = len(latent)
        size = np.abs(latent.astype(np.float32))
        less = np.where(size == 1, self.delta[:kept, :1], self.delta[:kept, 1:])
        scale = self.steps.scale(code)[:kept, None] / np.float32(step_of(code))
        return self.map[:, :kept] @ (np.sign(latent) * np.where(size > 0, size - less, np.float32(0)) * scale)

    def told(self, code: int) -> float:
        """What a network is told of the step: its logarithm to base 2 over that of the default quality, or 0 where a
        step code says no level."""
        return math.log2(step_of(code & 255) / self.default_step) if self.steps.levels else 0.0

    def samples(self, bands: Floats, first: int, t: int, start: int, stop: int) -> Floats:
        """Samples [start, stop) of a signal of t instants, float32 (stop - start, inputs), from the bands of its
        instants from `first` on, float32 (b, r); sections S6.2 to S6.4 of docs/format-audio.md."""
        hop, half = self.lapped.hop, self.lapped.hop // 2
        begin, end = (start + half) // hop, (stop - 1 + half) // hop + 1  # blocks of places
        # the instants from begin - 1 to before end; there are none before the first and after the last
        low, high = max(begin - 1, 0), min(end, t)
        at, blocks = 0, []
        for count in self.bands:
            halves = bands[at : at + count, low - first : high - first].T @ self.basis[:count]
            places = np.zeros((end - begin, hop), np.float32)
            places[: high - begin] += halves[begin - low :, :hop]
            places[low + 1 - begin :] += halves[: end - 1 - low, hop:]
            blocks.append(places)
            at += count
        mixed = np.stack(blocks)
        near, far = self.lapped.fold[half:], self.lapped.fold[half - 1 :: -1]
        if begin == 0:
            edge = mixed[:, 0]
            edge[:, half:] = near * edge[:, half:] - far * edge[:, half - 1 :: -1]
        if end == t + 1:
            edge = mixed[:, -1]
            edge[:, half - 1 :: -1] = near * edge[:, half - 1 :: -1] + far * edge[:, half:]
        skipped = start + half - begin * hop
        flat = mixed.reshape(len(mixed), -1)[:, skipped : skipped + stop - start]
        return np.ascontiguousarray(flat.T @ self.lapped.mix)


class Refiner:
    """One decoder at work for its codec. It can be used by several threads at once."""

    def __init__(self, file: DecoderFile, bands: Bands) -> None:
        self.network, self.bands, self.channels = FoldedNetwork(file), bands, file.folded.channels

    @property
    def shape(self) -> FoldedShape:
        return self.network.shape

    @property
    def reach(self) -> int:
        """How many instants before and after those of `LappedTransform.needed` have an influence."""
        return self.network.reach

    def refinement(self, latent: npt.NDArray[np.int8], code: int) -> Floats:
        """What the bands lack: int8 (c, t) to float32 (b, t). latent: the first c channels. code: the step code."""
        kept, t = latent.shape
        out = np.empty((sum(self.bands.bands), t), np.float32)
        for start in range(0, t, TILE):
            stop, low = min(start + TILE, t), max(0, start - self.reach)
            linear = self.bands.linear(latent[:, low : stop + self.reach], code)
            answer = self.network.answer(
                linear, self.bands.shares[kept - 1], kept / self.channels, self.bands.told(code)
            )
            out[:, start:stop] = answer[:, start - low : stop - low]
        out *= np.float32(step_of(code))
        return out

    def samples(self, latent: npt.NDArray[np.int8], first: int, t: int, start: int, stop: int, code: int) -> Floats:
        """What is added to samples [start, stop) of a signal of t instants, float32 (stop - start, inputs).

        latent: int8 (c, r), its instants from `first` on. They must hold `reach` more on both sides than the samples
        need, or end where the signal does.
        """
        return self.bands.samples(self.refinement(latent, code), first, t, start, stop)
