"""`latentstore.Writer` on object storage: names, markers, listings that lag, and rights that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_s3 import PlainS3
from tensor_stores import ENCODER, FIELDS, assert_is, key, sample, write

import latentstore
from latentstore import StoreError, Tensor, Writer
from latentstore.loaders.remote import retry
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors.layout import SHARDS
from latentstore.stores.verify import verify
from latentstore.writing import lock
from latentstore.writing.tensors.gc import collect_garbage


@pytest.fixture
def bucket() -> Iterator[PlainS3]:
    pytest.importorskip("s3fs")
    server = PlainS3()
    yield server
    server.stop()


def check(url: str, count: int, options: dict[str, Any] | None = None) -> None:
    ds = latentstore.open(url, storage_options=options)
    assert sorted(ds.keys()) == [key(number) for number in range(count)]
    for found in ds:
        assert_is(found, int(found["key"][-4:]))


def test_stores_whose_names_would_match_each_other() -> None:
    """The writer of the one removed the lock and the job of the other."""
    one, other = "memory://names/run1.store", "memory://names/run[12].store"
    write(one, range(4))
    with Writer(one, FIELDS, encoder=ENCODER, resume=True) as writer:
        write(other, range(4))
        for number in range(8):
            writer.write(key(number), sample(number))
    collect_garbage(other)
    check(one, 8)
    check(other, 4)
    assert not [name for name in Location("memory://names").list() if ".partial" in name]


def test_folder_markers(s3_options: dict[str, Any]) -> None:
    """`gc` took the marker "shards/" for an object that no version needs, and removed what is in that folder."""
    url = "s3://bucket/marked/x.store"
    write(url, range(6), storage_options=s3_options)
    fs = Location(url, s3_options).filesystem()[0]
    for marker in ("", "shards/", "versions/", "coders/"):
        fs.call_s3("put_object", Bucket="bucket", Key=f"marked/x.store/{marker}", Body=b"")
    for marker in ("", "ranks/", "ranks/0000/"):
        fs.call_s3("put_object", Bucket="bucket", Key=f"marked/x.store.partial/{marker}", Body=b"")
    write(url, range(8), resume=True, storage_options=s3_options)
    found = collect_garbage(url, storage_options=s3_options)
    assert (found.versions, list(found.objects)) == ([1], ["versions/000001.json"])
    check(url, 8, s3_options)


def test_a_listing_that_lags(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written a moment ago is missing in it."""
    plain, url = Location.details, "memory://lags/x.store"

    def late(self: Location, name: str = "") -> dict[str, dict[str, Any]]:
        return {} if name == SHARDS else plain(self, name)

    monkeypatch.setattr(Location, "details", late)
    write(url, range(8), shard_bytes=4000)
    assert not verify(url).problems
    check(url, 8)


def test_nothing_may_be_removed(bucket: PlainS3, caplog: pytest.LogCaptureFixture) -> None:
    """The store is published, and that is what the caller hears; what is left is told."""
    url, options = "s3://bucket/x.store", bucket.options
    bucket.refuses = lambda what: what.startswith(("DELETE", "POST"))
    write(url, range(4), storage_options=options)
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith(f"{url} is published; what is left of its writing could not be removed")
    assert said[1].startswith(f"the lock of {url} could not be removed")
    check(url, 4, options)
    with pytest.raises(StoreError, match="refuses it"):  # before anything is written
        write(url, range(8), resume=True, storage_options=options)
    bucket.refuses = lambda what: False
    write(url, range(8), resume=True, storage_options=options)
    check(url, 8, options)
    assert not [name for name in bucket.objects if ".partial" in name]


BUSY = (503, b"<Error><Code>SlowDown</Code><Message>x</Message></Error>")


@pytest.mark.parametrize("own", [True, False])
def test_a_server_that_is_gone(bucket: PlainS3, monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    """It is asked for one thing more, and not for all that would have to be tidied: each takes most of a minute. The
    error that ended the block is the one to tell."""
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    url, options = "s3://bucket/x.store", bucket.options
    error, said = (ZeroDivisionError, "^$") if own else (StoreError, "still failing after 5 attempts")
    with pytest.raises(error, match=said), Writer(url, FIELDS, encoder=ENCODER, storage_options=options) as writer:
        writer.write(key(0), sample(0))
        bucket.answer, before = BUSY, len(bucket.log)
        if own:
            raise ZeroDivisionError
    assert len(bucket.log) - before == retry.ATTEMPTS and not lock._held
    bucket.answer = None
    write(url, range(4), resume=True, storage_options=options)
    check(url, 4, options)


def test_the_folder_of_the_process_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    with Writer("x.store", FIELDS, encoder=ENCODER) as writer:
        writer.write(key(0), sample(0))
        monkeypatch.chdir("other")
        writer.write(key(1), sample(1))
    assert sorted(path.name for path in tmp_path.rglob("*.store*")) == ["x.store"]
    monkeypatch.chdir(tmp_path)
    ds = latentstore.open("x.store")
    monkeypatch.chdir("other")
    assert [found["key"] for found in ds] == [key(0), key(1)]


def test_a_run_that_was_killed_is_resumed_where_listings_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of a shard that the listing lacked were written twice, and then nothing could be published."""
    plain, url, late = Location.details, "memory://late/x.store", set[str]()
    with pytest.raises(ZeroDivisionError), Writer(url, FIELDS, encoder=ENCODER, shard_bytes=2000) as writer:
        for number in range(12):
            writer.write(key(number), sample(number))
        raise ZeroDivisionError
    late.update(sorted(plain(Location(url), SHARDS))[1:])
    assert late

    def lagging(self: Location, name: str = "") -> dict[str, dict[str, Any]]:
        return {at: said for at, said in plain(self, name).items() if at not in late}

    monkeypatch.setattr(Location, "details", lagging)
    with Writer(url, FIELDS, encoder=ENCODER, resume=True, shard_bytes=2000) as writer:
        late.clear()  # it has caught up
        for number in range(16):
            writer.write(key(number), sample(number))
    check(url, 16)


def test_what_is_left_of_another_session_is_none_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coder that it had chosen was taken for that of this one, and nobody could open the store."""
    url, plain = "memory://left/x.store", Location.details
    monkeypatch.setattr(Location, "details", lambda self, name="": {} if ".partial" in self.url else plain(self, name))
    write(url, range(4))
    assert plain(Location(f"{url}.partial"), "coders")
    other = {"text": Tensor("float32", "step", snr=20), "label": int}
    with Writer(url, other, overwrite=True) as writer:
        writer.write("a", {"text": np.ones((3, 4), np.float32), "label": 1})
    assert latentstore.open(url)[0]["text"].shape == (3, 4)
