"""A remote object as a file: to seek in, and to read from in pieces."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO


def open_stream(read: Callable[[int, int], bytes], size: int, block_bytes: int) -> BinaryIO:
    """An object of `size` bytes as a file, of which at most one block is in memory.

    read(start, end) gives its bytes. block_bytes: what is read at a time.
    """
    return io.BufferedReader(_Pieces(read, size), block_bytes)


class _Pieces(io.RawIOBase):
    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._size, self._at = read, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._take(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        # That of the base class asks for 8 KiB at a time, each of which would be a request.
        return self._take(self._size)

    def _take(self, count: int) -> bytes:
        end = min(self._at + count, self._size)
        if end <= self._at:
            return b""
        data = self._read(self._at, end)
        self._at = end
        return data
