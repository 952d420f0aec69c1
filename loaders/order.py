"""The order of samples: a pure function of (seed, epoch, number of samples).

Nothing is drawn from a generator and nothing is stored per sample: `EpochOrder.indices` evaluates the order
at any positions, so a rank, a worker or a resumed run asks for just the positions it needs and gets what
everybody else would get. How many ranks and workers there are never changes the order, only who reads which
part of it (`RankSlice`).

Three orders:

- ``"none"``: as stored.
- ``"full"``: a pseudo-random permutation of all samples. The default shuffle: nothing mixes better, and on
  local files it costs nothing.
- ``"block"``: the shards are permuted, cut into windows of a few consecutive shards, and the samples of a
  window are permuted. A window's shards are read whole, one range each, which is what object stores want.
  Samples of one shard stay within one window of the epoch; which shards share a window changes every epoch.

The permutation is a Feistel network over Z_a x Z_b with a*b just above n (Black and Rogaway, "Ciphers with
arbitrary finite domains", 2002); results of n or more walk on along their cycle until they fall below n.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Protocol

import numpy as np

from latentstore.codecs.errors import ArgumentError

ORDERS = ("none", "full", "block")
# Some 26,000 images of 256 px (32 MB a shard): as good as a full shuffle to a model, and two fit in memory.
WINDOW_SHARDS = 4
# Eight rounds are visibly uneven below ten samples (tests/test_order.py); sixteen are not, at 80 ns a sample.
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


def permute(positions: np.ndarray, n: int, keys: np.ndarray) -> np.ndarray:
    """The permutation of range(n) that `keys` names, evaluated at `positions`.

    `positions`: integers in 0 <= p < n, any shape. Returns int64 of that shape. `n` is at most 2^62.
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

    shard_sizes: samples of each shard, in stored order. mode: one of ``ORDERS``. seed: any integer. window:
    shards that are mixed with each other (``"block"`` only).
    """

    shard_sizes: tuple[int, ...]
    mode: str = "full"
    seed: int = 0
    window: int = WINDOW_SHARDS

    def __post_init__(self) -> None:
        if self.mode not in ORDERS:
            raise ArgumentError(f"order {self.mode!r} is not one of {', '.join(ORDERS)}")
        if min(self.shard_sizes, default=0) < 0:
            raise ArgumentError(f"a shard of {min(self.shard_sizes)} samples")
        if self.window < 1:
            raise ArgumentError(f"a window of {self.window} shards: 1 or more")

    @property
    def samples(self) -> int:
        return sum(self.shard_sizes)

    @property
    def contiguous(self) -> bool:
        """Whether ranks take runs of the order, so that each reads few shards, rather than every n-th
        sample."""
        return self.mode != "full"

    def epoch(self, epoch: int) -> EpochOrder:
        """The order in one epoch; takes O(shards) time and memory, and none per sample."""
        if self.mode == "full":
            return FullEpoch(self.samples, round_keys(_SAMPLES, self.seed, epoch))
        sizes = np.array(self.shard_sizes, np.int64)
        if self.mode == "none":
            return StoredEpoch(sizes, np.arange(len(sizes)), 1)
        shards = permute(np.arange(len(sizes)), len(sizes), round_keys(_SHARDS, self.seed, epoch))
        return BlockEpoch(sizes, shards, self.window, self.seed, epoch)


class EpochOrder(Protocol):
    """The order in one epoch. Positions are integers, 0 <= p < samples, in arrays of any shape."""

    def indices(self, positions: np.ndarray) -> np.ndarray:
        """int64: the stored indices of the samples at `positions`."""

    def windows(self, positions: np.ndarray) -> np.ndarray:
        """int64: the window of each position. Windows follow each other in the order; a shard is in one
        window."""

    def shards(self, window: int) -> list[int]:
        """The shards that a window draws from; none where any window may need any shard."""


class FullEpoch:
    """One epoch of a full shuffle."""

    def __init__(self, samples: int, keys: np.ndarray) -> None:
        self._samples, self._keys = samples, keys

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
        self._window_ends = self._ends[last]

    def windows(self, positions: np.ndarray) -> np.ndarray:
        return np.asarray(np.searchsorted(self._window_ends, positions, side="right"))

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
            start, end = int(self._window_ends[w - 1]) if w else 0, int(self._window_ends[w])
            chosen = windows == w
            keys = round_keys(_WINDOW, self._seed, self._epoch, w)
            mixed[chosen] = start + permute(positions[chosen] - start, end - start, keys)
        return super().indices(mixed)


@dataclass(frozen=True)
class RankSlice:
    """Which positions of an epoch one rank reads; all ranks read equally many.

    samples: of the data set. rank, world_size: as in torch.distributed. drop: what happens when the ranks
    cannot share evenly: True leaves out the last few positions of the epoch (less than `world_size`; other
    samples every epoch, if shuffled), False repeats the first positions to fill up. contiguous: runs of
    positions instead of every `world_size`-th. first: positions before this one have been read already, by
    however many ranks; 0 if contiguous.
    """

    samples: int
    rank: int = 0
    world_size: int = 1
    drop: bool = False
    contiguous: bool = False
    first: int = 0

    def __post_init__(self) -> None:
        if self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise ArgumentError(f"rank {self.rank} of {self.world_size}: ranks run from 0 to world_size - 1")
        if self.first and self.contiguous:
            raise ArgumentError("ranks that read runs of the order cannot be cut anew in the middle of an epoch")

    @property
    def count(self) -> int:
        """Positions that each rank reads."""
        left = max(0, self.samples - self.first)
        return left // self.world_size if self.drop else -(-left // self.world_size)

    def positions(self, start: int, stop: int) -> np.ndarray:
        """int64: positions in the epoch of this rank's samples number `start` to `stop` (exclusive)."""
        own = np.arange(start, stop, dtype=np.int64)
        own = own + self.rank * self.count if self.contiguous else own * self.world_size + self.rank + self.first
        return own % self.samples if own.size and own[-1] >= self.samples else own
