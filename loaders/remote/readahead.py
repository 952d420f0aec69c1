"""Shards in memory for the windows of an order: read whole, once, a window ahead of its use."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from latentstore.loaders.order import EpochOrder

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset


class HeldShards:
    """The shards of the windows in use of one pass over an epoch. Thread-safe.

    Holds nothing for local stores, whose files are mapped, and nothing for a full shuffle. Otherwise at
    most the windows of the batches being made, and with `ahead` the next one, up to window `last`.
    """

    def __init__(self, ds: LatentDataset, order: EpochOrder, last: int, ahead: bool) -> None:
        self._ds, self._order, self._last = ds, order, last
        self._pool = ThreadPoolExecutor(1, "latentstore-shards") if ahead and not ds.is_local else None
        self._loading: dict[int, threading.Lock] = {}
        self._loaded: set[int] = set()
        self._lock = threading.Lock()
        self._current = 0
        self._closed = False

    def need(self, windows: list[int]) -> None:
        """Return when the shards of `windows` are in memory; whoever asks first reads them."""
        if not self._ds.is_local:
            for window in windows:
                self._load(window, ahead=False)

    def expect(self, window: int) -> None:
        """Begin to read `window`, which will be needed soon. A failure shows when it is needed."""
        if self._pool is not None and window <= self._last and window not in self._loading:
            self._pool.submit(self._load, window, ahead=True)

    def passed(self, windows: list[int]) -> None:
        """Let go of what lies before `windows`, which the batch that is handed out now was made from."""
        with self._lock:
            self._current = min(windows)
            self._drop([window for window in self._loaded if window < self._current])

    def close(self) -> None:
        """Let go of everything, also of what is still being read."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            self._drop(list(self._loaded))

    def _load(self, window: int, ahead: bool) -> None:
        with self._lock:
            reading = self._loading.setdefault(window, threading.Lock())
        with reading:
            # Reading ahead may come too late: the window may have been read, used and dropped by then.
            if window in self._loaded or (ahead and window < self._current):
                return
            shards = self._order.shards(window)
            if shards:
                self._ds.load_shards(shards)
            with self._lock:
                self._loaded.add(window)
                if self._closed:
                    self._drop([window])

    def _drop(self, windows: list[int]) -> None:
        shards = [shard for window in windows for shard in self._order.shards(window)]
        if shards:
            self._ds.drop_shards(shards)
        for window in windows:
            self._loaded.discard(window)
            self._loading.pop(window, None)
