"""Requests to one folder by its URL: the fsspec file system, the retries around it, and what its errors mean."""

from __future__ import annotations

import errno
import inspect
import os
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.loaders.remote.filling import fill
from latentstore.loaders.remote.ranges import Range
from latentstore.loaders.remote.retry import (
    TELL_AT_ATTEMPT,
    Attempts,
    code_of,
    is_of_client,
    is_refused,
    is_transient,
    make_single_attempt,
    said,
    single_attempt_options,
    status_of,
)
from latentstore.loaders.remote.waiting import waits

Result = TypeVar("Result")

# Answers to a conditional write: the object is there; the server does not know such writes.
_EXISTS = 412
_NO_SUCH_RANGE = 416
_NO_CONDITIONS = {400, 405, 501}


# A client that is younger has the credentials of now: asking again would only take time.
RENEW_AFTER_SECONDS = 60.0
_CREDENTIALS = {"key", "secret", "token", "anon", "session", "connection_string", "account_key", "sas_token"}


class MissingError(StoreError):
    """An object, or a folder, that is not there."""


class ServerError(StoreError):
    """A server that does not answer, or refuses. It says nothing of the object that was asked for."""


class RefusedError(ServerError):
    """A server that refuses by the status 403. Where nobody may list a bucket, it does so for all that is not there."""


class UnansweredError(ServerError):
    """A server that does not answer, however often it is asked."""


