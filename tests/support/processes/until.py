"""Waiting for what another thread or process does, and not for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 300.0
"""Far longer than anything takes: a test that waits so long has failed."""


def until(condition: Callable[[], bool], what: str = "it has not happened") -> None:
    """Returns once condition() is true; AssertionError with the words `what` if it never is."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.001)
