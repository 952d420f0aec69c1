"""Mean and standard deviation of dequantised latents, channel by channel.

A dequantised latent is its int8 code times a scale. For images, the scale belongs to the store's quality. For audio,
it belongs to the sample's step code, in the field ``step``. Sums of the codes are whole numbers and are kept for each
step code, so the result does not depend on which shard or task had which sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from latentstore.codecs.errors import CorruptError


class Stats(NamedTuple):
    """Mean and standard deviation per channel, float32 (channels,) each, of dequantised latents.

    For images these are ``codec.scale(quality) * latent``. For audio they are ``codec.scale_of(step) * latent``, with
    the field ``step`` of each sample.
    """

    mean: np.ndarray
    std: np.ndarray


@dataclass(frozen=True)
class Moments:
    """The first two moments of latents: sums of their int8 codes, and sums of the codes' squares.

    Moments of parts add up (`total`), and give mean and standard deviation of the whole (`mean_std`).

    codes: int64 (k,), the step codes that occur, ascending; [0] for images. positions: int64 (k,), values per channel.
    sums, squares: int64 (k, channels).
    """

    codes: np.ndarray
    positions: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    @classmethod
    def none(cls, channels: int) -> Moments:
        """The moments of no latents."""
        empty = np.zeros((0, channels), np.int64)
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), empty, empty)

    @classmethod
    def of(cls, latents: np.ndarray, codes: np.ndarray) -> Moments:
        """The moments of latents, int8 (n, channels, ...), that have the step codes `codes`, int64 (n,)."""
        flat = latents.reshape(len(latents), latents.shape[1], -1)
        sums = flat.sum(axis=2, dtype=np.int64)
        wide = flat.astype(np.int32)
        squares = np.einsum("ncp,ncp->nc", wide, wide, dtype=np.int64)
        return cls(codes, np.full(len(codes), flat.shape[2], np.int64), sums, squares)._joined()

    @classmethod
    def total(cls, parts: Iterable[Moments], channels: int) -> Moments:
        """The moments of all parts together."""
        every = [cls.none(channels), *parts]
        return cls(
            np.concatenate([m.codes for m in every]),
            np.concatenate([m.positions for m in every]),
            np.concatenate([m.sums for m in every]),
            np.concatenate([m.squares for m in every]),
        )._joined()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The arrays that `of_arrays` takes, by name, for a file."""
        return {f"moments_{name}": array for name, array in vars(self).items()}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], channels: int, where: str) -> Moments:
        """What `to_arrays` gave. CorruptError naming `where` if there is something else."""
        found = [arrays.get(f"moments_{one.name}") for one in fields(cls)]
        rows = 0 if found[0] is None else len(found[0])
        for array, shape in zip(found, [(rows,), (rows,), (rows, channels), (rows, channels)], strict=True):
            if array is None or array.dtype != np.int64 or array.shape != shape:
                raise CorruptError(f"{where}: its sums over the latents are damaged")
        return cls(*(array for array in found if array is not None))

    def without(self, part: Moments) -> Moments:
        """The moments of what is left when latents with the moments `part`, which are among these, are taken out."""
        taken = Moments(part.codes, *(-array for array in part._arrays()))
        left = Moments.total([self, taken], self.sums.shape[1])
        some = left.positions > 0
        return Moments(left.codes[some], *(array[some] for array in left._arrays()))

    def _joined(self) -> Moments:
        codes, at = np.unique(self.codes, return_inverse=True)
        if len(codes) == 1:  # always so for images
            return Moments(codes, *(a.sum(axis=0, keepdims=True) for a in self._arrays()))
        found = Moments(codes, *(np.zeros((len(codes), *a.shape[1:]), np.int64) for a in self._arrays()))
        for total, array in zip(found._arrays(), self._arrays(), strict=True):
            np.add.at(total, at.reshape(-1), array)
        return found

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.positions, self.sums, self.squares

    def mean_std(self, scale_of: Callable[[int], np.ndarray]) -> tuple[list[float], list[float]]:
        """(mean, standard deviation), one value per channel each.

        scale_of: gives the scales of a step code, (channels,).
        """
        n = max(1, int(self.positions.sum()))
        if len(self.codes) == 1:
            scale = scale_of(int(self.codes[0]))
            sums, squares = self.sums[0].tolist(), self.squares[0].tolist()
            mean = [float(f) * (a / n) for f, a in zip(scale, sums, strict=True)]
            # n * squares - sums^2 in Python's integers: no cancellation
            std = [float(f) * (max(0, n * b - a * a) ** 0.5 / n) for f, a, b in zip(scale, sums, squares, strict=True)]
            return mean, std
        return mean_std(self.scaled(scale_of), n)

    def scaled(self, scale_of: Callable[[int], np.ndarray]) -> np.ndarray:
        """The sums and the sums of squares of the dequantised latents, float64 (2, channels).

        scale_of: see `mean_std`.
        """
        scales = np.array([scale_of(int(code)) for code in self.codes], np.float64).reshape(self.sums.shape)
        return np.stack([(scales * self.sums).sum(0), (scales * scales * self.squares).sum(0)])


def mean_std(sums: np.ndarray, positions: int) -> tuple[list[float], list[float]]:
    """(mean, standard deviation), one value per channel each. sums: as `Moments.scaled` gives them."""
    mean, power = sums / max(1, positions)
    return mean.tolist(), np.sqrt(np.maximum(0, power - mean * mean)).tolist()
