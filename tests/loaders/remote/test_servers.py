"""Servers that are slow, gone, or that refuse: one sentence in time, and a word for who waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensor_stores
from plain_s3 import PlainS3
from until import until

import latentstore
from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.loaders.remote import client, retry, waiting
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.waiting import Waits

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


@pytest.fixture
def bucket() -> Iterator[PlainS3]:
    pytest.importorskip("s3fs")
    server = PlainS3()
    yield server
    if server.stall is not None:
        server.stall.set()
    server.stop()


@pytest.fixture
def sessions() -> Iterator[None]:
    """Ends the connections of HTTP clients, which fsspec keeps for the next one who asks."""
    pytest.importorskip("aiohttp")
    from fsspec.implementations.http import HTTPFileSystem

    yield
    for fs in HTTPFileSystem._cache.values():
        if fs._session is not None:
            fs.close_session(fs.loop, fs._session)
    HTTPFileSystem.clear_instance_cache()


# ---- credentials


@pytest.mark.parametrize(("status", "body", "action", "said"), [
    (403, EXPIRED, "read", "refuses it .*The provided token has expired.*credentials .* have not expired"),
    (403, EXPIRED, "open", "refuses it .*The provided token has expired.*credentials .* have not expired"),
    (400, EXPIRED, "read", "refuses it .*The provided token has expired.*credentials .* have not expired"),
    (400, EXPIRED, "open", "refuses it .*The provided token has expired.*credentials .* have not expired"),
    (400, EXPIRED, "list", "refuses it .*The provided token has expired"),
    (403, EXPIRED, "write", "refuses it .*The provided token has expired"),
])  # fmt: skip
def test_expired_credentials(bucket: PlainS3, status: int, body: bytes, action: str, said: str) -> None:
    bucket.answer = (status, body)
    place = Location("s3://bucket/x.zarr", bucket.options)
    actions: dict[str, Any] = {
        "read": lambda: place.read("a"),
        "open": lambda: latentstore.open(place.url, storage_options=bucket.options),
        "list": place.list,
        "write": lambda: place.write("a", b"1"),
    }
    with pytest.raises(StoreError, match=rf"^s3://bucket/x\.zarr.*{said}"):
        actions[action]()
    assert len(bucket.log) == len(set(bucket.log)), "asked again for what will not change"


@pytest.mark.parametrize(("given", "old", "renewed"), [(False, True, True), (True, True, False), (False, False, False)])
def test_credentials_are_looked_up_again(
    bucket: PlainS3, monkeypatch: pytest.MonkeyPatch, given: bool, old: bool, renewed: bool
) -> None:
    """Where they have expired, somebody may have renewed them. Those that the caller gave are what they are."""
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "old")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(client, "RENEW_AFTER_SECONDS", 0.0 if old else 60.0)
    options = bucket.options if given else {"client_kwargs": bucket.options["client_kwargs"]}
    bucket.objects["x/a"] = b"1"
    place = Location("s3://bucket/x", options)
    assert place.read("a") == b"1"
    bucket.answer = (403, EXPIRED)
    plain, clients = client.make_single_attempt, list[Any]()

    def made(fs: Any) -> None:
        clients.append(fs)
        bucket.answer = None  # this client has the new ones
        plain(fs)

    monkeypatch.setattr(client, "make_single_attempt", made)
    before, old_fs = len(bucket.log), place.filesystem()[0]
    if renewed:
        assert place.read("a") == b"1" and len(clients) == 1 and clients[0] is not old_fs
    else:
        with pytest.raises(StoreError, match="refuses it"):
            place.read("a")
    assert len(bucket.log) - before == 1 + renewed


@pytest.mark.parametrize(
    ("options", "said"),
    [({"client_kwargs": {"endpoint_url": "127.0.0.1:9000"}}, "Invalid endpoint: 127.0.0.1:9000"), ({"x": 1}, "'x'")],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], said: str) -> None:
    pytest.importorskip("s3fs")
    place = Location("s3://bucket/x", {"key": "a", "secret": "b", **options})
    for act in (lambda: place.read("a"), lambda: place.write("a", b"1"), place.list):
        with pytest.raises(ArgumentError, match=f"^s3://bucket/x: the client does not take the options .*{said}"):
            act()


def test_a_bucket_that_no_client_takes(bucket: PlainS3) -> None:
    with pytest.raises(StoreError) as caught:
        Location("s3://buck et/x", bucket.options).read("a")
    assert "Invalid bucket name" in str(caught.value) and "\n" not in str(caught.value)


# ---- rights


def test_what_may_not_be_removed_is_an_error(bucket: PlainS3) -> None:
    """The request that removes many objects is answered by 200, and says of each that it is refused."""
    bucket.refuses = lambda what: what.startswith(("DELETE", "POST"))
    place = Location("s3://bucket/x", bucket.options)
    bucket.objects |= {"x/a/1": b"1", "x/a/2": b"2"}
    for name in ("a/1", "a", ""):
        with pytest.raises(StoreError, match=rf"^s3://bucket/x/?{name}: the server refuses it .*Access Denied"):
            place.remove(name)
    assert len(bucket.objects) == 2


def test_a_store_in_a_bucket_that_nobody_may_list(bucket: PlainS3) -> None:
    """There a server refuses everything that is not there."""
    url, options = "s3://bucket/x.store", bucket.options
    tensor_stores.write(url, range(3), storage_options=options)
    bucket.refuses = lambda what: what.startswith("LIST") or what.partition(" ")[2] not in bucket.objects
    ds = latentstore.open(url, storage_options=options)
    assert [ds[i]["label"] for i in range(3)] == [-1, 0, 1]
    with pytest.raises(StoreError, match=r"^s3://bucket/y\.store/zarr\.json: the server refuses it"):
        latentstore.open("s3://bucket/y.store", storage_options=options)


@pytest.mark.parametrize("url", ["s3://nothing/x.store", "s3://bucket"])
def test_no_store(s3_options: dict[str, Any], url: str) -> None:
    with pytest.raises(StoreError, match=rf"^{url}: no latentstore store there \(found n"):
        latentstore.open(url, storage_options=s3_options)


# ---- HTTP


class Quiet(SimpleHTTPRequestHandler):
    """The server of `python -m http.server`: it knows no ranges."""

    refuse = 0

    def send_head(self) -> Any:
        if self.refuse:
            self.send_error(self.refuse)
            return None
        return super().send_head()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def http(tmp_path: Path, sessions: None) -> Iterator[tuple[str, Path]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("layout", ["zarr-fixed", "zarr-native", "wds-fixed"])
def test_a_server_without_ranges(http: tuple[str, Path], make_store: Any, layout: str) -> None:
    url, folder = http
    store = make_store(folder, layout)
    with pytest.raises(StoreError, match=r"bytes were asked for, and \d+ came: the server does not serve byte ranges"):
        latentstore.open(f"{url}/{Path(store.url).name}").read_latents(np.array([13]))


def test_ranges_that_are_the_whole_object(http: tuple[str, Path]) -> None:
    url, folder = http
    (folder / "a").write_bytes(b"0123456789")
    place = Location(url)
    assert place.read("a") == b"0123456789"
    assert place.read_ranges([("a", 0, 10), ("a", -10, None)]) == [b"0123456789"] * 2
    assert place.size("a") == 10 and place.exists("a") and not place.exists("b")
    for range_ in (("a", 2, 5), ("a", -4, None), ("a", 0, 5)):
        with pytest.raises(StoreError, match="does not serve byte ranges"):
            place.read_ranges([range_])


@pytest.mark.parametrize(("status", "said"), [(503, "after 5 attempts: 503"), (403, "refuses it .403")])
def test_a_failure_is_no_missing_object(
    http: tuple[str, Path], status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec's client says "not found", or that nothing exists, for whatever goes wrong."""
    monkeypatch.setattr(Quiet, "refuse", status)
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    place = Location(http[0])
    for action in (place.exists, place.size, place.read):
        with pytest.raises(StoreError, match=said):
            action("a")
    with pytest.raises(StoreError, match=said):
        latentstore.open(f"{http[0]}/x.zarr")


