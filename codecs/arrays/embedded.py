"""Artifacts that lie beside the arrays that need them: their names, and finding them while a chunk is read.

`latentstore.zarr.create` stores an artifact as an array of bytes in a group around the array. Stores of
`latentstore.convert` hold theirs in the array `artifact`, followed by its CRC-32C. In both cases the hash says whether
it is the right one.

Some stores know which arrays they have, and raise an error for a key that cannot be one of their objects. So nothing is
asked for inside an array but its metadata and its chunks, and a chunk only of an array that is there.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from latentstore.codecs.artifact.container import MAX_BYTES
from latentstore.codecs.errors import CorruptError
from latentstore.codecs.load import codec_of

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["artifact_array", "codec_beside", "embedded_codec"]

# Folders above the root of a store that are looked at, where an array is that root: the groups that the array is in.
LEVELS_ABOVE = 2


def artifact_array(sha256: str) -> str:
    """Name of the array that holds the artifact of that hash."""
    return f"latentstore_artifact_{sha256[:12]}"


async def embedded_codec(place: Any, sha256: str) -> Codec | None:
    """The codec whose artifact lies in a group around `place`, a chunk as Zarr's codecs are given it.

    Returns None if there is none, or if `place` is inside a shard, which does not know where it is.
    """
    path, store = getattr(place, "path", None), getattr(place, "store", None)
    if not isinstance(path, str) or store is None:
        return None
    return await codec_beside(store, await _array_around(store, path), sha256)


async def codec_beside(store: Any, array: str, sha256: str) -> Codec | None:
    """The codec whose artifact lies in a group around the array at this path; None if there is none.

    An array at the root of a store of files was opened by its own path or URL: its groups are the folders above.
    """
    parts = [part for part in array.split("/") if part]
    for depth in range(len(parts) - 1, -1, -1):
        if codec := await _codec_in(store, "/".join(parts[:depth]), sha256):
            return codec
    if parts:
        return None
    for _ in range(LEVELS_ABOVE):
        if (store := _above(store)) is None:
            return None
        try:
            if codec := await _codec_in(store, "", sha256):
                return codec
        except OSError:  # whoever may read an array may perhaps not read what is around it
            return None
    return None


async def _array_around(store: Any, chunk: str) -> str:
    """The path of the array that a chunk belongs to. The groups are asked from the root on, so that nothing is ever
    asked for inside the array."""
    parts = chunk.split("/")
    for depth in range(len(parts)):
        path = "/".join(parts[:depth])
        metadata = await _read(store, _join(path, "zarr.json"))
        if metadata and json.loads(metadata).get("node_type") == "array":
            return path
    return "/".join(parts[:-1])  # metadata that Zarr has read before, and that has vanished since


async def _codec_in(store: Any, group: str, sha256: str) -> Codec | None:
    import asyncio

    for name in (artifact_array(sha256), "artifact"):
        array = _join(group, name)
        if await _read(store, f"{array}/zarr.json"):
            chunk = f"{array}/c/0"
        elif name != "artifact" and await _read(store, f"{array}/.zarray"):
            chunk = f"{array}/0"
        else:
            continue
        content = await _read(store, chunk)
        for candidate in (content, content[:-4]):
            if candidate and hashlib.sha256(candidate).hexdigest() == sha256:
                found = bytes(candidate)
                return await asyncio.to_thread(codec_of, sha256, lambda found=found: found)  # type: ignore[misc]
    return None


def _above(store: Any) -> Any:
    """The folder that holds a store of files, as a store; None if it is no such store, or is in no folder."""
    from zarr.storage import FsspecStore, LocalStore

    if isinstance(store, LocalStore):
        root = store.root.absolute()
        return None if root.parent == root else LocalStore(root.parent, read_only=True)
    if isinstance(store, FsspecStore):
        folder = store.path.rstrip("/").rpartition("/")[0]
        if not folder.strip("/") or folder.endswith(":/"):
            return None
        return FsspecStore(store.fs, read_only=True, path=folder)
    return None


def _join(group: str, name: str) -> str:
    return f"{group}/{name}" if group else name


async def _read(store: Any, key: str) -> bytes:
    from zarr.core.buffer import default_buffer_prototype

    found = await store.get(key, default_buffer_prototype())
    if found is None:
        return b""
    content: bytes = found.to_bytes()
    if len(content) > MAX_BYTES + 4:
        raise CorruptError(f"{key} has {len(content)} bytes, more than an artifact can have")
    return content
