"""Leaving out samples that cannot be read, where the user wants that: named, counted, and only so many."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from latentstore.codecs.arguments import require_number
from latentstore.codecs.errors import ArgumentError, CorruptError, LatentstoreError, StoreError
from latentstore.loaders.faults.changed import ChangedError
from latentstore.loaders.remote.client import ServerError

ON_ERROR = ("raise", "skip")
MOST_SKIPPED = 100

_logger = logging.getLogger("latentstore")

Collates = Callable[[np.ndarray, int], dict[str, Any]]


class Skipping:
    """Makes batches, without the samples that cannot be read. Thread-safe.

    A sample is left out if its bytes are damaged or missing. A server that does not answer or refuses, and a store that
    was replaced, are no fault of a sample, and are raised.

    on_error: "raise" or "skip". most: how many samples may be left out. skipped: the reason for each one, by its index.
    """

    def __init__(self, collate: Collates, on_error: str, most: int) -> None:
        if on_error not in ON_ERROR:
            raise ArgumentError(f"on_error is {on_error!r}; it is 'raise' or 'skip'.")
        self._collate, self.skips = collate, on_error == "skip"
        self.most = require_number(most, "max_skipped", 0)
        self.skipped: dict[int, str] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __call__(self, indices: np.ndarray, epoch: int = 0) -> dict[str, Any] | None:
        """The batch of samples `indices`, int64 (n,), or what can be read of it; None if none of them can be.

        epoch: of random changes.
        """
        if not self.skips:
            return self._collate(indices, epoch)
        if self.skipped:
            indices = indices[~np.isin(indices, list(self.skipped))]
        while len(indices):
            try:
                return self._collate(indices, epoch)
            except (CorruptError, StoreError) as error:
                if not is_of_sample(error):
                    raise
                indices = self._without_bad(indices)
        return None

    def _without_bad(self, indices: np.ndarray) -> np.ndarray:
        """The samples that can be read. The others are found by halves, since a batch has few of them."""
        left, good = [indices], []
        while left:
            some = left.pop()
            try:
                self._collate(some, 0)
            except (CorruptError, StoreError) as error:
                if not is_of_sample(error):
                    raise
                if len(some) == 1:
                    self._skip(int(some[0]), error)
                else:
                    left += [some[len(some) // 2 :], some[: len(some) // 2]]
            else:
                good.append(some)
        return np.concatenate(good) if good else indices[:0]

    def _skip(self, index: int, error: LatentstoreError) -> None:
        with self._lock:
            if index in self.skipped:
                return
            if len(self.skipped) >= self.most:
                raise StoreError(
                    f"{error}; {len(self.skipped)} samples were skipped already, and max_skipped is {self.most}"
                ) from error
            self.skipped[index] = str(error)
            _logger.warning("sample %d is skipped, number %d of %d: %s", index, len(self.skipped), self.most, error)


def is_of_sample(error: LatentstoreError) -> bool:
    """Whether an error is the fault of single samples, so that the others can be read."""
    return isinstance(error, CorruptError | StoreError) and not isinstance(error, ServerError | ChangedError)
