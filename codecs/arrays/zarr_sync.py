"""Synchronous reads and writes, for Zarr's FusedCodecPipeline.

That pipeline calls a codec's synchronous methods in threads of its own. Here those run the asynchronous methods on a
place whose coroutines never wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Direct", "in_thread", "run_direct"]


class Direct:
    """A chunk's place, of which Zarr's synchronous getters and setters are called; otherwise as `place`."""

    def __init__(self, place: Any) -> None:
        self.place = place

    def __getattr__(self, name: str) -> Any:
        return getattr(self.place, name)

    def __str__(self) -> str:
        return str(self.place)

    async def get(self, prototype: Any, byte_range: Any = None) -> Any:
        return self.place.get_sync(prototype=prototype, byte_range=byte_range)

    async def set(self, value: Any) -> None:
        self.place.set_sync(value)

    async def delete(self) -> None:
        self.place.delete_sync()


async def in_thread(place: Any, call: Callable[..., Any], *args: Any) -> Any:
    """`call` in a thread of the loop's pool, or, for a `Direct` place, in this one."""
    return call(*args) if isinstance(place, Direct) else await asyncio.to_thread(call, *args)


def run_direct(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that waits for nothing, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("a synchronous read or write has waited for an event loop")
