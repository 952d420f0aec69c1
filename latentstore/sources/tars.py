"""WebDataset tars: members with one key that follow each other are one sample.

The headers of each tar are read once, so that each sample can be read by itself later. A tar that is cut short is
refused as a whole, because nobody can tell which samples it has lost.

A sample's signal is its first member with the extension of an image, or of a recording. Its other members are
fields by their extensions: ``cls`` becomes ``label`` (int), ``json``, ``txt`` and the like become str, everything else
bytes. All samples of a store have the same fields: a sample that lacks one gets -1, "" or b"".
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import numpy as np

from latentstore.codecs.errors import ArgumentError, SignalError, StoreError
from latentstore.loaders.columns import Field
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.retry import said
from latentstore.sources.images import MAX_FILE_BYTES
from latentstore.sources.item import BadItem, Item, unique_keys

__all__ = ["TarItem", "list_tars"]

TEXTS = {"json", "txt", "text", "caption", "csv", "url", "html", "xml", "yaml", "yml", "id"}
CLASS = "cls"
NO_CLASS = -1

BLOCK = 512
# Read at a time from a remote tar: at 100 MB/s that takes 80 ms, in which a round trip of 5 ms is lost. No more of a
# tar is in memory.
BLOCK_BYTES = 8 << 20
TARS_AT_A_TIME = 8
HIDDEN = "hidden or system member"


@dataclass(frozen=True)
class Member:
    """One file in a tar. extension: what follows the first dot of its name, in lower case. start, length: in bytes.
    time: when it was changed, in seconds since 1970."""

    extension: str
    start: int
    length: int
    time: float


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
        fields = {name: _filling(name) for name in self.lacking}
        for member, content in zip(self.others, rest, strict=True):
            fields[_field_name(member.extension)] = _field_value(member.extension, content)
        return data, {**fields, **self.fields}

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


@dataclass(frozen=True)
class _Sample:
    name: str
    members: tuple[Member, ...]

    def split(self, extensions: Collection[str]) -> tuple[Member | None, tuple[Member, ...]]:
        """The signal, and the other members."""
        signal = next((m for m in self.members if m.extension in extensions), None)
        return signal, tuple(m for m in self.members if m is not signal)


def list_tars(
    tars: Sequence[tuple[Location, str]], extensions: Collection[str], one: str
) -> tuple[list[Item], dict[str, int]]:
    """List tars, each a folder and a name in it: (items in the order of the tars, how many members are passed over, by
    kind).

    extensions: of the members that are signals. one: "image" or "recording", for messages. StoreError if a tar cannot
    be read, is cut short or is damaged; ArgumentError if it is compressed.
    """
    with ThreadPoolExecutor(TARS_AT_A_TIME) as pool:
        scanned = list(pool.map(lambda tar: _scan(*tar), tars))
    found = [
        (tar, sample.name, *sample.split(extensions))
        for tar, (samples, _) in zip(tars, scanned, strict=True)
        for sample in samples
    ]
    names = {_field_name(m.extension) for _, _, signal, others in found if signal for m in others}
    keys = unique_keys((sample, _stem(name)) for (_, name), sample, _, _ in found)
    items: list[Item] = []
    for key, ((location, tar), sample, signal, others) in zip(keys, found, strict=True):
        path = f"{tar}/{sample}"
        if signal is None:
            has = ", ".join(m.extension or "one without extension" for m in others)
            items.append(BadItem(key, path, reason=f"the sample has no {one} among its members ({has})"))
            continue
        lacking = tuple(sorted(names - {_field_name(m.extension) for m in others}))
        stamp = " ".join(f"{m.start}+{m.length}@{m.time:g}" for m in (signal, *others))
        items.append(TarItem(key, path, signal.length, stamp, {}, location, tar, signal, others, lacking))
    hidden = sum(count for _, count in scanned)
    return items, {HIDDEN: hidden} if hidden else {}


def _field_name(extension: str) -> str:
    return "label" if extension == CLASS else extension


def _field_value(extension: str, content: bytes) -> Field:
    if extension == CLASS:
        try:
            return int(content)
        except ValueError as error:
            raise SignalError(f"its class {content[:40]!r} (.{CLASS}) is not a whole number") from error
    if extension.rpartition(".")[2] in TEXTS:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SignalError(f"its field .{extension} is not UTF-8 text") from error
    return content


def _filling(name: str) -> Field:
    if name == "label":
        return NO_CLASS
    return "" if name.rpartition(".")[2] in TEXTS else b""


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".tar").replace(".", "_")


# ---- scanning


def _scan(location: Location, tar: str) -> tuple[list[_Sample], int]:
    """The samples of one tar and the number of members left out."""
    where = location.at(tar)
    seen: set[str] = set()
    done: list[_Sample] = []
    name, ignored = "", 0
    members: list[Member] = []
    try:
        with location.open(tar, BLOCK_BYTES) as file:
            for path, start, length, time in _headers(file, where):
                key, extension = _key_and_extension(path)
                if key is None:
                    ignored += 1
                    continue
                if key != name:
                    if members:
                        done.append(_Sample(name, tuple(members)))
                    if key in seen:
                        raise StoreError(f"{where}: the members of sample {key} do not follow each other")
                    seen.add(key)
                    name, members = key, []
                if any(m.extension == extension for m in members):
                    raise StoreError(f"{where}: sample {key} has two members with the extension {extension!r}")
                members.append(Member(extension, start, length, time))
    except (tarfile.TarError, EOFError) as error:
        last = f"the last whole sample before it is {done[-1].name}" if done else "no whole sample before it"
        raise StoreError(f"{where} is cut short or damaged ({error}); {last}; download or write it again") from error
    except OSError as error:
        raise StoreError(f"the source {where} cannot be read: {said(error)}") from error
    if members:
        done.append(_Sample(name, tuple(members)))
    return done, ignored


def _headers(file: IO[bytes], where: str) -> Iterator[tuple[str, int, int, float]]:
    """(name, first byte, length, time) of each regular member. EOFError if the mark at the end of a tar is missing."""
    length = file.seek(0, 2)
    file.seek(0)
    if length == 0:
        raise EOFError("it is empty")
    if file.read(2) == b"\x1f\x8b":
        raise ArgumentError(f"{where} is compressed: samples in it cannot be read one by one; unpack it to .tar first")
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            if member.offset_data + member.size > length:
                raise EOFError(f"it ends {member.offset_data + member.size - length} bytes into {member.name}")
            if member.isreg():
                yield member.name, member.offset_data, member.size, member.mtime
            # tarfile keeps every header it has seen; a scan needs none of them again.
            archive.members = []  # type: ignore[attr-defined]
        end = archive.offset
    file.seek(end)
    # tarfile takes the end of the file for the end of the archive: a cut between members would go unseen.
    mark = file.read(BLOCK)
    if len(mark) < BLOCK:
        raise EOFError("it has no mark at its end")
    if any(mark):
        raise EOFError(f"no valid header at byte {end}")


def _key_and_extension(path: str) -> tuple[str | None, str]:
    """WebDataset's rule: the key ends at the first dot of the last part. None for hidden members."""
    path = path.removeprefix("./")
    parts = path.split("/")
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return None, ""
    stem, _, extension = parts[-1].partition(".")
    return "/".join([*parts[:-1], stem]), extension.lower()
