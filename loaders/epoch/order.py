"""The order of samples: a pure function of (seed, epoch, number of samples).

Nothing is drawn from a random generator, and nothing is stored per sample. `EpochOrder.indices` computes the order at
any positions. So a rank, a worker or a resumed run asks only for the positions that it needs. The number of ranks and
workers never changes the order, only who reads which part of it (`loaders.epoch.share`).

There are three orders:

- ``"none"``: as stored.
- ``"full"``: a pseudo-random permutation of all samples. This is the default shuffle. Nothing mixes better, and on
  local files it costs nothing.
- ``"block"``: the shards are permuted and cut into windows of a few consecutive shards, and the samples of each window
  are permuted. The shards of a window are read whole, one range each, which suits object stores. Samples of one shard
  stay within one window of the epoch. Which shards share a window changes every epoch.

The permutation is a Feistel network over Z_a x Z_b, where a*b is just above n (Black and Rogaway, "Ciphers with
arbitrary finite domains", 2002). A result of n or more is permuted again until it is below n.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Protocol

import numpy as np

from latentstore.codecs.arguments import require_number
from latentstore.codecs.errors import ArgumentError

ORDERS = ("none", "full", "block")
# About 26,000 images of 256 x 256 pixels (32 MB a shard). For a model this is as good as a full shuffle, and two
# windows fit into memory.
WINDOW_SHARDS = 4
# Eight rounds are visibly uneven below ten samples (tests/loaders/epoch/test_order.py). Sixteen are not, and take 80 ns
# a sample.
_ROUNDS = 16
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
# Streams of keys that must not meet: samples of the whole set, shards, samples of one window.
_SAMPLES, _SHARDS, _WINDOW = 1, 2, 3


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: 64 well mixed bits of each of `x` (uint64; overwritten)."""
    x ^= x >> _S30
    x *= _MIX1
    x ^= x >> _S27
    x *= _MIX2
    x ^= x >> _S31
    return x


