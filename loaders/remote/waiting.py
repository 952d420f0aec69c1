"""A word for who waits: a request that takes long is named, by the logger "latentstore".

Without a handler of the program's own, Python prints warnings of loggers to the standard error stream. So the command
line needs nothing more, and a program decides itself where the line goes.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

TELL_AFTER_SECONDS = 5.0
LOOK_SECONDS = 0.5
# Many threads wait for a server that has gone. A slow one is no news when it is slow again.
TELL_AGAIN_SECONDS = 600.0

_logger = logging.getLogger("latentstore")


class Waits:
    """What this process is waiting for, and a thread that looks at it while there is something. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[int, tuple[float, str, str]] = {}
        self._told: dict[str, float] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextmanager
    def named(self, place: str, what: str) -> Iterator[None]:
        """Within this block the process waits for `what`, which lies in `place`. Each place is told of once."""
        number = next(self._numbers)
        with self._lock:
            self._since[number] = (monotonic(), place, what)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="latentstore-waits", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._since.pop(number, None)

    def told(self, place: str) -> None:
        """Somebody else has told the user of this place."""
        with self._lock:
            self._told[place] = monotonic()

    def _watch(self) -> None:
        while True:
            sleep(LOOK_SECONDS)
            with self._lock:
                if not self._since:
                    self._thread = None
                    return
                late = self._late(monotonic())
            for what in late:
                _logger.warning("still waiting for %s after %.0f seconds", what, TELL_AFTER_SECONDS)

    def _late(self, now: float) -> list[str]:
        found = []
        for since, place, what in self._since.values():
            if (
                now - since >= TELL_AFTER_SECONDS
                and now - self._told.get(place, -TELL_AGAIN_SECONDS) >= TELL_AGAIN_SECONDS
            ):
                self._told[place] = now
                found.append(what)
        return found


waits = Waits()


def _after_fork() -> None:
    # The child waits for nothing yet, and a lock that another thread of the parent held would never be released.
    waits.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
