"""Copying Zarr arrays and groups as they are stored: no chunk is decoded, so nothing is lost.

Zarr's own ways of copying an array read and write it. With a lossy codec every such copy is a little worse.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage._common import (
    make_store_path,  # the one way from a path or URL to a store that takes all of them
)

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.codecs.load import resolve
from latentstore.zarr.artifacts import embed, register_beside, signature

__all__ = ["copy"]

AT_ONCE = 8
METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


def copy(
    source: Any,
    target: Any,
    name: str | None = None,
    *,
    overwrite: bool = False,
    source_options: dict[str, Any] | None = None,
    target_options: dict[str, Any] | None = None,
) -> Any:
    """Copies an array, or a group and all in it, byte for byte. Returns the copy, opened to read.

    source: a path, a URL, or a Zarr store, group or array.
    target: a path, a URL, or a Zarr store or group.
    name: where in `target`. None: an array keeps its name, and a group becomes the target itself.
    source_options, target_options: for fsspec.

    An array's artifact is put beside the copy. An array's metadata is copied before its chunks, because some stores
    take no chunk of an array that they do not know. A copy that fails is removed. One whose process was killed opens,
    but lacks chunks: make it anew. Raises StoreError if the target is there already, unless `overwrite`.
    """
    url = str(source) if isinstance(source, str | Path) else None
    if not isinstance(source, zarr.Array | zarr.Group):
        source = zarr.open(url or source, mode="r", storage_options=source_options)
    register_beside(source)
    if name is None:
        name = source.path.rpartition("/")[2] if isinstance(source, zarr.Array) else ""
        if isinstance(source, zarr.Array) and not name:
            raise ArgumentError(
                "the array lies at the root of its store and has no name: say how the copy is to be called"
            )
    zarr_format = source.metadata.zarr_format
    if isinstance(target, zarr.Group):
        store, root = target.store, target.path
    else:
        given = str(target) if isinstance(target, Path) else target
        place = sync(make_store_path(given, mode="a", storage_options=target_options))
        store, root = place.store, place.path
    path = "/".join(part for part in (root, name.strip("/")) if part)
    if (source.store, source.path) == (store, path):
        raise ArgumentError(f"{source.store_path} cannot be copied onto itself")
    sync(_clear(store, path, overwrite))
    if path:
        parent = path.rpartition("/")[0]
        group = zarr.open_group(store, path=parent, mode="a", zarr_format=zarr_format)
        known = signature(source) if isinstance(source, zarr.Array) else None
        if known:
            embed(group, resolve(*known))
    sync(_copy_keys(source.store, source.path, store, path))
    return zarr.open(store, path=path, mode="r")


async def _clear(store: Any, path: str, overwrite: bool) -> None:
    there = [key async for key in store.list_dir(path)]
    if there and not overwrite:
        raise StoreError(
            f"{store}: there is something at {path or 'its root'!r} already: choose another name, or overwrite it"
        )
    if there:
        await store.delete_dir(path)


async def _copy_keys(source: Any, old: str, target: Any, new: str) -> None:
    prefix = f"{old}/" if old else ""
    keys = [key async for key in source.list_prefix(prefix)]
    metadata = [key for key in keys if key.rpartition("/")[2] in METADATA]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(key: str) -> None:
        async with gate:
            content = await source.get(key, default_buffer_prototype())
            if content is None:
                raise StoreError(f"{source}: {key} vanished while it was copied")
            moved = key[len(prefix) :]
            await target.set(f"{new}/{moved}" if new else moved, content)

    whole = False
    try:
        for key in sorted(metadata, key=lambda key: key.count("/")):  # what contains the others first
            await one(key)
        await asyncio.gather(*(one(key) for key in set(keys) - set(metadata)))
        whole = True
    finally:
        if not whole:  # a copy that lacks chunks would read as the fill value
            await target.delete_dir(new)
