"""Reading ahead: the shards that a pass needs next are read while it uses others, within a number of bytes.

A window is a run of shards that are shuffled together (`loaders.epoch.order`), so each of its batches needs all of
them. How far ahead is read follows from the memory alone: shard after shard, as long as they fit.

Nothing ever waits for memory. Where the shards of a window that is needed do not fit, those that were read ahead are
forgotten. What still does not fit is not kept: its blobs are then read batch by batch (`loaders.remote.fetch`).
"""

from __future__ import annotations

import logging
import os
import threading
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from latentstore.codecs.errors import LatentstoreError
from latentstore.loaders.epoch.order import EpochOrder
from latentstore.loaders.remote.allocator import give_back
from latentstore.loaders.remote.amounts import said_bytes

if TYPE_CHECKING:
    from latentstore.loaders.sharded import ShardedDataset

# Enough to fill 10 Gbit/s from an object store with shards of some tens of MB, each in parts of its own.
READERS = 4
# Eight windows of large shards, or the whole of a small store.
MEMORY = 10**9
# After a pass that has read so many bytes, free memory is given back to the system.
MUCH = 64 << 20

_logger = logging.getLogger("latentstore")


class ReadAhead:
    """Keeps the shards in memory that one pass over an epoch needs now or soon. Thread-safe.

    Local stores are mapped and a full shuffle has no windows: for those, nothing is kept.

    spans: (first, last) of the runs of the order's positions that this pass reads. Windows are needed in ascending
    order. ahead: whether shards are read before they are needed, in threads. memory: bytes that the shards here may
    have together.
    """

    def __init__(
        self, ds: ShardedDataset, order: EpochOrder, spans: list[tuple[int, int]], ahead: bool, memory: int = MEMORY
    ) -> None:
        self._ds, self._order, self._memory = ds, order, memory
        self._runs = order.windows(np.array(spans, np.int64).reshape(-1, 2)).tolist()
        self._last = self._runs[-1][1] if self._runs else -1
        self._ahead = ahead and not ds.is_local
        self._lock, self._measures = threading.Lock(), threading.Lock()
        self._sizes: dict[int, dict[int, int]] = {}  # bytes of each shard, of the windows that are known
        self._held: dict[int, tuple[int, int]] = {}  # (window, bytes) of each shard in memory or on its way
        self._loading: dict[int, Future[None]] = {}
        self._measuring: set[int] = set()
        self._failed: set[int] = set()
        self._bytes = self._read_bytes = 0
        self._current: int = self._runs[0][0] if self._runs else 0
        self._closed = self._told = False

    def need(self, windows: list[int]) -> None:
        """Return when the shards of `windows` are in memory, as far as they fit. The first thread that asks reads them.

        Raises StoreError if they cannot be read.
        """
        if self._ds.is_local:
            return
        for window in windows:
            self._measure(window)
        while True:
            with self._lock:
                mine = [shard for window in windows for shard in self._reserve(window)]
                wanted = {shard for window in windows for shard in self._sizes.get(window, ())}
                others = [future for shard, future in self._loading.items() if shard in wanted - set(mine)]
            if mine:
                self._load(mine)
            for future in others:
                future.result()
            if not others:
                return

    def expect(self, windows: list[int]) -> None:
        """A batch of `windows` is being made: begin to read what comes, as far as it fits. If that fails, `need` tries
        again and raises the error."""
        if windows[-1] < self._last:
            self._plan()

    def passed(self, windows: list[int]) -> None:
        """Forget what comes before `windows`, from which the batch that is handed out now was made."""
        current = min(windows)
        if self._ds.is_local or current == self._current:
            return
        with self._lock:
            self._current = current
            self._drop([shard for shard, (window, _) in self._held.items() if window < current])
            self._sizes = {window: sizes for window, sizes in self._sizes.items() if window >= current}
        self._plan()

    def close(self) -> bool:
        """Forget everything, also what is still being read. Returns whether much was read, so that free memory has been
        given back."""
        with self._lock:
            self._closed = True
            self._drop(list(self._held))
            much, self._read_bytes = self._read_bytes > MUCH, 0
        if much:
            give_back()
        return much

    def _measure(self, window: int) -> None:
        """Learn how large the shards of a window are; this may read their indexes."""
        if window in self._sizes:
            return
        with self._measures:
            if window in self._sizes:
                return
            shards = self._order.shards(window)
            sizes = self._ds.shard_bytes(shards) if shards else []
            with self._lock:
                self._sizes[window] = dict(zip(shards, sizes, strict=True))

    # ---- with the lock

    def _reserve(self, window: int) -> list[int]:
        """The shards of a window to read now: those that are not held, and fit. They are held from now on."""
        absent = [(shard, size) for shard, size in self._sizes.get(window, {}).items() if shard not in self._held]
        self._keep_for(window)
        if not absent or self._closed:
            return []
        self._make_room(window, sum(size for _, size in absent))
        found = [shard for shard, size in absent if self._hold(shard, window, size)]
        whole = sum(self._sizes[window].values())
        if whole > self._memory and not self._told:
            self._told = True
            _logger.warning(
                "%s: the shards that are shuffled together have %s, and memory is %s: what does not fit is read again "
                "for every batch, which is slow",
                self._ds.url, said_bytes(whole), said_bytes(self._memory),
            )  # fmt: skip
        return found

    def _keep_for(self, window: int) -> None:
        """Shards that are held for an earlier window too stay for this one. In a mixture, one epoch of a store follows
        another, and windows of both may have a shard in common."""
        for shard in self._sizes.get(window, ()):
            if shard in self._held and self._held[shard][0] < window:
                self._held[shard] = window, self._held[shard][1]

    def _hold(self, shard: int, window: int, size: int) -> bool:
        """Whether the shard fits. If so, it is held from now on, and whoever called this has to read it."""
        if self._bytes + size > self._memory:
            return False
        self._bytes += size
        self._read_bytes += size
        self._held[shard] = window, size
        self._loading[shard] = Future()
        return True

    def _make_room(self, before: int, size: int) -> None:
        """Forget shards of windows after `before`, the last ones first, until `size` bytes fit."""
        later = [shard for shard, (window, _) in self._held.items() if window > before]
        for shard in sorted(later, key=lambda shard: self._held[shard][0], reverse=True):
            if self._bytes + size <= self._memory:
                return
            self._drop([shard])

    def _drop(self, shards: list[int]) -> None:
        """Forget shards. Those that are being read are forgotten when they have come, if they are over by then."""
        there = [shard for shard in shards if shard in self._held and shard not in self._loading]
        for shard in there:
            self._bytes -= self._held.pop(shard)[1]
        if there:
            self._ds.drop_shards(there)

    def _over(self, shard: int) -> bool:
        return self._closed or self._held[shard][0] < self._current

    # ---- reading

    def _load(self, shards: list[int]) -> None:
        """Read shards that `_hold` has reserved."""
        came = False
        try:
            self._ds.load_shards(shards)
            came = True
        finally:
            self._arrived(shards, came)

    def _arrived(self, shards: list[int], came: bool) -> None:
        with self._lock:
            futures = [self._loading.pop(shard) for shard in shards]
            self._drop([shard for shard in shards if not came or self._over(shard)])
        for future in futures:
            future.set_result(None)

    def _plan(self) -> None:
        """Let the threads read the next shards that fit, as many at a time as there are threads."""
        if not self._ahead:
            return
        with self._lock:
            if self._closed:
                return
            for window, shard in list(self._next()):
                _readers().submit(self._read, window, shard)

    def _next(self) -> Iterator[tuple[int, int | None]]:
        """(window, a shard of it to read, or None where its sizes are to be learnt first)."""
        for window in self._coming():
            sizes = self._sizes.get(window)
            self._keep_for(window)
            if sizes is not None and sizes.keys() <= self._held.keys():
                continue
            if window in self._failed:  # `need` tries again
                return
            if sizes is None:
                if not self._measuring:
                    self._measuring.add(window)
                    yield window, None
                return
            for shard, size in sizes.items():
                if shard not in self._held:
                    if len(self._loading) >= READERS or not self._hold(shard, window, size):
                        return
                    yield window, shard

    def _coming(self) -> Iterator[int]:
        """The windows that this pass reads, from the current one on."""
        following = self._current
        for first, last in self._runs[bisect_left(self._runs, following, key=lambda run: run[1]) :]:
            yield from range(max(first, following), last + 1)
            following = max(following, last + 1)

    def _read(self, window: int, shard: int | None) -> None:
        """What the threads do. Once this is closed, nothing."""
        try:
            if shard is None:
                self._measure_ahead(window)
            elif self._closed or self._over(shard):
                self._arrived([shard], came=False)
            else:
                self._load([shard])
        except LatentstoreError:
            with self._lock:
                self._failed.add(window)
        self._plan()

    def _measure_ahead(self, window: int) -> None:
        try:
            if not self._closed:
                self._measure(window)
        finally:
            with self._lock:
                self._measuring.discard(window)


_pools: dict[int, ThreadPoolExecutor] = {}


def _readers() -> ThreadPoolExecutor:
    """The threads of this process that read ahead, for all passes.

    Threads that come and go with each pass would each leave memory behind that the system's allocator keeps for them.
    """
    found = _pools.get(os.getpid())  # threads do not cross a fork
    if found is None:
        found = _pools.setdefault(os.getpid(), ThreadPoolExecutor(READERS, "latentstore-shards"))
    return found
