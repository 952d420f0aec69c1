"""The folder of the cache: what is found there, what is put there, and what has to go.

    FOLDER/STORE/OBJECT@BEGIN-END       an entry (`loaders.cache.entry`); STORE: the digest of the store's manifest
    FOLDER/STORE/.*.tmp                 an entry that is being written; it gets its name when it is whole
    FOLDER/size                         bytes that all entries have together, as far as is known
    FOLDER/lock                         held by whoever makes room

Many processes use one folder. Whoever wants to write an entry takes the lock, makes room, and puts an empty file of the
entry's size in place, so that the others count it. The entries whose time is the oldest go first; each use renews the
time. Readers take no lock: a file that is removed while it is open stays readable, and one that has gone is read from
the store again.

A cache must never stop a training. What cannot be written is told of once, and reading goes on without it.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentstore.loaders.cache.entry import HEAD_BYTES, head_of, object_prefix, read_entry
from latentstore.loaders.cache.lock import locked
from latentstore.loaders.remote.retry import said

LOCK_SECONDS = 5.0
# When room is made, one part of so many is made free beyond what is needed: each time, all entries are looked at.
SPARE = 20
# A file that is being written and has not changed for so long is that of a process that was killed.
STALE_SECONDS = 3600.0

_STORE = re.compile(r"[0-9a-f]{32}")
_numbers = itertools.count()
_logger = logging.getLogger("latentstore")


@dataclass(frozen=True)
class Usage:
    """What the cache holds. stores: how many different ones. entries: files. bytes: of all of them, heads included."""

    stores: int
    entries: int
    bytes: int


@dataclass(frozen=True)
class _File:
    path: Path
    bytes: int
    time: float
    writing: bool


class CacheFolder:
    """Entries of many stores, of `most_bytes` together. Thread-safe; any number of processes; it can be pickled."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self.path, self.most_bytes = path, most_bytes
        self._off = False

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "most_bytes": self.most_bytes}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def get(self, store: str, name: str, apart: bool = False) -> Any:
        """The bytes of an entry, or None if it is not there. A damaged one is removed. apart: see `read_entry`."""
        path = self.path / store / name
        try:
            data = read_entry(path, apart)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell("read", error)
            return None
        with suppress(OSError):  # a folder that cannot be written
            if data is None:
                path.unlink()
            else:
                os.utime(path)
        return data

    def put(self, store: str, name: str, data: bytes | memoryview) -> None:
        """Keep an entry. Nothing happens if it is larger than the cache, or if the folder cannot be written."""
        if self._off or len(data) + HEAD_BYTES > self.most_bytes:
            return
        temporary = self.path / store / f".{os.getpid()}.{threading.get_ident()}.{next(_numbers)}.tmp"
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            if self._reserve(temporary, len(data) + HEAD_BYTES):
                with temporary.open("r+b") as file:
                    file.write(head_of(data))
                    file.write(data)
                temporary.replace(self.path / store / name)
        except FileNotFoundError:  # somebody has cleared the cache at this moment
            pass
        except OSError as error:
            self._off = True
            self._tell("written", error)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def forget(self, store: str, object_name: str) -> None:
        """Remove all entries of an object."""
        prefix = object_prefix(object_name)
        with suppress(OSError):
            for entry in os.scandir(self.path / store):
                if entry.name.startswith(prefix):
                    Path(entry.path).unlink(missing_ok=True)

    def usage(self) -> Usage:
        """What is there now."""
        files = [file for file in self._files() if not file.writing]
        return Usage(len({file.path.parent for file in files}), len(files), sum(file.bytes for file in files))

    def clear(self) -> Usage:
        """Remove everything, whoever uses it. Returns what there was. OSError if it cannot be removed."""
        there = self.usage()
        for file in list(self._files()):
            file.path.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            for folder in list(self._stores()):
                with suppress(OSError):  # somebody has put something there
                    folder.rmdir()
        (self.path / "size").unlink(missing_ok=True)
        return there

    # ---- room

    def _reserve(self, temporary: Path, size: int) -> bool:
        """Whether there is room for `size` more bytes. If so, `temporary` is a file of so many, and takes the room."""
        with locked(self.path / "lock", LOCK_SECONDS) as held:
            if not held:
                return False
            known = self._known()
            if known is None or known + size > self.most_bytes:
                known = self._make_room(size)
            if known + size > self.most_bytes:
                return False
            with temporary.open("xb") as file:
                file.truncate(size)
            (self.path / "size").write_text(f"{known + size}\n")
        return True

    def _known(self) -> int | None:
        """What all entries have together, or None. It may say too much: some may have gone since."""
        try:
            return int((self.path / "size").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _make_room(self, size: int) -> int:
        """Remove the entries that were not used for longest, until `size` bytes fit. Returns what is left, in bytes."""
        files = self._settled()
        total = sum(file.bytes for file in files)
        if total + size <= self.most_bytes:
            return total
        now = time.time()
        for file in sorted(files, key=lambda file: file.time):
            if total + size <= self.most_bytes - self.most_bytes // SPARE:
                break
            if not file.writing or now - file.time > STALE_SECONDS:
                file.path.unlink(missing_ok=True)
                total -= file.bytes
        return total

    def _settled(self) -> list[_File]:
        """All files, for whoever has the lock. One that gets its name while they are listed is found by neither name,
        so they are listed again; without the lock no others are begun meanwhile."""
        while True:
            named: list[str] = []
            files = list(self._files(named))
            if not named:
                return files

    def _stores(self) -> Iterator[Path]:
        with os.scandir(self.path) as found:
            for entry in found:
                if _STORE.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)

    def _files(self, named: list[str] | None = None) -> Iterator[_File]:
        """All files. named: gets those that were being written and are not any more when they are asked for."""
        with suppress(FileNotFoundError):
            for folder in self._stores():
                with suppress(FileNotFoundError), os.scandir(folder) as found:
                    for entry in found:
                        writing = entry.name.startswith(".")
                        try:
                            stat = entry.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            if writing and named is not None:
                                named.append(entry.name)
                            continue
                        yield _File(Path(entry.path), stat.st_size, stat.st_mtime, writing)

    def _tell(self, what: str, error: OSError) -> None:
        if self.path not in _told:
            _told.add(self.path)
            _logger.warning("the cache %s cannot be %s (%s): reading goes on without it", self.path, what, said(error))


_told: set[Path] = set()
