"""A file as libsndfile is to see it: parts of the real one, and bytes that are put in their place."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Checked", "Seekable", "View"]

SCAN_BYTES = 1 << 20
HEAD_BYTES = 512
# libsndfile looks for a tag in so many bytes at the end, and does without the file if it cannot read them.
LAST_BYTES = 128


class Seekable(Protocol):
    """What is needed of a file."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...

    def tell(self) -> int: ...

    def read(self, size: int = ..., /) -> bytes: ...


class View:
    """A file to seek in and read from, whose bytes are parts of another one.

    file: the other one. parts: bytes, or (start, stop) in `file`, one behind the other; None is all of it. near: all of
    it may be read at little cost, which is not so for an object on a server. claims: the size that `seek` reports where
    that is more than there is; reading ends at the true size, but for zeros in the last bytes that are claimed.
    """

    def __init__(
        self, file: Seekable, parts: Sequence[bytes | tuple[int, int]] | None = None, near: bool = True, claims: int = 0
    ) -> None:
        self.file, self.near, self.plain = file, near, parts is None
        if parts is None:
            parts = [(0, file.seek(0, io.SEEK_END))]
        self._parts = list(parts)
        self._starts, at = [], 0
        for part in self._parts:
            self._starts.append(at)
            at += len(part) if isinstance(part, bytes) else part[1] - part[0]
        self._head: bytes | None = None
        self.size, self._claimed, self._at = at, claims if claims > at + LAST_BYTES else at, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._claimed}[whence]
        if at < 0:
            raise ValueError(f"position {at}")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        found = self.at(self._at, self.size if size < 0 else size)
        if not found and self._claimed - LAST_BYTES <= self._at < self._claimed:
            found = bytes(min(max(size, 0), self._claimed - self._at))
        self._at += len(found)
        return found

    def at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on; fewer at the end."""
        if offset + size <= HEAD_BYTES:  # headers are read in many small pieces
            if self._head is None:
                self._head = self._read(0, HEAD_BYTES)
            return self._head[offset : offset + size]
        return self._read(offset, size)

    def _read(self, offset: int, size: int) -> bytes:
        pieces, stop = [], min(offset + size, self.size)
        i = bisect_right(self._starts, offset) - 1
        while offset < stop:
            part, inside = self._parts[i], offset - self._starts[i]
            if isinstance(part, bytes):
                piece = part[inside : inside + stop - offset]
            else:
                self.file.seek(part[0] + inside)
                piece = self.file.read(min(stop - offset, part[1] - part[0] - inside))
                if not piece and part[1] - part[0] > inside:  # it became shorter, or cannot be read
                    break
            pieces.append(piece)
            offset += len(piece)
            i += offset - self._starts[i] >= (len(part) if isinstance(part, bytes) else part[1] - part[0])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def cut(self, start: int, stop: int | None = None, claims: int = 0) -> View:
        """The bytes from `start` to `stop`. claims: as for the whole."""
        stop = self.size if stop is None else stop
        if (start, stop) == (0, self.size) and claims <= self.size:
            return self
        return self.made([(start, stop)], claims)

    def made(self, parts: Sequence[bytes | tuple[int, int]], claims: int = 0) -> View:
        """A view of parts of this one."""
        return View(self, parts, self.near, claims)

    def patched(self, changes: Mapping[int, bytes]) -> View:
        """With other bytes at these offsets."""
        parts: list[bytes | tuple[int, int]] = []
        at = 0
        for offset, new in sorted(changes.items()):
            parts += [(at, offset), new]
            at = offset + len(new)
        return self.made([*parts, (at, self.size)])

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """All of it from `start` on, in blocks."""
        while block := self.at(start, SCAN_BYTES):
            yield block
            start += len(block)

    def find(self, wanted: bytes, start: int) -> int:
        """Where `wanted` first stands at or after `start`; -1 where it does not."""
        tail = b""
        for block in self.blocks(start):
            if (found := (data := tail + block).find(wanted)) >= 0:
                return start - len(tail) + found
            start, tail = start + len(block), data[-len(wanted) + 1 :]
        return -1


@dataclass(frozen=True)
class Checked:
    """The audio of a file. view: for libsndfile. samples: how many it holds; None where libsndfile counts right."""

    view: View
    samples: int | None = None