def round_keys(*words: int) -> np.ndarray:
    """uint64 (16,): the keys of one permutation, from any integers (each taken modulo 2^64)."""
    state = np.zeros(1, np.uint64)
    for word in words:
        state ^= np.array([word & _MASK], np.uint64)
        state += np.uint64(_GOLDEN)
        _mix(state)
    steps = np.arange(1, _ROUNDS + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    return _mix(state + steps)


def draws(indices: np.ndarray, *words: int) -> np.ndarray:
    """uint64: 64 random bits for each of `indices` (int64, of any shape), from it and any integers.

    They are the same wherever and whenever they are drawn.
    """
    first, second = round_keys(*words)[:2]
    return _mix(_mix(np.asarray(indices).astype(np.uint64) ^ first) + second)


def permute(positions: np.ndarray, n: int, keys: np.ndarray) -> np.ndarray:
    """The permutation of range(n) that belongs to `keys`, at `positions`; int64 of the same shape.

    positions: integers in 0 <= p < n, of any shape. n: at most 2^62. ArgumentError if a position is out of range.
    """
    shape = np.shape(positions)
    out = np.array(positions, np.uint64).reshape(-1)
    if out.size and (n < 1 or int(out.max()) >= n):
        raise ArgumentError(f"position {int(out.max())} of an order of {n} samples: positions run from 0 to {n - 1}")
    if not out.size:
        return out.astype(np.int64).reshape(shape)
    # An even side keeps odd permutations reachable: adding a constant modulo an odd number is always an
    # even one.
    rows = isqrt(n - 1) + 1
    rows += rows & 1
    columns = -(-n // rows)
    out = _feistel(out, rows, columns, keys)
    while (beyond := np.flatnonzero(out >= n)).size:
        out[beyond] = _feistel(out[beyond], rows, columns, keys)
    return out.astype(np.int64).reshape(shape)


def _feistel(x: np.ndarray, rows: int, columns: int, keys: np.ndarray) -> np.ndarray:
    a, b = np.uint64(rows), np.uint64(columns)
    left, right = np.divmod(x, b)
    for step, key in enumerate(keys):
        if step & 1:
            right = (right + _mix(left ^ key)) % b
        else:
            left = (left + _mix(right ^ key)) % a
    return left * b + right


@dataclass(frozen=True)
class SampleOrder:
    """The order of samples in every epoch.

    shard_sizes: samples of each shard, in stored order. kind: one of ``ORDERS``. seed: a whole number from 0 to
    2^64 - 1. window: shards that are mixed with each other (``"block"`` only).
    """

    shard_sizes: tuple[int, ...]
    kind: str = "full"
    seed: int = 0
    window: int = WINDOW_SHARDS

    def __post_init__(self) -> None:
        if self.kind not in ORDERS:
            raise ArgumentError(f"order {self.kind!r} is not one of {', '.join(ORDERS)}")
        object.__setattr__(self, "seed", require_number(self.seed, "seed", 0, _MASK))
        if min(self.shard_sizes, default=0) < 0:
            raise ArgumentError(f"a shard has {min(self.shard_sizes)} samples, expected 0 or more")
        if self.window < 1:
            raise ArgumentError(f"a window has {self.window} shards, expected 1 or more")

    @property
    def samples(self) -> int:
        return sum(self.shard_sizes)

    @property
    def contiguous(self) -> bool:
        """Whether each rank takes a run of the order, and so reads few shards, instead of every n-th sample."""
        return self.kind != "full"

    def epoch(self, epoch: int) -> EpochOrder:
        """The order in one epoch; takes O(shards) time and memory, and none per sample."""
        if self.kind == "full":
            return FullEpoch(self.samples, round_keys(_SAMPLES, self.seed, epoch))
        sizes = np.array(self.shard_sizes, np.int64)
        if self.kind == "none":
            return StoredEpoch(sizes, np.arange(len(sizes)), 1)
        shards = permute(np.arange(len(sizes)), len(sizes), round_keys(_SHARDS, self.seed, epoch))
        return BlockEpoch(sizes, shards, self.window, self.seed, epoch)


class EpochOrder(Protocol):
    """The order in one epoch. Positions are integers, 0 <= p < samples, in arrays of any shape.

    window_ends: int64, the position after each window.
    """

    @property
    def window_ends(self) -> np.ndarray: ...

    def indices(self, positions: np.ndarray) -> np.ndarray:
        """int64: the stored indices of the samples at `positions`."""

    def windows(self, positions: np.ndarray) -> np.ndarray:
        """int64: the window of each position. Windows follow each other in the order. A shard is in one window only."""

    def shards(self, window: int) -> list[int]:
        """The shards that a window's samples are in; an empty list where any window may need any shard."""


class FullEpoch:
    """One epoch of a full shuffle."""

    def __init__(self, samples: int, keys: np.ndarray) -> None:
        self._samples, self._keys = samples, keys
        self.window_ends = np.array([samples], np.int64)

    def indices(self, positions: np.ndarray) -> np.ndarray:
        return permute(positions, self._samples, self._keys)

    def windows(self, positions: np.ndarray) -> np.ndarray:
        return np.zeros(np.shape(positions), np.int64)

    def shards(self, window: int) -> list[int]:
        return []


class StoredEpoch:
    """One epoch in the order of `shards`, each as it is stored, `window` shards to a window."""

    def __init__(self, sizes: np.ndarray, shards: np.ndarray, window: int) -> None:
        self._order, self._window = shards, window
        self._first = (np.cumsum(sizes) - sizes)[shards]  # stored index of each shard's first sample
        self._ends = np.cumsum(sizes[shards])  # position after each shard
        self._starts = self._ends - sizes[shards]
        last = np.minimum(np.arange(window - 1, len(sizes) + window - 1, window), len(sizes) - 1)
        self.window_ends = self._ends[last]

    def windows(self, positions: np.ndarray) -> np.ndarray:
        return np.asarray(np.searchsorted(self.window_ends, positions, side="right"))

    def shards(self, window: int) -> list[int]:
        chosen = self._order[window * self._window : (window + 1) * self._window]
        return [int(shard) for shard in chosen]

    def indices(self, positions: np.ndarray) -> np.ndarray:
        place = np.searchsorted(self._ends, positions, side="right")
        return np.asarray(self._first[place] + positions - self._starts[place])


class BlockEpoch(StoredEpoch):
    """One epoch of block shuffle."""

    def __init__(self, sizes: np.ndarray, shards: np.ndarray, window: int, seed: int, epoch: int) -> None:
        super().__init__(sizes, shards, window)
        self._seed, self._epoch = seed, epoch

    def indices(self, positions: np.ndarray) -> np.ndarray:
        positions = np.asarray(positions, np.int64)
        mixed = np.empty(positions.shape, np.int64)
        windows = self.windows(positions)
        for w in np.unique(windows).tolist():
            start, end = int(self.window_ends[w - 1]) if w else 0, int(self.window_ends[w])
            chosen = windows == w
            keys = round_keys(_WINDOW, self._seed, self._epoch, w)
            mixed[chosen] = start + permute(positions[chosen] - start, end - start, keys)
        return super().indices(mixed)
