"""Where bytes are: URLs, byte ranges, retries, atomic writes. The one place that knows them.

A `Location` is a folder by any fsspec URL (a plain path, ``s3://bucket/prefix``, ``memory://x``, ...). Local
files are read and written by the operating system directly; everything else through fsspec, concurrently
where the file system can, and retried. Names inside a location are relative, with forward slashes.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from latentstore.codecs.errors import StoreError

ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.1
# Two ranges this near are fetched as one: at 100 MB/s and 5 ms a request, reading over half a megabyte costs
# no more than a second request.
MERGE_GAP_BYTES = 512 << 10
# Fetched at a time from an object that is read in pieces: a header is within the first.
PIECE_BYTES = 64 << 10

_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_LASTING_ERRNO = {errno.EINVAL, errno.ENOSPC, errno.EROFS, errno.ENAMETOOLONG, errno.EPERM, errno.EDQUOT}

Result = TypeVar("Result")
Bytes = bytes | memoryview


class Location:
    """A folder, local or remote. Pickles (its file system is opened again, in each process, when first used).

    temp: for local folders, where files are written before they are renamed into place (same disk; default:
    beside the file).
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
        self.local = _local_path(self.url)
        self._fs: Any = None
        self._fs_pid = -1
        self._prefix = ""

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "storage_options": self.storage_options, "temp": self._temp}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"], state["storage_options"], state["temp"])  # type: ignore[misc]

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

    # ---- reading

    def read(self, name: str) -> bytes:
        """The whole object `name`; StoreError naming it if it is missing."""
        return self.read_ranges([(name, 0, None)])[0]

    def opened(self, name: str) -> BinaryIO:
        """The object `name`, to read pieces of: OSError where that fails. The caller closes it."""
        if self.local is not None:
            return self.path(name).open("rb")
        file: BinaryIO = self._filesystem().open(self._at(name), "rb", block_size=PIECE_BYTES)
        return file

    def read_ranges(self, ranges: Sequence[tuple[str, int, int | None]]) -> list[bytes]:
        """The bytes of each (name, start, end); end None is the end; start < 0 with end None counts from the
        end.

        Near ranges of one object are read as one; object stores are read concurrently. A range past the end
        of its object is a StoreError.
        """
        if self.local is not None:
            return [self._read_local(*item) for item in ranges]
        whole, pieces = merge_ranges(ranges)
        paths = [self._at(name) for name, _, _ in whole]
        starts = [start for _, start, _ in whole]
        ends = [end for _, _, end in whole]
        got: list[bytes | None] = [None] * len(whole)
        left = list(range(len(whole)))
        for attempt in range(ATTEMPTS):
            fs = self._filesystem()
            results = fs.cat_ranges(
                [paths[i] for i in left],
                [starts[i] for i in left],
                [ends[i] for i in left],
                on_error="return",
            )
            failed, error = [], None
            for i, result in zip(left, results, strict=True):
                if isinstance(result, BaseException):
                    self._raise_if_lasting(result, whole[i][0])
                    failed.append(i)
                    error = result
                else:
                    got[i] = result
            if not failed:
                break
            left = failed
            if attempt + 1 == ATTEMPTS:
                name = whole[failed[0]][0]
                raise StoreError(f"{self.at(name)}: still failing after {ATTEMPTS} attempts: {_said(error)}") from error
            time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        out = []
        for (name, start, end), (i, offset) in zip(ranges, pieces, strict=True):
            block = got[i]
            assert block is not None
            piece = block if end is None else block[offset : offset + end - start]
            _check_length(self.at(name), start, end, len(piece))
            out.append(piece)
        return out

    def map(self, name: str) -> np.ndarray:
        """uint8 (bytes,): a local file mapped read-only, or a remote one read whole."""
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
            return int(self._retry(lambda fs: fs.info(self._at(name))["size"], name))
        try:
            return self.path(name).stat().st_size
        except OSError as error:
            raise self._missing_or(error, name) from error

    def exists(self, name: str = "") -> bool:
        """Whether there is an object (or, locally, a folder) of that name."""
        if self.local is not None:
            return self.path(name).exists()
        return bool(self._retry(lambda fs: fs.exists(self._at(name)), name))

    def list(self, name: str = "") -> dict[str, int]:
        """Names and sizes of all objects below the folder `name`, names relative to this location, sorted."""
        if self.local is not None:
            base = self.path()
            found = {
                p.relative_to(base).as_posix(): p.stat().st_size for p in self.path(name).rglob("*") if p.is_file()
            }
            return dict(sorted(found.items()))
        base_path = self._at("").rstrip("/") + "/"

        def find(fs: Any) -> dict[str, dict[str, Any]]:
            fs.invalidate_cache()
            return dict(fs.find(self._at(name), detail=True))

        sizes = {path: int(info["size"]) for path, info in self._retry(find, name).items()}
        return {p.removeprefix(base_path): n for p, n in sorted(sizes.items()) if p.startswith(base_path)}

    # ---- writing

    def write(self, name: str, parts: Bytes | Iterable[Bytes]) -> None:
        """Write the object `name` whole: afterwards it is there with all its bytes, or as it was before."""
        pieces: Iterable[Bytes] = [parts] if isinstance(parts, bytes | memoryview) else parts
        if self.local is None:
            data = b"".join(pieces)
            self._retry(lambda fs: fs.pipe_file(self._at(name), data), name)
            return
        target = self.path(name)
        folder = Path(self._temp) if self._temp else target.parent
        temporary = folder / f".{target.name}.{os.getpid()}.{time.monotonic_ns()}.tmp"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    file.writelines(pieces)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreError(f"{target}: could not be written: {_said(error)}") from error

    def create(self, name: str, data: bytes) -> bool:
        """Write the object `name` if there is none of that name; whether this call did.

        Object stores have no such thing in common: there, of two that try at the same moment, both may be
        told that they did.
        """
        if self.local is None:
            if self.exists(name):
                return False
            self.write(name, data)
            return self.read(name) == data
        target = self.path(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        except OSError as error:
            raise StoreError(f"{target}: could not be written: {_said(error)}") from error
        return True

    def copy(self, names: Sequence[str], to: Location) -> None:
        """Copy objects to the same names in another location of the same object store, by the store
        itself."""
        sources, targets = [self._at(name) for name in names], [to._at(name) for name in names]
        self._retry(lambda fs: fs.copy(sources, targets, on_error="raise"), "")

    def move(self, name: str, to: Location, new_name: str) -> None:
        """Rename an object, also into another location of the same file system.

        On object stores a copy, then a removal.
        """
        if self.local is not None:
            try:
                to.path(new_name).parent.mkdir(parents=True, exist_ok=True)
                self.path(name).replace(to.path(new_name))
            except OSError as error:
                raise self._missing_or(error, name) from error
            return
        self._retry(lambda fs: fs.cp_file(self._at(name), to._at(new_name)), name)
        self.remove(name)

    def remove(self, name: str = "") -> None:
        """Remove an object or a folder with all it holds; nothing happens if it is missing."""
        if self.local is not None:
            path = self.path(name)
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"{path}: could not be removed: {_said(error)}") from error
            return

        def drop(fs: Any) -> None:
            fs.invalidate_cache()
            if fs.exists(self._at(name)):
                fs.rm(self._at(name), recursive=True)

        self._retry(drop, name)

    # ---- file systems

    def _filesystem(self) -> Any:
        # A client must not cross a fork: its event loop lives in a thread of the parent.
        if self._fs is None or self._fs_pid != os.getpid():
            import fsspec

            try:
                self._fs, self._prefix = fsspec.core.url_to_fs(self.url, **self.storage_options)
            except ImportError as error:
                raise StoreError(f"{self.url}: {error} (pip install 'latentstore[s3]' or 'latentstore[gs]')") from error
            except ValueError as error:
                raise StoreError(f"{self.url}: not a location that can be opened: {error}") from error
            self._fs_pid = os.getpid()
        return self._fs

    def _at(self, name: str) -> str:
        self._filesystem()
        return f"{self._prefix.rstrip('/')}/{name}" if name else self._prefix

    def _retry(self, action: Callable[[Any], Result], name: str) -> Result:
        for attempt in range(ATTEMPTS):
            try:
                return action(self._filesystem())
            except Exception as error:  # what a file system raises differs by backend; lasting ones go up at once
                self._raise_if_lasting(error, name)
                if attempt + 1 == ATTEMPTS:
                    raise StoreError(
                        f"{self.at(name)}: still failing after {ATTEMPTS} attempts: {_said(error)}"
                    ) from error
            time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        raise AssertionError("unreachable")

    def _raise_if_lasting(self, error: BaseException, name: str) -> None:
        if is_transient(error):
            return
        if isinstance(error, OSError):
            raise self._missing_or(error, name) from error
        raise error

    def _missing_or(self, error: OSError, name: str) -> StoreError:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return MissingError(f"{self.at(name)} is missing")
        return StoreError(f"{self.at(name)}: {_said(error)}")

    def _read_local(self, name: str, start: int, end: int | None) -> bytes:
        try:
            with self.path(name).open("rb") as file:
                if start < 0:
                    start = max(0, os.fstat(file.fileno()).st_size + start)
                file.seek(start)
                data = file.read() if end is None else file.read(end - start)
        except OSError as error:
            raise self._missing_or(error, name) from error
        _check_length(self.at(name), start, end, len(data))
        return data


