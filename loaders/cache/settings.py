"""Which folder is the cache, and how large it may be: from the arguments of `latentstore.open` or the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.cache.folder import CacheFolder
from latentstore.loaders.remote.amounts import require_bytes

FOLDER = "LATENTSTORE_CACHE"
SIZE = "LATENTSTORE_CACHE_SIZE"
DEFAULT_SIZE = "100GB"


def chosen_cache(cache: bool | str | os.PathLike[str] | None, size: int | str | None = None) -> CacheFolder | None:
    """The cache that is meant, or None for none.

    cache: a folder; True: the usual folder; False: none; None: the folder that the environment variable
    LATENTSTORE_CACHE names, if it does. size: bytes that it may have; None: what LATENTSTORE_CACHE_SIZE says, or
    100 GB. ArgumentError if they are something else.
    """
    named = os.environ.get(FOLDER)
    if cache is None and not named:
        return None
    if isinstance(cache, bool) or cache is None:
        if cache is False:
            return None
        path = cache_path()
    elif isinstance(cache, str | os.PathLike) and os.fspath(cache) and "://" not in os.fspath(cache):
        path = Path(cache).expanduser()
    else:
        raise ArgumentError(f"cache is {cache!r}; it is True, False, or the path of a local folder.")
    return CacheFolder(path.absolute(), cache_bytes(size))


def cache_path() -> Path:
    """The usual folder: that of LATENTSTORE_CACHE, or ``latentstore`` in the user's folder for caches."""
    named = os.environ.get(FOLDER)
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "latentstore"


def cache_bytes(size: Any = None) -> int:
    """How many bytes the cache may have."""
    if size is not None:
        return require_bytes(size, "cache_size")
    return require_bytes(os.environ.get(SIZE) or DEFAULT_SIZE, SIZE)