# ---- waiting


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_server_that_never_answers(
    bucket: PlainS3, monkeypatch: pytest.MonkeyPatch, sessions: None, scheme: str
) -> None:
    """Its time-outs end an operation. How many there may be follows from the time; here that stands still."""
    monkeypatch.setattr(retry, "READ_TIMEOUT_SECONDS", 0.12)
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(retry, "monotonic", lambda: 0.0)
    bucket.stall = threading.Event()
    place = Location("s3://bucket/x", bucket.options)
    if scheme == "http":
        place = Location(f"http://127.0.0.1:{bucket.server_port}/x")
    place.filesystem()
    with pytest.raises(StoreError, match=r"a: still failing after 5 attempts: "):
        place.read("a")


def test_the_real_time_outs_end_within_a_minute() -> None:
    now = 0.0
    with pytest.MonkeyPatch.context() as patch:

        def rest(seconds: float) -> None:
            nonlocal now
            now += seconds

        patch.setattr(retry, "monotonic", lambda: now)
        patch.setattr(retry, "sleep", rest)
        for seconds in (0.0, retry.CONNECT_TIMEOUT_SECONDS, retry.READ_TIMEOUT_SECONDS):
            for _ in range(50):  # pauses are random
                now, attempts, more = 0.0, retry.Attempts(), True
                while more:
                    now += seconds
                    more = attempts.again(TimeoutError("slow"), "u")
                assert now < 50 and attempts.count >= 3


def test_who_waits_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now, looks = 0.0, threading.Semaphore(0)

    def look() -> float:
        looks.release()
        return now

    def several_looks() -> None:
        while looks.acquire(blocking=False):
            pass
        for _ in range(5):
            assert looks.acquire(timeout=300)

    monkeypatch.setattr(waiting, "monotonic", look)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    waits = Waits()
    with caplog.at_level(logging.WARNING, "latentstore"):
        with waits.named("s3://b/quick", "s3://b/quick/a"):
            now = waiting.TELL_AFTER_SECONDS - 1
            several_looks()
        with waits.named("s3://b/slow", "s3://b/slow/a"), waits.named("s3://b/slow", "s3://b/slow/b"):
            now *= 3
            several_looks()
        with waits.named("s3://b/slow", "s3://b/slow/c"):
            now *= 2
            several_looks()
    (record,) = caplog.records
    assert record.getMessage() == "still waiting for s3://b/slow/a after 5 seconds"
    thread = waits._thread
    if thread is not None:
        thread.join(300)
        assert not thread.is_alive(), "it waits for nothing"


def test_a_stalled_server_is_named(
    bucket: PlainS3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiting, "TELL_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(client, "waits", Waits())  # other tests have been told of this bucket
    bucket.objects["x/a"] = b"1"
    bucket.stall = threading.Event()
    place = Location("s3://bucket/x", bucket.options)
    with caplog.at_level(logging.WARNING, "latentstore"), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(place.read, "a")
        try:
            until(lambda: bool(caplog.records))
        finally:
            bucket.stall.set()
        assert asked.result() == b"1"
    assert [record.getMessage() for record in caplog.records] == ["still waiting for s3://bucket/x/a after 0 seconds"]
