"""Folders by path or URL: reading, writing and listing what is in them.

A `Location` is a folder by any fsspec URL (a plain path, ``s3://bucket/prefix``, ``memory://x``, ...). Local files are
read and written through the operating system. Everything else goes through fsspec, concurrently where the file system
can, and failed requests are tried again (`loaders.remote.retry`). Names in a location are relative, with forward
slashes.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote.client import Client, MissingError
from latentstore.loaders.remote.filling import own_memory
from latentstore.loaders.remote.ranges import Range, check_length, merge_ranges, split_range
from latentstore.loaders.remote.retry import said
from latentstore.loaders.remote.stream import open_stream
from latentstore.loaders.remote.urls.place import is_marker, local_path, require_place

# Read at a time from a remote object that is opened as a file: a header is within the first block.
BLOCK_BYTES = 64 << 10
CREATE_TRIES = 10
REMOVE_TRIES = 100
# Objects of a remote folder that are removed side by side.
REMOVE_THREADS = 8
# Memory for a longer range is not taken before the object is known to have it: an index may claim anything.
MOST_UNASKED = 256 << 20
# A file that is written goes to the disk in parts of this size, while more of it comes.
AHEAD_BYTES = 2 << 20
# So many pieces of a file are given to the system at once; some systems take 1024 at most.
MOST_TOGETHER = 512

Result = TypeVar("Result")
Bytes = bytes | memoryview


class Location:
    """A folder, local or remote. It can be pickled: each process connects by itself, at the first request.

    url: a path or an fsspec URL. storage_options: for fsspec. temp: of a local folder, where files are written before
    they are renamed into place; it must be on the same disk, and by default it is the file's own folder.

    Its methods raise MissingError for what is not there, and StoreError for what cannot be read or written. Both name
    the URL.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        storage_options: dict[str, Any] | None = None,
        temp: str | None = None,
    ) -> None:
        self.url = os.fspath(url).rstrip("/") or "/"
        self.storage_options = dict(storage_options or {})
        self._temp = temp
        require_place(self.url, os.fspath(url))
        self.local = local_path(self.url)
        self._client = Client(self.url, self.storage_options)

    def __getstate__(self) -> dict[str, Any]:
        own = {"url": self.url, "storage_options": self.storage_options}
        return {**own, "temp": self._temp, "local": self.local}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"], state["storage_options"], state["temp"])  # type: ignore[misc]
        self.local = state["local"]

    def __repr__(self) -> str:
        return f"Location({self.url!r})"

    def at(self, name: str = "") -> str:
        """The URL of `name`, for messages."""
        return f"{self.url}/{name}" if name else self.url

    def path(self, name: str = "") -> Path:
        """The file `name` of a local location."""
        if self.local is None:
            raise StoreError(f"{self.at(name)} is not a local file")
        return self.local / name if name else self.local

    # ---- a cache in between (`loaders.cache`)

    @property
    def origin(self) -> Location:
        """This folder itself, without a cache."""
        return self

    def forget(self, name: str) -> None:
        """What was read of the object `name` is damaged: it is read from the folder itself next time."""

    # ---- reading

    def read(self, name: str) -> bytes:
        """All bytes of the object `name`."""
        return self.read_ranges([(name, 0, None)])[0]

    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes of each range (name, start, end).

        An end of None is the end of the object; then a negative start counts from that end. Ranges of one object that
        are near each other are read as one, and object stores answer several requests at once. StoreError if an object
        ends before one of its ranges does.
        """
        if self.local is not None:
            return [self._read_local(*item) for item in ranges]
        merged, pieces = merge_ranges(ranges)
        blocks = self._client.ranges(merged)
        found = []
        for (name, start, end), (i, offset) in zip(ranges, pieces, strict=True):
            piece = blocks[i] if end is None else blocks[i][offset : offset + end - start]
            check_length(self.at(name), start, end, len(piece))
            found.append(piece)
        return found

    def read_parts(self, ranges: Sequence[tuple[str, int, int]]) -> list[Bytes]:
        """As `read_ranges`, for large ranges that lie apart: each is asked for in parts, all at once. Of a remote
        object, each is in memory of its own (`loaders.remote.filling`)."""
        if self.local is not None:
            return [self._read_local(*item) for item in ranges]
        parts: list[Range] = []
        places: list[memoryview] = []
        found: list[Bytes] = []
        ends = [0]
        for name, start, end in ranges:
            if end - start > MOST_UNASKED:
                there = min(self.size(name), end) - start
                check_length(self.at(name), start, end, max(0, there))
            memory = own_memory(end - start, self.at(name))
            own = split_range((name, start, end))
            parts += own
            places += [memory[a - start : b - start] for _, a, b in own]
            ends.append(len(parts))
            found.append(memory.toreadonly())
        came = self._client.fill(parts, places)
        for (name, start, end), (first, last) in zip(ranges, itertools.pairwise(ends), strict=True):
            check_length(self.at(name), start, end, sum(came[first:last]))
        return found

    def open(self, name: str, block_bytes: int = BLOCK_BYTES) -> BinaryIO:
        """The object `name` as a file to seek in and read from. The caller closes it.

        block_bytes: of a remote object, what is read at a time; no more of it is in memory.
        """
        if self.local is None:
            return open_stream(lambda a, b: self.read_ranges([(name, a, b)])[0], self.size(name), block_bytes)
        try:
            return self.path(name).open("rb")
        except OSError as error:
            raise self._missing_or(error, name) from error

    def map(self, name: str) -> np.ndarray:
        """uint8 (bytes,): a local file, mapped read-only, or all bytes of a remote object."""
        if self.local is None:
            return np.frombuffer(self.read(name), np.uint8)
        try:
            with self.path(name).open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    return np.zeros(0, np.uint8)
                return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except OSError as error:
            raise self._missing_or(error, name) from error

    def size(self, name: str) -> int:
        """Bytes of the object `name`."""
        if self.local is None:
            return self._client.size(name)
        try:
            return self.path(name).stat().st_size
        except OSError as error:
            raise self._missing_or(error, name) from error

    def exists(self, name: str = "") -> bool:
        """Whether there is an object, or a folder, of that name."""
        if self.local is not None:
            return self.path(name).exists()
        return self._client.exists(name)

    def list(self, name: str = "") -> dict[str, int]:
        """Sizes in bytes of all objects below the folder `name`, by their names in this location, in order."""
        return {path: int(info["size"]) for path, info in self.details(name).items()}

    def details(self, name: str = "") -> dict[str, dict[str, Any]]:
        """What the file system tells of each object that `list` finds: "size", and more that depends on it. Objects
        that only mark a folder, which consoles and mounts of object stores write, are not among them."""
        if self.local is not None:
            base = self.path()
            try:
                found = {p.relative_to(base).as_posix(): {"size": size} for p, size in _files_below(self.path(name))}
            except OSError as error:
                raise self._missing_or(error, name) from error
            return dict(sorted(found.items()))

        def find() -> dict[str, dict[str, Any]]:
            fs = self._client.fs
            fs.invalidate_cache()
            return dict(fs.find(self._client.at(name), detail=True))

        infos = self.retry(find, name)
        prefix = self._client.at("").rstrip("/") + "/"
        names = {path: path.removeprefix(prefix) for path in sorted(infos) if path.startswith(prefix)}
        return {name: infos[path] for path, name in names.items() if not is_marker(name)}

    def children(self) -> tuple[Sequence[str], Sequence[str]]:
        """(names of files, names of folders) directly in this folder, each sorted; MissingError if it is no folder."""
        if self.local is not None:
            try:
                with os.scandir(self.local) as scan:
                    found = [(entry.name, entry.is_dir()) for entry in scan]
            except OSError as error:
                raise self._missing_or(error, "") from error
        else:

            def ls() -> Any:
                fs = self._client.fs
                fs.invalidate_cache()
                return fs.ls(self._client.at(""), detail=True)

            own = self._client.at("").rstrip("/") + "/"
            infos = [(info["name"], info["type"] == "directory") for info in self.retry(ls, "")]
            infos = [(at, folder) for at, folder in infos if folder or not is_marker(at.removeprefix(own))]
            found = [(at.rstrip("/").rpartition("/")[2], folder) for at, folder in infos]
        return sorted(n for n, folder in found if not folder), sorted(n for n, folder in found if folder)

    # ---- writing

    def write(self, name: str, parts: Bytes | Iterable[Bytes]) -> None:
        """Write the object `name`. A reader finds all the new bytes, or what was there before, and never a part."""
        pieces: Iterable[Bytes] = [parts] if isinstance(parts, bytes | memoryview) else parts
        if self.local is None:
            data = b"".join(pieces)
            try:
                self.retry(lambda: self._client.fs.pipe_file(self._client.at(name), data), name)
            except MissingError as error:
                raise StoreError(f"{self.at(name)} could not be written: there is no such bucket") from error
            return
        target = self.path(name)
        temporary = (Path(self._temp) if self._temp else target.parent) / _temporary_name(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb", buffering=0) as file:
                    _write_through(file, pieces)
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreError(f"{target}: could not be written: {said(error)}") from error

    def create(self, name: str, data: bytes) -> bool:
        """Write the object `name` unless it exists. Returns whether this call wrote it.

        Of several processes that try at the same moment, one is told that it wrote it: on a disk, and on object stores
        that know conditional writes. Where there are none, several may be told so; `excludes` says which it was.
        """
        if self.local is None:
            return self._client.create(name, data)
        for left in reversed(range(CREATE_TRIES)):
            try:
                return _create_whole(self.path(name), data)
            except OSError as error:
                # Another process may remove the folder at this moment, because it was empty.
                if not (left and isinstance(error, FileNotFoundError)):
                    raise StoreError(f"{self.path(name)}: could not be written: {said(error)}") from error
        raise AssertionError

    @property
    def excludes(self) -> bool:
        """Whether `create`, when it last wrote an object, kept everybody else from writing it."""
        return self.local is not None or self._client.excludes

    def copy(self, names: Sequence[str], to: Location) -> None:
        """Copy objects to the same names in another location of the same object store, which does the copying."""
        sources, targets = [self._client.at(name) for name in names], [to._client.at(name) for name in names]
        self.retry(lambda: self._client.fs.copy(sources, targets, on_error="raise"), "")

    def move(self, name: str, to: Location, new_name: str) -> None:
        """Rename an object, also into another location of the same file system.

        An object store copies it and then removes it, so for a moment both names exist.
        """
        if self.local is not None:
            try:
                to.path(new_name).parent.mkdir(parents=True, exist_ok=True)
                self.path(name).replace(to.path(new_name))
            except OSError as error:
                raise self._missing_or(error, name) from error
            return
        self.retry(lambda: self._client.fs.cp_file(self._client.at(name), to._client.at(new_name)), name)
        self.remove(name)

    def remove(self, name: str = "") -> None:
        """Remove an object, or a folder with all it holds. Nothing happens if it is missing."""
        if self.local is not None:
            path = self.path(name)
            try:
                if path.is_dir() and not path.is_symlink():
                    _remove_folder(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"{path}: could not be removed: {said(error)}") from error
            return

        # `rm` of fsspec takes brackets, stars and question marks in a name for a pattern, and that of S3 says nothing
        # of objects that the server refuses to remove.
        def drop() -> None:
            fs = self._client.fs
            fs.invalidate_cache()
            paths = fs.find(self._client.at(name))
            with ThreadPoolExecutor(max(1, min(REMOVE_THREADS, len(paths)))) as pool:
                list(pool.map(_drop_one, itertools.repeat(fs), paths))

        with suppress(MissingError):  # not even the bucket is there
            self.retry(drop, name)

    def remove_objects(self, names: Iterable[str]) -> None:
        """Remove objects, none of which is a folder; at an object store side by side. What is missing is no error."""
        if self.local is not None:
            for name in names:
                self.remove(name)
            return

        def drop(name: str) -> None:
            self.retry(lambda: _drop_one(self._client.fs, self._client.at(name)), name)

        with ThreadPoolExecutor(REMOVE_THREADS) as pool:
            list(pool.map(drop, names))

    def prune(self) -> None:
        """Remove this folder if it is local and no file is in it. Another process may do the same at the same time."""
        if self.local is not None:
            for folder, _, _ in os.walk(self.local, topdown=False):  # passes over folders that are gone meanwhile
                with suppress(OSError):  # not empty
                    Path(folder).rmdir()

    # ---- requests

    def retry(self, action: Callable[[], Result], name: str = "") -> Result:
        """The result of action(), tried again while it fails in a way that may pass.

        name: of the object that it reads or writes, for messages.
        """
        return self._client.tried(action, name)

    def filesystem(self) -> tuple[Any, str]:
        """(fsspec file system, path of this folder in it). Its client makes one attempt: call it through `retry`."""
        return self._client.fs, self._client.prefix

    # ---- local files

    def _missing_or(self, error: OSError, name: str) -> StoreError:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return MissingError(f"{self.at(name)} is missing")
        return StoreError(f"{self.at(name)}: {said(error)}")

    def _read_local(self, name: str, start: int, end: int | None) -> bytes:
        try:
            with self.path(name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if start < 0:
                    start = max(0, size + start)
                file.seek(start)
                # never more than there is: reading takes the memory first
                data = file.read() if end is None else file.read(max(0, min(end, size) - start))
        except OSError as error:
            raise self._missing_or(error, name) from error
        check_length(self.at(name), start, end, len(data))
        return data


def _temporary_name(target: Path) -> str:
    return f".{target.name}.{os.getpid()}.{threading.get_ident()}.{time.monotonic_ns()}.tmp"


def _write_through(file: FileIO, pieces: Iterable[Bytes]) -> None:
    """Write all pieces, and return once they are on the disk. The disk begins with the first ones at once."""
    begun = 0
    for batch in _batches(pieces):
        size = _write_batch(file, batch)
        if hasattr(os, "posix_fadvise"):  # what is not on the disk yet is sent there, and nobody waits for it
            with suppress(OSError):  # the file system takes no advice
                os.posix_fadvise(file.fileno(), begun, size, os.POSIX_FADV_DONTNEED)
        begun += size
    os.fsync(file.fileno())


def _batches(pieces: Iterable[Bytes]) -> Iterator[list[Bytes]]:
    """As many pieces as are written at a time."""
    batch, size = list[Bytes](), 0
    for piece in pieces:
        batch.append(piece)
        size += memoryview(piece).nbytes
        if size >= AHEAD_BYTES or len(batch) >= MOST_TOGETHER:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write_batch(file: FileIO, batch: Sequence[Bytes]) -> int:
    """Write pieces in one call of the system, and return their bytes."""
    size = sum(memoryview(piece).nbytes for piece in batch)
    written = os.writev(file.fileno(), batch) if hasattr(os, "writev") else 0
    if written < size:  # there is no such call, or it did a part: a disk that is nearly full says so at the next one
        rest = memoryview(b"".join(batch))[written:]
        while rest:
            rest = rest[file.write(rest) :]
    return size


def _create_whole(target: Path, data: bytes) -> bool:
    """Write a file that nobody else has written. Nobody ever sees a part of it."""
    temporary = target.parent / _temporary_name(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_bytes(data)
        _link_new(temporary, target)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _link_new(source: Path, target: Path) -> None:
    """Give the file a second name; FileExistsError if that is taken."""
    try:
        os.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # a file system without second names
        with target.open("xb") as file:
            file.write(source.read_bytes())


def _drop_one(fs: Any, path: str) -> None:
    with suppress(FileNotFoundError):
        fs.rm_file(path)


def _files_below(folder: Path) -> Iterator[tuple[Path, int]]:
    """(file, bytes) of all files below a folder. What another process renames or removes meanwhile is passed over."""

    def raise_unless_gone(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for at, _, names in os.walk(folder, onerror=raise_unless_gone):
        for name in names:
            path = Path(at, name)
            with suppress(FileNotFoundError, NotADirectoryError):
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    yield path, status.st_size


def _remove_folder(path: Path) -> None:
    """Remove a folder with all it holds, where a lock may be renewed in it, or another process remove it, meanwhile."""
    for left in reversed(range(REMOVE_TRIES)):
        try:
            shutil.rmtree(path)
            return
        except OSError as error:
            if error.errno == errno.ENOENT and not path.exists():
                return
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY) or not left:
                raise
