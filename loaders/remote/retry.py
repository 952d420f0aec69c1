"""The one retry policy: which errors are transient, how often an operation is tried, how long it may take.

Retries inside retries multiply: five of ours times five of botocore's made a user wait 40 seconds for one request to a
dead server, without a word. So the retries of the clients are turned off, and only `Attempts` tries again. It gives up
about 15 seconds after the first failure if attempts fail quickly. Of a server that accepts connections and never
answers, it gives up about 40 seconds after the beginning: three time-outs.

gcsfs is the exception: it tries six times by itself, within about 30 seconds, and has no option against that. The
HttpError that it raises then is not tried again.
"""

from __future__ import annotations

import errno
import logging
import random
from time import monotonic, sleep
from typing import Any

ATTEMPTS = 5
# Each pause is twice as long as the one before: 1 + 2 + 4 + 8 seconds. A server's restart or a burst of "slow down"
# is over by then.
FIRST_PAUSE_SECONDS = 1.0
# Each pause is longer or shorter by up to this share, so that the workers of a job do not all come back at once.
JITTER = 0.25
# No attempt begins later than this after the first failure. Counted from there, not from the beginning: a transfer
# of minutes that breaks off is worth a second try.
LAST_ATTEMPT_SECONDS = 25.0
# One failed attempt is everyday life on an object store. From this one on the user is told.
TELL_AT_ATTEMPT = 2

# Characters of a client's message.
MOST_SAID = 300

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 12

_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError, ValueError)
# s3fs turns the codes of a server into errno: 400 and 416 are EINVAL, 405 is EPERM, 501 is ENOSYS, 301 is EREMCHG.
_LASTING_ERRNO = {
    errno.EINVAL, errno.ENOSPC, errno.EROFS, errno.ENAMETOOLONG, errno.EPERM, errno.EDQUOT, errno.ENOSYS,
    errno.ENOTEMPTY, errno.EMSGSIZE, getattr(errno, "EREMCHG", errno.ENOENT),
}  # fmt: skip
# Errors of clients that are no OSError: the package, and the classes (with their subclasses) that may pass. They
# are named, not imported: none of these packages need be installed.
_TRANSIENT_CLASSES = {
    "aiohttp": {"ClientConnectionError", "ClientPayloadError"},
    "botocore": {
        "ConnectionError", "HTTPClientError", "IncompleteReadError", "ResponseParserError", "CredentialRetrievalError",
        "MetadataRetrievalError",
    },
    "http": {"HTTPException"},
    "urllib3": {"HTTPError"},
}  # fmt: skip
_CLIENTS = {"aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "requests", "s3fs", "urllib3"}
_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}

# Not the `random` module's own state: reading a store must not change what a seeded training draws.
_random = random.SystemRandom()
_logger = logging.getLogger("latentstore")


class Attempts:
    """The attempts of one operation. count: how many have failed."""

    def __init__(self) -> None:
        self.count = 0
        self._first_failure = 0.0

    def again(self, error: BaseException, url: str) -> bool:
        """Take note of a failed attempt. Returns True, after a pause, if there is to be another one.

        url: for the line of the logger "latentstore" that tells the user, once, at the second failure.
        """
        self.count += 1
        if not is_transient(error):
            return False
        now = monotonic()
        if self.count == 1:
            self._first_failure = now
        pause = FIRST_PAUSE_SECONDS * 2 ** (self.count - 1) * _random.uniform(1 - JITTER, 1 + JITTER)
        if self.count == ATTEMPTS or now + pause - self._first_failure > LAST_ATTEMPT_SECONDS:
            return False
        if self.count == TELL_AT_ATTEMPT:
            _logger.warning(
                "%s: attempt %d of %d failed (%s); it is tried again for up to %.0f seconds",
                url, self.count, ATTEMPTS, said(error), LAST_ATTEMPT_SECONDS,
            )  # fmt: skip
        sleep(pause)
        return True


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may help: after a time-out, a broken connection, an overloaded server.

    Not after a missing file, a missing right, or a request that the server does not understand.
    """
    status = _status(error)
    if status is not None:
        return status in _TRANSIENT_STATUS
    if isinstance(error, _LASTING):
        return False
    if isinstance(error, OSError):  # ConnectionError and TimeoutError are OSErrors too
        return error.errno not in _LASTING_ERRNO
    classes = _TRANSIENT_CLASSES.get(_package(error), set())
    return any(base.__name__ in classes for base in type(error).__mro__)


def is_of_client(error: BaseException) -> bool:
    """Whether an error that is no OSError comes from a client of an object store, such as missing credentials."""
    return _package(error) in _CLIENTS


def is_refused(error: BaseException) -> bool:
    """Whether a server has refused: the credentials are wrong, have expired, or lack a right."""
    return isinstance(error, PermissionError) or status_of(error) in (401, 403)


def said(error: BaseException) -> str:
    """What an error says, in one line, without Python's numbers of errors."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    status, message = _status(error), getattr(error, "message", None)
    if status is not None and message:  # aiohttp
        return f"{status} {message}"
    text = " ".join(str(error).split())  # clients have messages of several lines
    return f"{type(error).__name__}: {text[:MOST_SAID]}" if text else type(error).__name__


def single_attempt_options(url: str, storage_options: dict[str, Any]) -> dict[str, Any]:
    """Storage options with which the client of `url` makes one attempt, within time-outs; the caller's come first."""
    if url.startswith(("http://", "https://")):
        return _http_options(storage_options)
    if not url.startswith(("s3://", "s3a://")):
        return dict(storage_options)
    config = {
        "retries": {"total_max_attempts": 1},
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "read_timeout": READ_TIMEOUT_SECONDS,
        **(storage_options.get("config_kwargs") or {}),
    }
    return {**storage_options, "config_kwargs": config}


def _http_options(storage_options: dict[str, Any]) -> dict[str, Any]:
    try:
        import aiohttp
    except ImportError:  # fsspec says what to install
        return dict(storage_options)
    # aiohttp's own limit is five minutes for a whole answer, however fast it comes.
    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=READ_TIMEOUT_SECONDS)
    return {**storage_options, "client_kwargs": {"timeout": limits, **(storage_options.get("client_kwargs") or {})}}


def make_single_attempt(fs: Any) -> None:
    """Turn off the retries that a file system has besides its client's: those of s3fs, which has no option for it.

    fsspec shares file systems between callers who give the same options. Those of `single_attempt_options` are not
    what others give, so nobody else's file system is changed.
    """
    if "s3" in fs.protocol:
        fs.retries = 1


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error, or of the answer that it was made from; None if there is none."""
    status = _status(error)
    return status if status is not None or error.__cause__ is None else _status(error.__cause__)


def code_of(error: BaseException | None) -> str | None:
    """The code that an error of S3's client carries, such as "NoSuchUpload"; None if there is none."""
    response = getattr(error, "response", None)
    return response.get("Error", {}).get("Code") if isinstance(response, dict) else None


def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error of a client carries, or None."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    elif response is not None:  # requests
        status = getattr(response, "status_code", None)
    else:  # aiohttp
        status = getattr(error, "status", None)
    return status if isinstance(status, int) else None