class Client:
    """What a `Location` asks of a remote folder. Each process connects by itself, at the first request.

    Its methods raise MissingError for what is not there, and StoreError for what fails. Both name the URL.

    excludes: after `create` has written an object, whether this file system kept everybody else from writing it.
    """

    def __init__(self, url: str, storage_options: dict[str, Any]) -> None:
        self.url, self.storage_options = url, storage_options
        self.excludes = False
        self._fs: Any = None
        self._fs_pid = -1
        self._since, self._renewed = 0.0, False
        self._prefix = ""

    @property
    def fs(self) -> Any:
        """The file system. It makes one attempt, so it is called through `tried`."""
        # A client must not cross a fork: its event loop lives in a thread of the parent.
        if self._fs is None or self._fs_pid != os.getpid():
            import fsspec

            options = single_attempt_options(self.url, self.storage_options)
            if self._renewed:  # else fsspec gives the old one
                options["skip_instance_cache"] = True
            try:
                fs, self._prefix = fsspec.core.url_to_fs(self.url, **options)
            except ImportError as error:
                raise StoreError(f"{self.url}: {error} (pip install 'latentstore[s3]' or 'latentstore[gs]')") from error
            except ValueError as error:
                raise StoreError(f"{self.url}: not a location that can be opened: {error}") from error
            make_single_attempt(fs)
            self._fs, self._fs_pid, self._since = fs, os.getpid(), monotonic()
        return self._fs

    def _renew(self, error: BaseException) -> bool:
        """Whether another attempt may help because the credentials are looked up again: in files and variables that
        somebody may have renewed since. Those that the caller has given are what they are."""
        if self._fs is None or self.storage_options.keys() & _CREDENTIALS or not is_refused(error):
            return False
        if monotonic() - self._since < RENEW_AFTER_SECONDS:
            return False
        self._fs, self._renewed = None, True
        return True

    def at(self, name: str = "") -> str:
        """The path of `name` in the file system."""
        return f"{self.prefix.rstrip('/')}/{name}" if name else self.prefix

    @property
    def prefix(self) -> str:
        """The path of the folder in the file system."""
        assert self.fs is not None
        return self._prefix

    def tried(self, action: Callable[[], Result], name: str = "") -> Result:
        """The result of action(), tried again while it fails in a way that may pass.

        name: of the object that it reads or writes, for messages.
        """
        assert self.fs is not None  # it is imported now, which may take seconds
        attempts = Attempts()
        with waits.named(self.url, self._url(name)):
            while True:
                try:
                    return action()
                except Exception as error:  # what a file system raises differs by its client
                    if not self._again(attempts, _true_reason(error), name):
                        raise

    def ranges(self, ranges: Sequence[Range]) -> Sequence[bytes]:
        """The bytes of ranges, all requested at once. Only those that failed are requested again."""
        paths = [self.at(name) for name, _, _ in ranges]
        got = [b""] * len(ranges)

        def ask(left: list[int]) -> list[Any]:
            results: list[Any] = self.fs.cat_ranges(
                [paths[i] for i in left],
                [ranges[i][1] for i in left],
                [ranges[i][2] for i in left],
                on_error="return",
            )
            for number, i in enumerate(left):
                if _is_empty(ranges[i], results[number]):
                    results[number] = b""
            return results  # the list of the file system itself: see `_again`

        def take(i: int, data: bytes) -> None:
            self._check_is_range(ranges[i], len(data))
            got[i] = data

        self._until_all_came(ranges, ask, take)
        return got

    def fill(self, ranges: Sequence[Range], places: Sequence[memoryview]) -> list[int]:
        """As `ranges`, into `places`, each as long as its range. Returns how many bytes came of each: fewer where an
        object ends before."""
        paths = [self.at(name) for name, _, _ in ranges]
        got = [0] * len(ranges)

        def ask(left: list[int]) -> list[Any]:
            return fill(self.fs, [paths[i] for i in left], [ranges[i][1] for i in left], [places[i] for i in left])

        def take(i: int, count: int) -> None:
            self._check_is_range(ranges[i], count)
            got[i] = count

        self._until_all_came(ranges, ask, take)
        return got

    def _until_all_came(
        self, ranges: Sequence[Range], ask: Callable[[list[int]], list[Any]], take: Callable[[int, Any], None]
    ) -> None:
        """Ask for ranges by their numbers, and again for those that failed. ask: gives what came, or the error. take:
        is called with what came of each."""
        left = list(range(len(ranges)))
        attempts = Attempts()
        with waits.named(self.url, self._url(ranges[0][0] if ranges else "")):
            while left:
                try:
                    results = ask(left)
                except Exception as error:  # a file system in front of another one fails for all ranges together
                    if not self._again(attempts, _true_reason(error), ranges[left[0]][0]):
                        raise
                    continue
                failed = {i: result for i, result in zip(left, results, strict=True) if isinstance(result, Exception)}
                for i, data in zip(left, results, strict=True):
                    if i not in failed:
                        take(i, data)
                left = list(failed)
                data = None
                results.clear()  # see `_again`
                try:
                    self._go_on(attempts, failed, ranges)
                finally:
                    failed.clear()

    def size(self, name: str) -> int:
        """Bytes of an object."""
        size = self.tried(lambda: self.fs.info(self.at(name))["size"], name)
        if size is None:
            raise StoreError(
                f"{self._url(name)}: the server does not say how long it is, so it cannot be read in ranges: put the "
                "data on a server that does, or copy it to a disk"
            )
        return int(size)

    def exists(self, name: str) -> bool:
        """Whether there is an object, or a folder, of that name."""
        # Over HTTP every failure would mean that nothing is there.
        options = {"strict": True} if self.url.startswith(("http://", "https://")) else {}

        def look() -> bool:
            self.fs.invalidate_cache(self.at(name))  # a listing of a while ago does not know what is there now
            return bool(self.fs.exists(self.at(name), **options))

        return self.tried(look, name)

    def create(self, name: str, data: bytes) -> bool:
        """Write the object `name` unless it exists. Returns whether this call wrote it; see `excludes`."""
        wrote = self._write_new(name, data)
        if wrote is None:
            self.excludes = False
            if self.exists(name):
                return False
            self.tried(lambda: self.fs.pipe_file(self.at(name), data), name)
            return True
        if not wrote:
            # An attempt whose answer was lost may have been this one's own.
            try:
                return self.ranges([(name, 0, None)])[0] == data
            except MissingError:  # removed since
                return False
        # A server that does not know the condition ignores it.
        self.excludes = self._write_new(name, data) is False
        return True

    def _write_new(self, name: str, data: bytes) -> bool | None:
        """Whether a write on the condition that there is no such object was done; None if there are no such writes."""
        fs = self.fs
        if "mode" not in inspect.signature(getattr(fs, "_pipe_file", fs.pipe_file)).parameters:
            return None

        def write() -> bool | None:
            try:
                fs.pipe_file(self.at(name), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                status = status_of(error)
                if status == _EXISTS:
                    return False
                if status in _NO_CONDITIONS or error.errno == errno.ENOSYS:
                    return None
                raise
            return True

        return self.tried(write, name)

    def _check_is_range(self, item: Range, got: int) -> None:
        """StoreError if more came than was asked for: then it is the whole object, and begins at its first byte."""
        name, start, end = item
        most = -start if end is None and start < 0 else None if end is None else end - start
        if most is not None and got > most:
            raise StoreError(
                f"{self._url(name)}: {most} bytes were asked for, and {got} came: the server does not serve byte "
                "ranges; put the data on one that does, or copy it to a disk"
            )

    def _url(self, name: str) -> str:
        return f"{self.url}/{name}" if name else self.url

    def _go_on(self, attempts: Attempts, failed: dict[int, Exception], ranges: Sequence[Range]) -> None:
        """Return when the ranges that failed are to be asked for again; else raise what an error of one of them means,
        of one that will not pass if there is one."""
        errors = {i: _true_reason(error) for i, error in failed.items()}
        for i, error in sorted(errors.items(), key=lambda item: is_transient(item[1]))[:1]:
            if not self._again(attempts, error, ranges[i][0]):
                raise error

    # No exception stays in a variable of a function that it has come through: with its traceback it would keep alive
    # what all the callers have, until Python looks for circles. A lock is held as long as somebody has it.

    def _again(self, attempts: Attempts, error: BaseException, name: str) -> bool:
        """Returns True, after a pause, if there is to be another attempt. If not, raises what the error means; returns
        False if it is none of a server or its client."""
        if self._renew(error):
            return True
        if attempts.again(error, self._url(name)):
            if attempts.count >= TELL_AT_ATTEMPT:
                waits.told(self.url)
            return True
        if is_transient(error) or isinstance(error, OSError) or is_of_client(error):
            raise self._translated(error, name, attempts.count) from error
        # The client of S3 looks at its options when it connects, at the first request.
        if isinstance(error, TypeError | ValueError) and getattr(self._fs, "_s3", error) is None:
            raise ArgumentError(
                f"{self.url}: the client does not take the options of this place ({said(error)}): check "
                "storage_options, and the endpoint, which begins with http:// or https://"
            ) from error
        return False

    def _translated(self, error: BaseException, name: str, attempts: int) -> StoreError:
        url = self._url(name)
        if is_transient(error):
            return UnansweredError(f"{url}: still failing after {attempts} attempts: {said(error)}")
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return MissingError(f"{url} is missing")
        if is_refused(error):
            kind = RefusedError if status_of(error) == 403 else ServerError
            return kind(
                f"{url}: the server refuses it ({said(error)}): check that the credentials are those of this place, "
                "have the right, and have not expired"
            )
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
            return ServerError(
                f"{url}: there are no credentials for this place ({said(error)}): set them up as for other programs, "
                "or give them in storage_options, which are {'anon': True} for a place that everybody may read"
            )
        if status_of(error) == 400 or getattr(error, "errno", None) == errno.EINVAL:
            return ServerError(
                f"{url}: the server does not accept the request ({said(error)}), as it does when credentials have "
                "expired: check them, and the endpoint"
            )
        return StoreError(f"{url}: {said(error)}")


def _true_reason(error: BaseException) -> BaseException:
    """The error itself, or the one that a client of fsspec hides behind "file not found": that of HTTP when it asks for
    sizes, and that of S3 when it gives up an upload in parts, which the server may have completed."""
    cause = error.__cause__
    if code_of(cause) == "NoSuchUpload":
        return ConnectionError("an upload in parts failed")
    if isinstance(error, FileNotFoundError) and cause is not None and (is_transient(cause) or is_of_client(cause)):
        return error if status_of(cause) in (404, 410) else cause
    return error


def _is_empty(wanted: Range, result: Any) -> bool:
    """Whether a server has refused the range of a whole object because the object has no bytes."""
    return wanted[1:] == (0, None) and isinstance(result, Exception) and status_of(result) == _NO_SUCH_RANGE
