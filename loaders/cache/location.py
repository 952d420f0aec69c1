"""A location whose objects are kept in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from latentstore.loaders.cache.entry import entry_name
from latentstore.loaders.cache.folder import CacheFolder
from latentstore.loaders.remote.location import Bytes, Location
from latentstore.loaders.remote.ranges import Range

Data = TypeVar("Data", bytes, Bytes)


class CachedLocation(Location):
    """The folder of one store. What is read in every epoch, or by every process, comes from the cache if it is there.

    That is: whole objects, the ends of objects, and the ranges of `read_parts`. The ranges of single batches are never
    the same again, so they are not kept.

    identity: the digest of the store's manifest. As long as it is None, nothing is kept: the manifest itself always
    comes from the store, so that another store in the same place is noticed.
    """

    def __init__(self, url: str, storage_options: dict[str, Any] | None, folder: CacheFolder) -> None:
        super().__init__(url, storage_options)
        self.folder = folder
        self.identity: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        own = {"url": self.url, "storage_options": self.storage_options}
        return {**own, "folder": self.folder, "identity": self.identity}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"], state["storage_options"], state["folder"])  # type: ignore[misc]
        self.identity = state["identity"]

    @property
    def origin(self) -> Location:
        """See `Location.origin`."""
        return Location(self.url, self.storage_options)

    def forget(self, name: str) -> None:
        """See `Location.forget`."""
        if self.identity is not None:
            self.folder.forget(self.identity, name)

    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """See `Location.read_ranges`."""
        if all(end is None for _, _, end in ranges):
            return self._through(ranges, super().read_ranges, apart=False)
        return super().read_ranges(ranges)

    def read_parts(self, ranges: Sequence[tuple[str, int, int]]) -> list[Bytes]:
        """See `Location.read_parts`."""
        return self._through(ranges, super().read_parts, apart=True)

    def _through(self, ranges: Sequence[Any], read: Callable[[Any], list[Data]], apart: bool) -> list[Data]:
        identity = self.identity
        if identity is None:
            return read(ranges)
        names = [entry_name(item) for item in ranges]
        found: list[Data | None] = [self.folder.get(identity, name, apart) for name in names]
        absent = [i for i, data in enumerate(found) if data is None]
        if absent:
            for i, data in zip(absent, read([ranges[i] for i in absent]), strict=True):
                self.folder.put(identity, names[i], data)
                found[i] = data
        return [data for data in found if data is not None]
