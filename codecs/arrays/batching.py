"""Decoding for an event loop: chunks that wait at the same time are decoded in one call, in a thread.

The kernel decodes a dozen small planes in little more time than one, but Zarr asks for one chunk at a time, many at
once. So a chunk's blobs wait until the loop has run the other coroutines that are ready, and while all processors are
decoding. Then all that have gathered are decoded together.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from latentstore.codecs.arrays.chunk_bytes import PartCoder, Parts, decode_parts
from latentstore.codecs.errors import LatentstoreError

__all__ = ["decode_batched"]

_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Batcher] = WeakKeyDictionary()


async def decode_batched(coder: PartCoder, parts: Parts) -> None:
    """Does what `decode_parts(coder, [parts])` does, in a thread, together with others of that coder."""
    if len(parts.numbers) >= coder.at_once:
        await asyncio.to_thread(decode_parts, coder, [parts])
        return
    loop = asyncio.get_running_loop()
    if loop not in _loops:
        _loops[loop] = _Batcher()
    await _loops[loop].decode(coder, parts)


class _Batcher:
    """What waits in one event loop, by coder."""

    def __init__(self) -> None:
        self._open: dict[PartCoder, _Call] = {}
        self._processors = asyncio.Semaphore(os.cpu_count() or 1)

    async def decode(self, coder: PartCoder, parts: Parts) -> None:
        call = self._open.get(coder)
        if call is None or call.count + len(parts.numbers) > coder.at_once:
            call = self._open[coder] = _Call()
            call.task = asyncio.create_task(self._run(coder, call))
        place = len(call.chunks)
        call.chunks.append(parts)
        call.count += len(parts.numbers)
        # A reader that gives up does not stop the others'.
        errors = await asyncio.shield(call.task)
        if error := errors[place]:
            raise error

    async def _run(self, coder: PartCoder, call: _Call) -> list[LatentstoreError | None]:
        async with self._processors:
            if self._open.get(coder) is call:
                del self._open[coder]
            return await asyncio.to_thread(_decode, coder, call.chunks)


class _Call:
    """Chunks that are decoded together; count: of their parts."""

    task: asyncio.Task[list[LatentstoreError | None]]

    def __init__(self) -> None:
        self.chunks: list[Parts] = []
        self.count = 0


def _decode(coder: PartCoder, chunks: Sequence[Parts]) -> list[LatentstoreError | None]:
    """Each chunk's error: a damaged one does not spoil the others."""
    try:
        decode_parts(coder, chunks)
    except LatentstoreError as error:
        if len(chunks) == 1:
            return [error]
        return [one for parts in chunks for one in _decode(coder, [parts])]
    return [None] * len(chunks)
