"""Signals to channels and back: the lapped transform of audio codecs, and quantisation.

The kernel does it, and the reference does the same operations in the same order, so results are the same bits.
Sections are those of docs/format-audio.md. A coefficient or a sample is the same whatever else is computed with it:
signals of any length go through in pieces, and any part of one can be rebuilt alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.native import backend

__all__ = ["LappedTransform", "mdct_basis"]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
Latent = npt.NDArray[np.int8]

PANEL = 16  # as in lapped.h
RUN_SAMPLES = 1 << 15  # analysed at a time: a copy of so many stays in cache
RUN_STEP = 48  # instants in a run are a multiple of this, so that the kernel's blocks are full


def mdct_basis(hop: int) -> npt.NDArray[np.float64]:
    """The MDCT with the sine window, float64 (hop, 2 * hop): orthonormal, and the identity there and back."""
    places, bands = np.arange(2.0 * hop), np.arange(float(hop))[:, None]
    window = math.sqrt(2 / hop) * np.sin(np.pi * (2 * places + 1) / (4 * hop))
    return window * np.cos(np.pi / hop * (places + 0.5 + hop / 2) * (bands + 0.5))


@dataclass(frozen=True, eq=False)
class LappedTransform:
    """What a codec does between a signal and its latent.

    hop: samples from instant to instant, even.
    mix: float32 (inputs, inputs): mixed signal j is the sum of mix[j, i] times input i.
    source: int8 (c,): the mixed signal of each channel.
    basis: float32 (c, 2 * hop).
    """

    hop: int
    mix: Floats
    source: Latent
    basis: Floats

    def __post_init__(self) -> None:
        inputs, c = len(self.mix), len(self.source)
        if not 8 <= self.hop <= 1024 or self.hop % 2:
            raise ArgumentError(f"A hop of {self.hop} samples is not an even number from 8 to 1024.")
        if not 1 <= inputs <= 16:
            raise ArgumentError(f"A signal has 1 to 16 inputs, not {inputs}.")
        _check("mix", self.mix, np.float32, (inputs, inputs))
        _check("source", self.source, np.int8, (c,))
        _check("basis", self.basis, np.float32, (c, 2 * self.hop))
        if not ((self.source >= 0) & (self.source < inputs)).all():
            raise ArgumentError(f"A channel's source is not one of {inputs} mixed signals.")
        for name in ("mix", "source", "basis"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name)))

    @property
    def inputs(self) -> int:
        return len(self.mix)

    @cached_property
    def fold(self) -> Floats:
        """S6.3: float32 (hop,)."""
        return np.sin(np.pi * (2 * np.arange(self.hop) + 1) / (4 * self.hop)).astype(np.float32)

    @cached_property
    def panels(self) -> tuple[Floats, Integers, Integers]:
        """The basis as the kernel takes it: channels of one source side by side, PANEL at a time.

        Returns float32 (panels, 2 * hop, PANEL), the channel of each lane or -1, int32 (panels, PANEL), and the source
        of each panel, int32 (panels,).
        """
        lanes, sources = [], []
        for source in range(self.inputs):
            channels = np.flatnonzero(self.source == source)
            for at in range(0, len(channels), PANEL):
                lanes.append(np.full(PANEL, -1, np.int32))
                lanes[-1][: len(channels) - at] = channels[at : at + PANEL]
                sources.append(source)
        table = np.array(lanes, np.int32).reshape(-1, PANEL)
        basis = np.where(table[..., None] < 0, np.float32(0), self.basis[table])
        return np.ascontiguousarray(basis.transpose(0, 2, 1)), table, np.array(sources, np.int32)

    def instants(self, samples: int) -> int:
        """Instants of a signal of so many samples."""
        return -(-samples // self.hop)

    def needed(self, start: int, stop: int, t: int) -> tuple[int, int]:
        """The instants [first, last), of t, that samples [start, stop) are rebuilt from."""
        if not 0 <= start <= stop <= t * self.hop:
            raise ArgumentError(f"Samples {start} to {stop} are not within {t} instants of {self.hop} samples.")
        if start == stop:
            return 0, 0
        half = self.hop // 2
        return max((start + half) // self.hop - 1, 0), min((stop - 1 + half) // self.hop + 1, t)

    def signal_to_coefficients(self, signal: Floats, inverse: Floats) -> Floats:
        """Coefficients times inverse: float32 (n, inputs), n >= 1, to float32 (c, t). inverse: float32 (c,)."""
        return np.concatenate(list(self.coefficients([signal], inverse)), axis=1)

    def signal_to_latent(self, signal: Floats, inverse: Floats, rounding: Floats) -> tuple[Latent, int]:
        """Quantised channels, each value by itself: sign(x) * floor(|x| + rounding), x = coefficient * inverse.

        signal: float32 (n, inputs), n >= 1, finite; inverse, rounding: float32 (c,), not negative.
        Returns int8 (c, t), limited to +-127, and how many values were limited: the caller is to act on them.
        """
        runs = list(self.latents([signal], inverse, rounding))
        return np.concatenate([latent for latent, _ in runs], axis=1), sum(outside for _, outside in runs)

    def coefficients(self, blocks: Iterable[Floats], inverse: Floats) -> Iterator[Floats]:
        """signal_to_coefficients for a signal that comes in blocks, as `latents`."""
        for places in self._runs(blocks):
            yield self._coefficients(places, inverse)

    def latents(self, blocks: Iterable[Floats], inverse: Floats, rounding: Floats) -> Iterator[tuple[Latent, int]]:
        """signal_to_latent for a signal that comes in blocks of any sizes: latents of the next instants, as they
        become known. Memory does not grow with the signal."""
        for places in self._runs(blocks):
            yield self._latent(places, inverse, rounding)

    def latent_to_signal(self, latent: Latent, n: int, scale: Floats, delta: Floats) -> Floats:
        """A signal float32 (n, inputs) from a latent or its first channels, int8 (c' <= c, t).

        A value q stands for sign(q) * (|q| - delta) * scale; scale: float32 (c,); delta: float32 (c, 2), for |q| = 1
        and beyond.
        """
        t = self.instants(n)
        if n < 1 or latent.shape[1:] != (t,):
            raise ArgumentError(f"A signal of {n} samples has no latent of shape {latent.shape}.")
        return self.latent_to_samples(latent, 0, t, 0, n, scale, delta)

    def latent_to_samples(
        self, latent: Latent, first: int, t: int, start: int, stop: int, scale: Floats, delta: Floats
    ) -> Floats:
        """Samples [start, stop) of latent_to_signal's, from the instants from `first` on, which must hold `needed`."""
        low, high = self.needed(start, stop, t)
        c, last = len(self.source), first + (latent.shape[1] if latent.ndim == 2 else 0)
        _check("latent", latent, np.int8, (min(len(latent), c), last - first))
        _check("scale", scale, np.float32, (c,))
        _check("delta", delta, np.float32, (c, 2))
        if start == stop:
            return np.zeros((0, self.inputs), np.float32)
        if not 0 <= first <= low < high <= last <= t:
            raise ArgumentError(
                f"Samples {start} to {stop} take instants {low} to {high} of {t}, not {first} to {last}."
            )
        tables = (self.mix, self.source, self.basis, self.fold)
        out = np.empty((stop - start, self.inputs), np.float32)
        backend().lapped_samples((first, t, start), *map(np.ascontiguousarray, (latent, *tables, scale, delta)), out)
        return out

    def _runs(self, blocks: Iterable[Floats]) -> Iterator[Floats]:
        """Places of as many instants r as are known, and once more at the end: float32 ((r + 1) * hop, inputs)."""
        hop, half = self.hop, self.hop // 2
        # Places from the next instant on; before the first one is out, samples only.
        held, n, begun = np.zeros((0, self.inputs), np.float32), 0, False
        for block in blocks:
            _check("a block of the signal", block, np.float32, (len(block), self.inputs))
            step = max(RUN_SAMPLES // (RUN_STEP * hop), 1) * RUN_STEP * hop
            for at in range(0, len(block), step):
                held = np.concatenate([held, block[at : at + step]])
                if not begun and len(held) >= half:
                    held, begun = self._before(held), True
                known = len(held) // hop - 1
                if begun and known > 0:
                    yield held[: (known + 1) * hop]
                    held = held[known * hop :]
            n += len(block)
        if n < 1:
            raise ArgumentError("A signal has at least one sample.")
        held = _reflected(held, self.instants(n) * hop - n, n)
        if not begun:
            held = self._before(held)
        yield self._after(held)

    def _before(self, samples: Floats) -> Floats:
        """S6.5: the places before the beginning of a signal, and the signal."""
        half = self.hop // 2
        near, far = self.fold[half:, None], self.fold[half - 1 :: -1, None]
        return np.concatenate([-(samples[:half] * (1 - near) / far)[::-1], samples])

    def _after(self, samples: Floats) -> Floats:
        """S6.5: a signal, and the places after its end."""
        half = self.hop // 2
        near, far = self.fold[half:, None], self.fold[half - 1 :: -1, None]
        return np.concatenate([samples, samples[: -half - 1 : -1] * (1 - near) / far])

    def _coefficients(self, places: Floats, inverse: Floats) -> Floats:
        _check("inverse", inverse, np.float32, (len(self.source),))
        out = np.empty((len(self.source), len(places) // self.hop - 1), np.float32)
        backend().lapped_coefs(places, self.mix, *self.panels, np.ascontiguousarray(inverse), out)
        return out

    def _latent(self, places: Floats, inverse: Floats, rounding: Floats) -> tuple[Latent, int]:
        _check("inverse", inverse, np.float32, (len(self.source),))
        _check("rounding", rounding, np.float32, (len(self.source),))
        out = np.empty((len(self.source), len(places) // self.hop - 1), np.int8)
        steps = map(np.ascontiguousarray, (inverse, rounding))
        return out, backend().lapped_latent(places, self.mix, *self.panels, *steps, out)


def _reflected(held: Floats, more: int, n: int) -> Floats:
    """The last places of a signal of n samples, and so many more, reflected about the edge between samples."""
    if more == 0:
        return held
    known = held[-min(n, len(held)) :]
    if more <= len(known):
        return np.concatenate([held, known[: -more - 1 : -1]])
    return np.concatenate([held, np.pad(known, ((0, more), (0, 0)), "symmetric")[len(known) :]])


def _check(name: str, array: npt.NDArray, dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ArgumentError(f"{name} must be {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}.")
