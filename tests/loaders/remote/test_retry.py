"""The one retry policy: what is tried again, how often, how long, and that no client tries again by itself."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote import retry
from latentstore.loaders.remote.client import Client, MissingError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.retry import ATTEMPTS, Attempts, is_transient, single_attempt_options


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made; time stands still otherwise."""
    made: list[float] = []
    monkeypatch.setattr(retry, "sleep", made.append)
    monkeypatch.setattr(retry, "monotonic", lambda: sum(made))
    return made


# ---- a file system that fails


class Flaky:
    """A file system of objects that fails a few times first."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls, self.asked = failures, error, 0, 0

    def cat_ranges(self, paths: list[str], starts: list[int], ends: list[int], on_error: str) -> list[Any]:
        self.calls += 1
        self.asked += len(paths)
        bad = self.calls <= self.failures
        return [self.error if bad and s == 0 else b"x" * (e - s) for s, e in zip(starts, ends, strict=True)]

    def info(self, path: str) -> dict[str, int]:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return {"size": 7}


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> Any:
    def make(failures: int, error: Exception) -> tuple[Location, Flaky]:
        fs = Flaky(failures, error)
        monkeypatch.setattr(Client, "fs", fs)
        return Location("s3://nowhere"), fs

    return make


@pytest.mark.parametrize("error", [OSError(errno.EIO, "server"), TimeoutError("slow"), ConnectionError("reset")])
def test_transient_errors_are_tried_again(flaky: Any, error: Exception) -> None:
    location, fs = flaky(ATTEMPTS - 1, error)
    assert location.read_ranges([("a", 0, 3), ("b", 1, 2)]) == [b"xxx", b"x"]
    assert fs.calls == ATTEMPTS
    assert fs.asked == 2 + (ATTEMPTS - 1)  # what was read once is not read again
    location, fs = flaky(2, error)
    assert location.size("a") == 7 and fs.calls == 3


def test_a_file_system_that_fails_for_all_ranges_together(flaky: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in front of another, such as simplecache::s3://..., gives no errors of single ranges."""
    location, fs = flaky(0, OSError())
    plain, failures = fs.cat_ranges, [ConnectionError("reset")] * 2

    def failing(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return plain(*args, **options)

    monkeypatch.setattr(fs, "cat_ranges", failing)
    assert location.read_ranges([("a", 0, 3)]) == [b"xxx"]
    failures += [ConnectionError("reset")] * ATTEMPTS
    with pytest.raises(StoreError, match="nowhere/a: still failing after 5 attempts"):
        location.read_ranges([("a", 0, 3)])


def test_an_upload_in_parts_is_tried_again(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    """The answer to its last request was lost. The client then gives up an upload that the server has completed."""
    exceptions = pytest.importorskip("botocore.exceptions")
    said = {"Error": {"Code": "NoSuchUpload"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
    lost = FileNotFoundError("The specified upload does not exist")
    lost.__cause__ = exceptions.ClientError(said, "AbortMultipartUpload")
    place, failures = Location("memory://parts"), [lost]
    fs = place.filesystem()[0]
    plain = fs.pipe_file

    def failing(*args: Any, **options: Any) -> None:
        if failures:
            raise failures.pop()
        plain(*args, **options)

    monkeypatch.setattr(fs, "pipe_file", failing)
    place.write("a", b"1")
    assert place.read("a") == b"1" and len(pauses) == 1


def test_attempts_end(flaky: Any) -> None:
    location, fs = flaky(99, OSError(errno.EIO, "server on fire"))
    with pytest.raises(StoreError, match="nowhere/a: still failing after 5 attempts: server on fire"):
        location.read_ranges([("a", 0, 3)])
    assert fs.calls == ATTEMPTS
    with pytest.raises(StoreError, match="nowhere/a: still failing after 5 attempts: server on fire"):
        location.size("a")
    assert fs.calls == 2 * ATTEMPTS


def test_lasting_errors_are_not_tried_again(flaky: Any, pauses: list[float]) -> None:
    location, fs = flaky(99, PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(StoreError, match=r"nowhere/a: the server refuses it \(Permission denied\): check that"):
        location.read_ranges([("a", 0, 3)])
    assert fs.calls == 1 and not pauses
    location, fs = flaky(99, FileNotFoundError("a"))
    with pytest.raises(MissingError, match="nowhere/a is missing"):
        location.size("a")
    assert fs.calls == 1 and not pauses


def test_an_error_that_nobody_knows_goes_up_as_it_is(flaky: Any) -> None:
    error = KeyError("bug")
    location, fs = flaky(99, error)
    with pytest.raises(KeyError) as caught:
        location.size("a")
    assert caught.value is error and fs.calls == 1
    with pytest.raises(KeyError, match="bug"):
        location.read_ranges([("a", 0, 3)])


def test_missing_credentials_are_said_at_once(flaky: Any) -> None:
    exceptions = pytest.importorskip("botocore.exceptions")
    location, fs = flaky(99, exceptions.NoCredentialsError())
    with pytest.raises(StoreError, match=r"nowhere/a: there are no credentials .*Unable to locate"):
        location.size("a")
    assert fs.calls == 1


# ---- pauses


def test_pauses_grow_and_end(pauses: list[float]) -> None:
    attempts, error = Attempts(), TimeoutError("slow")
    assert [attempts.again(error, "u") for _ in range(ATTEMPTS)] == [True] * (ATTEMPTS - 1) + [False]
    assert len(pauses) == ATTEMPTS - 1 and sum(pauses) <= 30
    for i, pause in enumerate(pauses):
        middle = retry.FIRST_PAUSE_SECONDS * 2**i
        assert middle * (1 - retry.JITTER) <= pause <= middle * (1 + retry.JITTER)
    other: list[float] = []
    for _ in range(8):
        start = len(pauses)
        Attempts().again(error, "u")
        other += pauses[start:]
    assert len(set(other)) > 1, "every worker would come back at the same moment"


@given(st.floats(0, 200))
def test_no_attempt_begins_late(length: float) -> None:
    """length: seconds that each attempt takes until it fails."""
    now, begun = [0.0], [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "monotonic", lambda: now[0])
        patch.setattr(retry, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
        attempts = Attempts()
        while True:
            now[0] += length
            if not attempts.again(TimeoutError("slow"), "u"):
                break
            begun.append(now[0])
    assert 2 <= len(begun) <= ATTEMPTS  # a transfer that broke off late has its second chance
    assert begun[-1] - length <= retry.LAST_ATTEMPT_SECONDS


def test_the_user_is_told_once(pauses: list[float], caplog: pytest.LogCaptureFixture) -> None:
    attempts = Attempts()
    with caplog.at_level(logging.WARNING, "latentstore"):
        attempts.again(TimeoutError("slow"), "s3://b/x")
        assert not caplog.records
        while attempts.again(TimeoutError("slow"), "s3://b/x"):
            pass
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and record.name == "latentstore"
    words = "s3://b/x: attempt 2 of 5 failed (TimeoutError: slow); it is tried again for up to 25 seconds"
    assert record.getMessage() == words


# ---- which errors


class Answer(Exception):  # noqa: N818
    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


def test_which_errors_may_pass() -> None:
    for status, passes in {500: True, 503: True, 429: True, 404: False, 403: False, 501: False}.items():
        assert is_transient(Answer(status)) is passes
    for lasting in (
        FileNotFoundError(), PermissionError(), ValueError(), KeyError(), OSError(errno.EINVAL, "bad request"),
        OSError(errno.ENOSYS, "not implemented"), StoreError("said already"),
    ):  # fmt: skip
        assert not is_transient(lasting), lasting
    for passing in (TimeoutError(), ConnectionResetError(), OSError(errno.EBUSY, "slow down"), OSError()):
        assert is_transient(passing), passing


def test_which_errors_of_botocore_may_pass() -> None:
    exceptions = pytest.importorskip("botocore.exceptions")
    url = {"endpoint_url": "http://x"}
    assert is_transient(exceptions.EndpointConnectionError(error="", **url))
    assert is_transient(exceptions.ReadTimeoutError(error="", **url))
    assert is_transient(exceptions.ConnectionClosedError(error="", request=None, **url))
    for status, passes in {503: True, 400: False}.items():
        response = {"Error": {"Code": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        assert is_transient(exceptions.ClientError(response, "GetObject")) is passes
    assert not is_transient(exceptions.NoCredentialsError())
    assert not is_transient(exceptions.ParamValidationError(report=""))


def test_which_errors_of_aiohttp_may_pass() -> None:
    aiohttp = pytest.importorskip("aiohttp")
    assert is_transient(aiohttp.ServerDisconnectedError())
    assert is_transient(aiohttp.ClientPayloadError())
    assert not is_transient(aiohttp.InvalidURL("x"))
    answered = aiohttp.ClientResponseError(None, (), status=502)
    assert is_transient(answered)
    answered.status = 401
    assert not is_transient(answered)


# ---- real clients: requests are counted at the server


class Server(ThreadingHTTPServer):
    """Answers 503 to every request, and counts them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Unavailable)
        self.requests: list[str] = []


class Unavailable(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # clients that upload wait for "100 Continue"

    def answer(self) -> None:
        assert isinstance(self.server, Server)
        self.server.requests.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def s3_at(port: int, **more: Any) -> dict[str, Any]:
    pytest.importorskip("s3fs")
    client = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    return {"key": "test", "secret": "test", "client_kwargs": client, **more}


ACTIONS = {
    "read": lambda location: location.read("a"),
    "ranges": lambda location: location.read_ranges([("a", 0, 3)]),
    "open": lambda location: location.open("a"),
    "size": lambda location: location.size("a"),
    "exists": lambda location: location.exists("a"),
    "list": lambda location: location.list(),
    "children": lambda location: location.children(),
    "write": lambda location: location.write("a", b"1"),
    "remove": lambda location: location.remove("a"),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_an_endless_503_is_asked_five_times(server: Server, pauses: list[float], action: str) -> None:
    location = Location("s3://bucket/x", s3_at(server.server_port))
    with pytest.raises(StoreError, match=r"s3://bucket/x.*: still failing after 5 attempts: Service Unavailable"):
        ACTIONS[action](location)
    assert len(server.requests) == ATTEMPTS, server.requests
    assert len(pauses) == ATTEMPTS - 1


def test_http_too(server: Server, pauses: list[float]) -> None:
    pytest.importorskip("aiohttp")
    location = Location(f"http://127.0.0.1:{server.server_port}/x")
    with pytest.raises(StoreError, match=r"/x/a: still failing after 5 attempts: .*503"):
        location.read_ranges([("a", 0, 3)])
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize("action", ["read", "size", "list", "write"])
def test_a_server_that_refuses_connections(pauses: list[float], action: str) -> None:
    closed = Server()
    closed.server_close()
    location = Location("s3://bucket/x", s3_at(closed.server_port))
    with pytest.raises(StoreError, match=r"s3://bucket/x.*: still failing after 5 attempts: EndpointConnectionError"):
        ACTIONS[action](location)
    assert len(pauses) == ATTEMPTS - 1


@pytest.mark.parametrize("url", ["s3://bucket/x", "s3://bucket/x.tar"])
def test_a_source_is_asked_five_times_too(server: Server, pauses: list[float], url: str) -> None:
    from latentstore.sources import open_source

    with pytest.raises(StoreError, match=r"s3://bucket/x.*: still failing after 5 attempts: Service Unavailable"):
        open_source(url, storage_options=s3_at(server.server_port))
    assert {path: server.requests.count(path) for path in server.requests} == dict.fromkeys(server.requests, ATTEMPTS)


def test_a_zarr_array_is_asked_five_times_too(server: Server, pauses: list[float]) -> None:
    from latentstore.sources.zarr_array import list_array

    location = Location("s3://bucket/x.zarr", s3_at(server.server_port))
    with pytest.raises(StoreError, match=r"s3://bucket/x.zarr: still failing after 5 attempts: Service Unavailable"):
        list_array(location)
    # zarr asks for several objects at once, and forgets the others when one of them fails
    assert max(server.requests.count(path) for path in server.requests) == ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1


def test_a_user_may_ask_for_retries_of_the_client(server: Server, pauses: list[float]) -> None:
    config = {"retries": {"total_max_attempts": 2}}
    location = Location("s3://bucket/x", s3_at(server.server_port, config_kwargs=config))
    with pytest.raises(StoreError, match="still failing"):
        location.size("a")
    assert len(server.requests) == 2 * ATTEMPTS


def test_options_of_one_attempt() -> None:
    given = {"key": "k", "config_kwargs": {"read_timeout": 60, "max_pool_connections": 3}}
    options = single_attempt_options("s3://bucket/x", given)
    assert options["key"] == "k"
    assert options["config_kwargs"] == {
        "retries": {"total_max_attempts": 1},
        "connect_timeout": retry.CONNECT_TIMEOUT_SECONDS,
        "read_timeout": 60,
        "max_pool_connections": 3,
    }
    assert given == {"key": "k", "config_kwargs": {"read_timeout": 60, "max_pool_connections": 3}}
    assert single_attempt_options("memory://x", {"a": 1}) == {"a": 1}


def test_file_systems_of_others_keep_their_retries(server: Server) -> None:
    options = s3_at(server.server_port)
    import s3fs

    theirs = s3fs.S3FileSystem(**options)
    ours, _ = Location("s3://bucket/x", options).filesystem()
    assert ours.retries == 1
    assert theirs.retries == s3fs.S3FileSystem.retries > 1
