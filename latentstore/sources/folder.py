"""A folder of images or recordings, by path or URL. Its first level of subfolders are the classes.

Every file is an entry, whatever its name: its content decides what it is. Hidden files and folders, and files that
operating systems leave behind (`JUNK`), are left out and counted, as is what `Apart` knows. Links to folders are
followed.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote

import numpy as np

from latentstore.codecs.errors import ArgumentError, SignalError, StoreError
from latentstore.loaders.columns import Field
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location
from latentstore.sources.apart import Apart
from latentstore.sources.identity import hash_of
from latentstore.sources.item import MAX_FILE_BYTES, BadItem, Item, key_of, text_of, unique_keys

__all__ = ["HIDDEN", "FileItem", "left_out", "list_folder", "list_names"]

JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "$recycle.bin", "@eadir"}
# What entries are called that are no part of a data set.
HIDDEN = "hidden or system file"
# The class of files that lie beside the class folders.
NO_CLASS = -1
VERSION = "?versionId="
GONE = "it is gone: it was there when the source was listed"
# The names that file systems give to what changes with an object's content, best first.
STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


@dataclass(frozen=True)
class FileItem(Item):
    """One file of a folder."""

    location: Location | None = None
    name: str = ""

    def load(self) -> tuple[bytes | np.ndarray, dict[str, Field]]:
        assert self.location is not None
        if self.size_bytes is not None and self.size_bytes > MAX_FILE_BYTES:
            raise SignalError(f"{self.size_bytes} bytes; a file has at most {MAX_FILE_BYTES}")
        try:
            return self.location.read(self.name), self.fields
        except MissingError as error:
            raise SignalError(GONE) from error
        except StoreError as error:
            if self.location.local is None:
                raise
            raise SignalError(f"cannot be read: {_cause(error)}") from error

    def opened(self) -> BinaryIO:
        assert self.location is not None
        try:
            return self.location.open(self.name)
        except MissingError as error:
            raise SignalError(GONE) from error
        except StoreError as error:
            if self.location.local is None:
                raise
            raise SignalError(f"cannot be read: {_cause(error)}") from error

    def fingerprint(self) -> str:
        if not self.is_local:  # the stamps of object stores change with the content
            return ""
        try:
            with self.opened() as file:
                return hash_of(file)
        except OSError as error:
            raise SignalError(f"cannot be read: {error.strerror}") from error

    @property
    def is_local(self) -> bool:
        return self.location is not None and self.location.local is not None


@dataclass(frozen=True)
class Entry:
    """One file of a listing.

    name: relative to the folder, as people write it. reason: why it cannot be read, or "". at: the name as the file
    system takes it, where that is another.
    """

    name: str
    size_bytes: int | None
    stamp: str
    reason: str = ""
    at: str = ""


def list_folder(
    location: Location, without: Mapping[str, str] | None = None
) -> tuple[list[Item], tuple[str, ...] | None, dict[str, int]]:
    """List a folder: (items in order of their paths, classes or None, how many entries are passed over, by kind).

    without: names of files and folders in it that are no part of the source, see `Apart`. If there are class folders,
    items have the field ``label`` (int): the position of their folder in classes. StoreError if the folder cannot be
    listed, ArgumentError if it is a file.
    """
    found = list(list_names(location))
    apart = Apart(location, (e.name for e in found if e is not None), without or {})
    passed = Counter({HIDDEN: found.count(None)})
    entries = []
    for e in found:
        if e is None:
            continue
        kind = None if e.reason else apart.kind(e.name)
        if kind is None:
            entries.append(e)
        elif kind:
            passed[kind] += 1
    entries.sort(key=lambda entry: entry.name)
    keys = unique_keys((key_of(e.name), PurePosixPath(e.name).suffix[1:].lower()) for e in entries)
    folders = sorted({e.name.split("/", 1)[0] for e in entries if "/" in e.name})
    number = {folder: i for i, folder in enumerate(folders)}
    items: list[Item] = []
    for key, e in zip(keys, entries, strict=True):
        fields: dict[str, Field] = {}
        if folders:
            fields["label"] = number[e.name.split("/", 1)[0]] if "/" in e.name else NO_CLASS
        if e.reason:
            items.append(BadItem(key, e.name, e.size_bytes, e.stamp, fields, e.reason))
        else:
            items.append(FileItem(key, e.name, e.size_bytes, e.stamp, fields, location, e.at or e.name))
    return items, tuple(map(text_of, folders)) or None, dict(+passed)


def list_names(location: Location) -> Iterator[Entry | None]:
    """Every file below a folder, in any order, and None for each entry that is left out."""
    return _remote(location) if location.local is None else _local(location.local)


def left_out(name: str) -> bool:
    """Whether files and folders of that name are left out of a source."""
    return name.startswith(".") or name.lower() in JUNK


def _local(root: Path) -> Iterator[Entry | None]:
    if not root.exists():
        raise StoreError(f"the source {root} does not exist")
    if not root.is_dir():
        raise ArgumentError(f"the source {root} is a file; a source is a folder, tars, or a Zarr array")
    return _walk(root, "", [_identity(root.stat())])


def _walk(folder: Path, prefix: str, above: list[tuple[int, int]]) -> Iterator[Entry | None]:
    try:
        with os.scandir(folder) as scan:
            found = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        yield Entry(prefix.rstrip("/"), None, "", f"the folder cannot be listed: {error.strerror}")
        return
    for entry in found:
        name = prefix + entry.name
        if left_out(entry.name):
            yield None
            continue
        try:
            status = entry.stat()
        except OSError as error:
            reason = "a link to nothing" if entry.is_symlink() else f"cannot be read: {error.strerror}"
            yield Entry(name, None, "", reason)
            continue
        if stat.S_ISDIR(status.st_mode):
            identity = _identity(status)
            if identity in above:
                yield Entry(name, None, "", "a link to a folder that holds it")
            else:
                yield from _walk(folder / entry.name, name + "/", [*above, identity])
        elif stat.S_ISREG(status.st_mode):
            yield Entry(name, status.st_size, str(status.st_mtime_ns))
        else:
            yield Entry(name, None, "", "no regular file (a pipe, socket or device)")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _remote(location: Location) -> Iterator[Entry | None]:
    try:
        found = location.details()
    except MissingError:
        found = {}
    if not found:
        raise StoreError(f"the source {location.url} does not exist, or is empty")
    web = location.url.startswith(("http://", "https://"))
    for name, info in found.items():
        if web and "?" in name:  # links of a listing that sort it
            continue
        shown = unquote(name) if web else name
        if any(left_out(part) for part in shown.split("/")):
            yield None
        elif VERSION in name:
            reason = f"its name holds {VERSION!r}, which clients take for a version of an object: rename it"
            yield Entry(shown, info.get("size"), _stamp(info), reason)
        else:
            yield Entry(shown, info.get("size"), _stamp(info), at=name)


def _stamp(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in STAMPS if info.get(name)), "")


def _cause(error: StoreError) -> str:
    cause = error.__cause__
    return (cause.strerror or str(cause)) if isinstance(cause, OSError) else str(error)
