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
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from latentstore.codecs.errors import LatentstoreError
from latentstore.loaders.epoch.order import EpochOrder
from latentstore.loaders.remote.amounts import said_bytes

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset

# Enough to fill 10 Gbit/s from an object store with shards of some tens of MB, each in parts of its own.
READERS = 4
# Eight windows of large shards, or the whole of a small store.
MEMORY = 10**9

_logger = logging.getLogger("latentstore")


class ReadAhead:
    """Keeps the shards in memory that one pass over an epoch needs now or soon. Thread-safe.

    Local stores are mapped and a full shuffle has no windows: for those, nothing is kept.

    first, last: the windows that this pass reads, in order. Windows before `first` may come after `last`: there a rank
    repeats the beginning of the epoch. ahead: whether shards are read before they are needed, in threads. memory:
    bytes that the shards here may have together.
    """

    def __init__(
        self, ds: LatentDataset, order: EpochOrder, first: int, last: int, ahead: bool, memory: int = MEMORY
    ) -> None:
        self._ds, self._order, self._first, self._last = ds, order, first, last
        self._memory = memory
        self._ahead = ahead and not ds.is_local
        self._lock, self._measures = threading.Lock(), threading.Lock()
        self._sizes: dict[int, dict[int, int]] = {}  # bytes of each shard, of the windows that are known
        self._held: dict[int, tuple[int, int]] = {}  # (window, bytes) of each shard in memory or on its way
        self._loading: dict[int, Future[None]] = {}
        self._measuring: set[int] = set()
        self._failed: set[int] = set()
        self._bytes = 0
        self._current = (False, first)
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

    def expect(self, window: int) -> None:
        """Windows up to `window` are needed soon: begin to read what comes, as far as it fits. If that fails, `need`
        tries again and raises the error."""
        if window <= self._last:
            self._plan()

    def passed(self, windows: list[int]) -> None:
        """Forget what comes before `windows`, from which the batch that is handed out now was made."""
        current = min(map(self._turn, windows))
        if self._ds.is_local or current == self._current:
            return
        with self._lock:
            self._current = current
            self._drop([shard for shard, (window, _) in self._held.items() if self._turn(window) < current])
            self._sizes = {window: sizes for window, sizes in self._sizes.items() if self._turn(window) >= current}
        self._plan()

    def close(self) -> None:
        """Forget everything, also what is still being read."""
        with self._lock:
            self._closed = True
            self._drop(list(self._held))

    def _turn(self, window: int) -> tuple[bool, int]:
        """What windows are sorted by to have them in the order in which they are read."""
        return window < self._first, window

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
        if not absent or self._closed:
            return []
        self._make_room(self._turn(window), sum(size for _, size in absent))
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

    def _hold(self, shard: int, window: int, size: int) -> bool:
        """Whether the shard fits. If so, it is held from now on, and whoever called this has to read it."""
        if self._bytes + size > self._memory:
            return False
        self._bytes += size
        self._held[shard] = window, size
        self._loading[shard] = Future()
        return True

    def _make_room(self, turn: tuple[bool, int], size: int) -> None:
        """Forget shards of windows after that of `turn`, the last ones first, until `size` bytes fit."""
        later = [shard for shard, (window, _) in self._held.items() if self._turn(window) > turn]
        for shard in sorted(later, key=lambda shard: self._turn(self._held[shard][0]), reverse=True):
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
        return self._closed or self._turn(self._held[shard][0]) < self._current

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
        if self._current[0]:
            return
        for window in range(self._current[1], self._last + 1):
            sizes = self._sizes.get(window)
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
