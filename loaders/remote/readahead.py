"""Reading ahead: the shards of the next window of an order are read while the current one is used."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from latentstore.loaders.epoch.order import EpochOrder

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset


class ReadAhead:
    """Keeps the shards in memory that one pass over an epoch needs now or next. Thread-safe.

    A window is a run of shards that are shuffled together (`loaders.epoch.order`). In memory are the windows of the
    batches that are being made, and with `ahead` the next one. Local stores are mapped and a full shuffle has no
    windows: for those, nothing is kept.

    first, last: the windows that this pass reads, in order. Windows before `first` may come after `last`: there a rank
    repeats the beginning of the epoch.
    """

    def __init__(self, ds: LatentDataset, order: EpochOrder, first: int, last: int, ahead: bool) -> None:
        self._ds, self._order, self._first, self._last = ds, order, first, last
        self._pool = ThreadPoolExecutor(1, "latentstore-shards") if ahead and not ds.is_local else None
        self._loading: dict[int, threading.Lock] = {}
        self._loaded: set[int] = set()
        self._lock = threading.Lock()
        self._current = (False, first)
        self._closed = False

    def need(self, windows: list[int]) -> None:
        """Return when the shards of `windows` are in memory. The first thread that asks reads them.

        Raises StoreError if they cannot be read.
        """
        if not self._ds.is_local:
            for window in windows:
                self._load(window, ahead=False)

    def expect(self, window: int) -> None:
        """Begin to read `window`, which is needed soon. If that fails, `need` tries again and raises the error."""
        if self._pool is not None and window <= self._last and window not in self._loading:
            self._pool.submit(self._load, window, ahead=True)

    def passed(self, windows: list[int]) -> None:
        """Forget what comes before `windows`, from which the batch that is handed out now was made."""
        with self._lock:
            self._current = min(map(self._turn, windows))
            self._drop([window for window in self._loaded if self._turn(window) < self._current])

    def close(self) -> None:
        """Forget everything, also what is still being read."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            self._drop(list(self._loaded))

    def _turn(self, window: int) -> tuple[bool, int]:
        """What windows are sorted by to have them in the order in which they are read."""
        return window < self._first, window

    def _load(self, window: int, ahead: bool) -> None:
        with self._lock:
            reading = self._loading.setdefault(window, threading.Lock())
        with reading:
            # Reading ahead may come too late: the window may have been read, used and dropped by then.
            if window in self._loaded or (ahead and self._turn(window) < self._current):
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
