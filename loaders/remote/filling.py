"""Byte ranges of some MB that are read straight into memory of their own.

A client joins the pieces of an answer to one block, in a thread of its own. What such blocks leave behind in the part
of the heap that is of this thread does not go back to the system, not by `loaders.remote.allocator` either. How much it
is depends on which requests happened to come side by side. So each piece is put where it belongs as soon as it comes.
The memory is mapped for the range alone, and goes back to the system with it.
"""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from latentstore.codecs.errors import StoreError

__all__ = ["fill", "own_memory"]

# A client hands over what has come, and has less than this in memory.
PIECE_BYTES = 1 << 20
# Else it is memory that processes may share, which costs more. Filling 8 MB takes 1.0 ms a MB then, 0.7 if it is
# private, and 0.06 with large pages.
_PRIVATE: dict[str, Any] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


def own_memory(size: int, what: str) -> memoryview:
    """`size` bytes that go back to the system as soon as nobody has them. They take memory when they are written to.

    what: for the StoreError where there is no such memory.
    """
    if size <= 0:
        return memoryview(bytearray())
    try:
        memory = mmap.mmap(-1, size, **_PRIVATE)
    except (OSError, OverflowError) as error:
        raise StoreError(f"{what}: there is no memory for the {size} bytes that are asked for") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def fill(fs: Any, paths: Sequence[str], starts: Sequence[int], places: Sequence[memoryview]) -> list[Any]:
    """Ask for ranges, all at once: of each path the bytes from its start on, as many as its place has.

    Returns of each how many bytes came, or the error. Where more came than were asked for, the place may hold nothing.
    """
    if _is_s3fs(fs):
        from fsspec.asyn import sync

        answers: list[Any] = sync(fs.loop, _fill_s3, fs, paths, starts, places)
        return answers
    ends = [start + len(place) for start, place in zip(starts, places, strict=True)]
    results: list[Any] = fs.cat_ranges(list(paths), list(starts), ends, on_error="return")
    for i, place in enumerate(places):
        if not isinstance(results[i], Exception):
            if len(results[i]) <= len(place):
                place[: len(results[i])] = results[i]
            results[i] = len(results[i])
    return results


def _is_s3fs(fs: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "s3fs" for base in type(fs).__mro__)


async def _fill_s3(fs: Any, paths: Sequence[str], starts: Sequence[int], places: Sequence[memoryview]) -> list[Any]:
    asked = [_fill_one(fs, path, start, place) for path, start, place in zip(paths, starts, places, strict=True)]
    return await asyncio.gather(*asked, return_exceptions=True)


async def _fill_one(fs: Any, path: str, start: int, place: memoryview) -> int:
    if not place:
        return 0
    bucket, key, version = fs.split_path(path)
    wanted = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{start + len(place) - 1}"}
    answer = await fs._call_s3("get_object", **wanted, **({"VersionId": version} if version else {}))
    body, length = answer["Body"], int(answer["ContentLength"])
    try:
        if length > len(place):  # not the range: see `Client.fill`
            return length
        at = 0
        while piece := await body.read(PIECE_BYTES):
            place[at : at + len(piece)] = piece
            at += len(piece)
        return at
    finally:
        body.close()