class MissingError(StoreError):
    """An object of a store is not there."""


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help: time-outs, connections, overloaded servers; not missing files or
    rights."""
    if isinstance(error, _LASTING):
        return False
    if isinstance(error, OSError):  # s3fs and gcsfs turn a server's codes into errno; ConnectionError is here too
        return error.errno not in _LASTING_ERRNO
    return type(error).__module__.split(".")[0] in ("aiohttp", "asyncio", "botocore", "urllib3", "requests")


def merge_ranges(
    ranges: Sequence[tuple[str, int, int | None]], gap: int = MERGE_GAP_BYTES
) -> tuple[list[tuple[str, int, int | None]], list[tuple[int, int]]]:
    """Fewer, larger ranges that cover `ranges`, and for each of `ranges` its (merged range, offset in it).

    Ranges with an open end or counted from the end stay alone.
    """
    order = sorted(range(len(ranges)), key=lambda i: (ranges[i][0], ranges[i][1]))
    merged: list[tuple[str, int, int | None]] = []
    pieces: list[tuple[int, int]] = [(0, 0)] * len(ranges)
    for i in order:
        name, start, end = ranges[i]
        if merged and end is not None and start >= 0:
            last_name, last_start, last_end = merged[-1]
            if last_name == name and last_start >= 0 and last_end is not None and start - last_end <= gap:
                merged[-1] = (name, last_start, max(last_end, end))
                pieces[i] = (len(merged) - 1, start - last_start)
                continue
        merged.append((name, start, end))
        pieces[i] = (len(merged) - 1, 0)
    return merged, pieces


def _check_length(url: str, start: int, end: int | None, got: int) -> None:
    if end is not None and got != end - start:
        raise StoreError(f"{url} is cut short: bytes {start} to {end} asked for, {got} of them there")


def _local_path(url: str) -> Path | None:
    if "://" not in url and "::" not in url:
        return Path(url).expanduser()
    if url.startswith(("file://", "local://")):
        return Path(url.split("://", 1)[1])
    return None


def _said(error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
