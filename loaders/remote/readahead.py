"""Reading ahead: the shards of the next window of an order are read while the current one is used."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from latentstore.loaders.epoch.order import EpochOrder

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset


class ReadAhead:
    """Keeps the shards in memory that one pass over an epoch needs now or next. Thread-safe.

    A window is a run of shards that are shuffled together (`loaders.epoch.order`). In memory are the windows of the
    batches that are being made, and with `ahead` the next one. Local stores are mapped and a full shuffle has no
    windows: for those, nothing is kept.

    spans: (first, last) of the runs of the order's positions that this pass reads. Windows are needed in ascending
    order.
    """

    def __init__(self, ds: LatentDataset, order: EpochOrder, spans: list[tuple[int, int]], ahead: bool) -> None:
        self._ds, self._order = ds, order
        runs = order.windows(np.array(spans, np.int64).reshape(-1, 2))
        self._firsts, self._lasts = runs[:, 0], runs[:, 1]
        self._pool = ThreadPoolExecutor(1, "latentstore-shards") if ahead and not ds.is_local else None
        self._loading: dict[int, threading.Lock] = {}
        self._loaded: set[int] = set()
        self._lock = threading.Lock()
        self._current = -1
        self._closed = False

    def need(self, windows: list[int]) -> None:
        """Return when the shards of `windows` are in memory. The first thread that asks reads them.

        Raises StoreError if they cannot be read.
        """
        if not self._ds.is_local:
            for window in windows:
                self._load(window, ahead=False)

    def expect(self, windows: list[int]) -> None:
        """Begin to read what this pass reads after `windows`. If that fails, `need` tries again and raises it."""
        window = self._after(windows[-1]) if self._pool is not None else None
        if self._pool is not None and window is not None and window not in self._loading:
            self._pool.submit(self._load, window, ahead=True)

    def _after(self, window: int) -> int | None:
        """The window that this pass reads after `window`, None if that is the last one."""
        run = int(np.searchsorted(self._lasts, window, side="right"))
        return max(window + 1, int(self._firsts[run])) if run < len(self._lasts) else None

    def passed(self, windows: list[int]) -> None:
        """Forget what comes before `windows`, from which the batch that is handed out now was made."""
        with self._lock:
            self._current = windows[0]
            self._drop([window for window in self._loaded if window < self._current])

    def close(self) -> None:
        """Forget everything, also what is still being read."""
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
        for window in windows:
            self._loaded.discard(window)
            self._loading.pop(window, None)
        # in a mixture, one epoch of a store follows another, and windows of both may have a shard in common
        kept = {shard for window in self._loading for shard in self._order.shards(window)}
        shards = [shard for window in windows for shard in self._order.shards(window) if shard not in kept]
        if shards:
            self._ds.drop_shards(shards)
