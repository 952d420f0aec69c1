"""A location as a store of zarr, for arrays that zarr itself reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from latentstore.loaders.remote.location import Location

Result = TypeVar("Result")


def zarr_store(location: Location) -> Any:
    """What `zarr.open` takes for a location, to read from: a path, or a store with the location's own client.

    That client makes one attempt at each request. Calls of zarr go through `tried`, which makes others.
    """
    if location.local is not None:
        return location.local
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from zarr.storage import FsspecStore

    fs, path = location.filesystem()
    # zarr wants coroutines. Wrapped, each request runs in a thread, and the client stays the one of `location`, which
    # is closed with it; one that is opened for zarr's own event loop is never closed.
    return FsspecStore(AsyncFileSystemWrapper(fs, asynchronous=True), path=path, read_only=True)


def tried(location: Location, action: Callable[[], Result]) -> Result:
    """The result of a call of zarr that reads from `location`; tried again as a whole if the location is remote."""
    return action() if location.local is not None else location.retry(action)
