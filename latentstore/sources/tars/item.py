"""One sample of a tar, and how its members become a signal and fields.

``cls`` or ``label`` becomes ``label`` (int), ``json``, ``txt`` and the like become str, everything else bytes. All
samples of a store have the same fields: a sample that lacks one gets -1, "" or b"".
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from latentstore.codecs.errors import SignalError
from latentstore.loaders.columns import Field
from latentstore.loaders.remote.location import Location
from latentstore.sources.item import MAX_FILE_BYTES, Item

__all__ = ["CLASSES", "TEXTS", "Member", "TarItem", "field_name", "field_value", "filling"]

TEXTS = {"json", "txt", "text", "caption", "csv", "url", "html", "xml", "yaml", "yml", "id"}
CLASSES = {"cls", "label"}
NO_CLASS = -1
WHOLE = re.compile(rb"[+-]?[0-9]{1,30}")
MOST = 1 << 63
BLOCK_BYTES = 8 << 20
NO_TIME = 315_619_200
"""Up to here, the 2nd of January 1980, a time is one that programs give to all members of all tars."""


class Member(NamedTuple):
    """One file in a tar. extension: what follows the first dot of its name, in lower case. start, length: in bytes.
    time: when it was changed, in seconds since 1970. reason: why it cannot be read, or ""."""

    extension: str
    start: int
    length: int
    time: float
    reason: str = ""


@dataclass(frozen=True)
class TarItem(Item):
    """One sample of a tar. lacking: names of the fields that other samples have."""

    location: Location | None = None
    tar: str = ""
    signal: Member | None = None
    others: tuple[Member, ...] = ()
    lacking: tuple[str, ...] = ()

    def load(self) -> tuple[bytes | np.ndarray, dict[str, Field]]:
        assert self.location is not None and self.signal is not None
        if self.signal.length > MAX_FILE_BYTES:
            raise SignalError(f"{self.signal.length} bytes; a file has at most {MAX_FILE_BYTES}")
        members = (self.signal, *self.others)
        data, *rest = self.location.read_ranges([(self.tar, m.start, m.start + m.length) for m in members])
        fields = {name: filling(name) for name in self.lacking}
        for member, content in zip(self.others, rest, strict=True):
            fields[field_name(member.extension)] = field_value(member.extension, content)
        return data, {**fields, **self.fields}

    @property
    def stamp_tells(self) -> bool:
        return all(m.time > NO_TIME for m in (self.signal, *self.others) if m is not None)

    def fingerprint(self) -> str:
        if not self.is_local and self.stamp_tells:
            return ""
        assert self.location is not None and self.signal is not None
        found = hashlib.blake2b(digest_size=16)
        for member in (self.signal, *self.others):
            for first in range(0, member.length, BLOCK_BYTES):
                begin = member.start + first
                end = min(begin + BLOCK_BYTES, member.start + member.length)
                found.update(self.location.read_ranges([(self.tar, begin, end)])[0])
        return found.hexdigest()

    def opened(self) -> BinaryIO:
        assert self.location is not None and self.signal is not None
        part = _Part(self.location.open(self.tar), self.signal.start, self.signal.length)
        return io.BufferedReader(part)

    @property
    def is_local(self) -> bool:
        return self.location is not None and self.location.local is not None


class _Part(io.RawIOBase):
    """Part of a file, as a file of its own."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file, self._start, self._length, self._at = file, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._length - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def field_name(extension: str) -> str:
    """The field that a member of this extension becomes."""
    return "label" if extension in CLASSES else extension


def field_value(extension: str, content: bytes) -> Field:
    """The value of a member. SignalError if it is none of its kind."""
    if extension in CLASSES:
        said = content.strip()
        if not WHOLE.fullmatch(said):
            raise SignalError(f"its class {content[:40]!r} (.{extension}) is not a whole number")
        if not -MOST <= int(said) < MOST:
            raise SignalError(f"its class {said.decode()} (.{extension}) is beyond 64 bits")
        return int(said)
    if extension.rpartition(".")[2] in TEXTS:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SignalError(f"its field .{extension} is not UTF-8 text") from error
    return content


def filling(name: str) -> Field:
    """The value of a field in a sample that lacks it."""
    if name == "label":
        return NO_CLASS
    return "" if name.rpartition(".")[2] in TEXTS else b""
