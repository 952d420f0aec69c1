"""Batches of samples of similar lengths, so that little is padded: a pure function of seed, epoch and lengths.

The order of the epoch is cut into pools of `POOL_BATCHES` batches. The samples of a pool are sorted by length and cut
into batches, and the batches of a pool are permuted. Ranks share batches, so the number of ranks changes neither the
batches nor their order. The samples that do not fill a whole batch are the last of the epoch's order, whatever their
lengths. So a loader that leaves them out leaves out other samples every epoch, and long ones as rarely as short ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from latentstore.loaders.epoch.order import EpochOrder, permute, round_keys

# Measured on lengths from 0.3 to 10 s, log-normal as those of speech, in batches of 64: 63 % of a batch is padding
# without sorting, 7 % with pools of 16 batches, 4 % with 32, 2 % with 64. Small pools keep more of the shuffle.
POOL_BATCHES = 32
_BUCKETS = 4


class Buckets:
    """The batches of one epoch, a `Grouping`.

    order: of the epoch's samples. seed, epoch: of the order in which batches of a pool come. lengths: gives the
    lengths, int64 (n,), of samples by their stored indices, int64 (n,). drop_last: leave out samples that do not fill a
    batch.
    """

    def __init__(
        self,
        order: EpochOrder,
        samples: int,
        seed: int,
        epoch: int,
        batch_size: int,
        lengths: Callable[[np.ndarray], np.ndarray],
        drop_last: bool = False,
    ) -> None:
        self.order, self.samples, self.batch_size, self.lengths = order, samples, batch_size, lengths
        self.seed, self.epoch = seed, epoch
        self.count = samples // batch_size if drop_last else -(-samples // batch_size)
        self._pool, self._batches, self._windows = -1, np.zeros((0, 0), np.int64), [0]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """The first and the last position of the pools that batches `first` to `last` are made of."""
        pool = POOL_BATCHES * self.batch_size
        return first // POOL_BATCHES * pool, min((last // POOL_BATCHES + 1) * pool, self.samples) - 1

    def batch(self, number: int) -> tuple[np.ndarray, list[int]]:
        """(stored indices, int64 (b,); the windows of the order that its pool is in) of a batch of the epoch."""
        whole = self.samples // self.batch_size
        if number >= whole:
            positions = np.arange(whole * self.batch_size, self.samples, dtype=np.int64)
            return self.order.indices(positions), self._windows_of(positions)
        pool, place = divmod(number, POOL_BATCHES)
        if pool != self._pool:
            self._fill(pool, min(whole - pool * POOL_BATCHES, POOL_BATCHES))
        return self._batches[place], self._windows

    def _fill(self, pool: int, batches: int) -> None:
        start = pool * POOL_BATCHES * self.batch_size
        positions = np.arange(start, start + batches * self.batch_size, dtype=np.int64)
        indices = self.order.indices(positions)
        ranked = indices[np.argsort(self.lengths(indices), kind="stable")].reshape(batches, self.batch_size)
        keys = round_keys(_BUCKETS, self.seed, self.epoch, pool)
        self._batches = ranked[permute(np.arange(batches), batches, keys)]
        self._pool, self._windows = pool, self._windows_of(positions)

    def _windows_of(self, positions: np.ndarray) -> list[int]:
        # Those of the whole pool: the next batch may need a window that this one does not.
        return [int(window) for window in np.unique(self.order.windows(positions))]
