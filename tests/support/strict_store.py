"""A Zarr store that raises an error for keys that cannot be its objects, as icechunk and VirtualiZarr do."""

from __future__ import annotations

import re
from typing import Any

from zarr.storage import MemoryStore

_OF_AN_ARRAY = re.compile(r"zarr\.json|\.z\w+|c(/\d+)*|\d+([./]\d+)*")


class StrictStore(MemoryStore):
    """Knows which arrays it has: takes no key inside one but its metadata and its chunks, and no chunk without one."""

    def _check(self, key: str) -> None:
        parts = key.split("/")
        for i in range(1, len(parts)):
            metadata = self._store_dict.get("/".join(parts[:i]) + "/zarr.json")
            array = metadata is not None and b'"array"' in metadata.to_bytes()
            if (array or "/".join(parts[:i]) + "/.zarray" in self._store_dict) and not _OF_AN_ARRAY.fullmatch(
                "/".join(parts[i:])
            ):
                raise RuntimeError(f"node not found at {key!r}")
        folder, chunk, _ = key.partition("/c/")
        if chunk and folder + "/zarr.json" not in self._store_dict:
            raise KeyError(f"there is no array {folder!r}")

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        self._check(key)
        return await super().get(key, *args, **options)

    async def set(self, key: str, *args: Any, **options: Any) -> None:
        self._check(key)
        await super().set(key, *args, **options)
