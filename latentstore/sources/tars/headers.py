"""The members of a tar, read from its headers once, so that each can be read by itself later.

Links inside the tar become what they point to. Tars written one behind the other (`cat`) are read as one. Whatever
cannot be read as a plain file keeps the reason why.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, NamedTuple

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.retry import said

__all__ = ["Header", "Scan", "scan"]

BLOCK = 512
# Read at a time from a remote tar: at 100 MB/s that takes 80 ms, in which a round trip of 5 ms is lost. No more of a
# tar is in memory.
BLOCK_BYTES = 8 << 20
# Links that point to links are followed so far.
MOST_LINKS = 16
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
OTHERS = {b"PK\x03\x04": "a ZIP archive", b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!": "a RAR archive"}


class Header(NamedTuple):
    """One member. name: as the tar says it. start, length: of its bytes in the file. time: when it was changed, in
    seconds since 1970. reason: why it is no file that can be read, or "". part: which of the tars in the file, from 0.
    link: whether it is a link to the member whose bytes these are."""

    name: str
    start: int
    length: int
    time: float
    reason: str = ""
    part: int = 0
    link: bool = False


@dataclass
class Scan:
    """A tar's members in their order.

    special: members that are devices or pipes. ended: parts whose mark at the end was read. broken: why the rest of the
    tar could not be read, or "".
    """

    headers: list[Header] = field(default_factory=list)
    special: int = 0
    ended: int = 0
    broken: str = ""


def scan(location: Location, tar: str) -> Scan:
    """Reads the headers of one tar. ArgumentError if it is compressed or no tar; StoreError if it cannot be read."""
    where = location.at(tar)
    found = Scan()
    try:
        with location.open(tar, BLOCK_BYTES) as file:
            length = file.seek(0, 2)
            if length == 0:
                found.broken = "it is empty"
                return found
            _check_kind(file, where)
            start, part = 0, 0
            while start < length:
                start = _archive(_Clamped(file, length), start, part, found)
                part += 1
    except ArgumentError:  # is a ValueError
        raise
    # tarfile lets errors of other types through for forged headers: numbers, names, and headers inside headers.
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        found.broken = str(error) or type(error).__name__
    except OSError as error:
        raise StoreError(f"the source {where} cannot be read: {said(error)}") from error
    return found


def _check_kind(file: IO[bytes], where: str) -> None:
    file.seek(0)
    head = file.read(8)
    for magic, name in COMPRESSED.items():
        if head.startswith(magic):
            raise ArgumentError(
                f"{where} is compressed ({name}): samples in it cannot be read one by one; unpack it to .tar first"
            )
    for magic, name in OTHERS.items():
        if head.startswith(magic):
            raise ArgumentError(f"{where} is {name}, not a tar: unpack it to a folder, or pack it as .tar")


class _Clamped:
    """A file that never reads beyond its end: a forged length in a header asks for no more memory than the file has."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file, self.length = file, length
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int) -> bytes:
        return self._file.read(max(0, min(count, self.length - self.tell())))


def _archive(file: _Clamped, start: int, part: int, found: Scan) -> int:
    """Reads the tar that begins at byte `start`; where the next one begins, or the length of the file.

    EOFError if the mark at its end is missing, or if what follows it is no tar.
    """
    file.seek(start)
    plain: dict[str, Header] = {}
    links: dict[str, str] = {}
    pending: list[tuple[Header, str]] = []
    try:
        for header, target in _members(file, part, found):
            pending.append((header, target))
            if target:
                links[header.name] = target
            elif not header.reason:
                plain[header.name] = header
    finally:
        found.headers += [_resolved(header, target, plain, links) for header, target in pending]
    at = end = file.tell()
    # tarfile takes the end of the file for the end of the archive: a cut between members would go unseen.
    mark = file.read(BLOCK)
    if len(mark) < BLOCK:
        raise EOFError("it has no mark at its end")
    if any(mark):
        raise EOFError(
            f"no valid header at byte {at}" if at > start or part == 0 else f"the bytes from {at} on are no tar"
        )
    found.ended = part + 1
    while block := file.read(BLOCK_BYTES):
        at = file.tell() - len(block)
        rest = block.lstrip(b"\0")
        if rest:
            behind = at + len(block) - len(rest)
            behind -= (behind - end) % BLOCK
            if file.length - behind < BLOCK:
                raise EOFError(f"{file.length - behind} bytes behind its end mark, from byte {behind} on, are no tar")
            return behind
    return file.length


def _members(file: _Clamped, part: int, found: Scan) -> Iterator[tuple[Header, str]]:
    """(header, the name that a link points to or "") of each member; leaves the file where the last one ends."""
    with tarfile.open(fileobj=file, mode="r:") as archive:  # type: ignore[call-overload]
        for member in archive:
            # tarfile keeps every header it has seen; a scan needs none of them again.
            archive.members = []
            if member.size < 0:
                raise EOFError(f"the length of {member.name} is negative")
            if member.isdir():
                continue
            header = Header(member.name, member.offset_data, member.size, member.mtime, part=part)
            if member.issym() or member.islnk():
                yield header, _target(member)
            elif not member.isreg():
                found.special += 1
            elif member.sparse is not None:
                yield _bad(header, "is a sparse member: its bytes are not stored as they are; write the tar anew"), ""
            elif member.offset_data + member.size > file.length:
                over = member.offset_data + member.size - file.length
                raise EOFError(f"it ends {over} bytes into {member.name}")
            else:
                yield header, ""
        file.seek(archive.offset)


def _bad(header: Header, reason: str) -> Header:
    return Header(header.name, header.start, 0, header.time, f"{header.name} {reason}", header.part)


def _target(member: tarfile.TarInfo) -> str:
    """The name that a link points to: of hard links a name of the tar, of others relative to the link's folder."""
    if member.islnk() or member.linkname.startswith("/"):
        return member.linkname
    parts: list[str] = member.name.split("/")[:-1]
    for piece in member.linkname.split("/"):
        if piece == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif piece not in ("", "."):
            parts.append(piece)
    return "/".join(parts)


def _resolved(header: Header, target: str, plain: dict[str, Header], links: dict[str, str]) -> Header:
    """A link as the file that it points to; other members as they are."""
    if not target:
        return header
    last = target
    for _ in range(MOST_LINKS):
        if last in plain:
            file = plain[last]
            return Header(header.name, file.start, file.length, file.time, "", header.part, link=True)
        if last not in links:
            return _bad(header, f"is a link to {last}, which is no file in this tar")
        last = links[last]
    return _bad(header, f"is a link to {target}, which is a link again, without an end")
