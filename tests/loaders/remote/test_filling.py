"""loaders/remote/filling.py: large ranges come into memory of their own, whole, or an error says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_s3 import PlainS3

from latentstore.codecs.errors import StoreError
from latentstore.loaders.cache.folder import CacheFolder
from latentstore.loaders.cache.location import CachedLocation
from latentstore.loaders.remote import filling, ranges
from latentstore.loaders.remote.location import Location

s3fs = pytest.importorskip("s3fs")
DATA = np.random.default_rng(1).bytes(5000)


@pytest.fixture
def server() -> Iterator[PlainS3]:
    server = PlainS3()
    server.objects["data"] = DATA
    yield server
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(params=["s3", "memory"])
def place(request: pytest.FixtureRequest, server: PlainS3) -> Location:
    """A file system whose answers come in pieces, and one that hands them over whole."""
    if request.param == "s3":
        return Location("s3://bucket", server.options)
    location = Location("memory://filling")
    location.write("data", DATA)
    return location


def test_ranges_in_parts(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "PART_BYTES", 700)
    monkeypatch.setattr(filling, "PIECE_BYTES", 64)
    wanted = [("data", 0, 5000), ("data", 17, 117), ("data", 30, 30), ("data", 1000, 4321)]
    got = place.read_parts(wanted)
    assert [bytes(data) for data in got] == [DATA[a:b] for _, a, b in wanted]
    assert all(isinstance(data, memoryview) and data.readonly for data in got)


def test_an_object_that_ends_before(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "PART_BYTES", 700)
    with pytest.raises(StoreError, match="data is cut short: bytes 900 to 5100 asked for, 4100 of them there"):
        place.read_parts([("data", 0, 800), ("data", 900, 5100)])


def test_more_than_the_range_is_not_read(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = s3fs.S3FileSystem._call_s3

    def without_range(self: Any, method: str, Range: str = "", **call: Any) -> Any:
        return plain(self, method, **call)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", without_range)
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_ranges", lambda *_, **__: [DATA])
    with pytest.raises(StoreError, match="100 bytes were asked for, and 5000 came: the server does not serve byte"):
        place.read_parts([("data", 100, 200)])


def test_a_range_that_no_object_has(place: Location) -> None:
    """No memory is taken for what an index claims and the object does not have."""
    with pytest.raises(StoreError, match="data is cut short: bytes 0 to 4611686018427387904 asked for"):
        place.read_parts([("data", 0, 1 << 62)])
    with pytest.raises(StoreError, match="data: there is no memory for"):
        filling.own_memory(1 << 62, "data")


def test_what_a_cache_has_kept(place: Location, tmp_path: Path) -> None:
    cached = CachedLocation(place.url, place.storage_options, CacheFolder(tmp_path, 1 << 20))
    cached.identity = "0" * 32
    for _ in range(2):
        (data,) = cached.read_parts([("data", 10, 4000)])
        assert isinstance(data, memoryview) and data.readonly and data == DATA[10:4000]
        assert cached.read("data") == DATA and isinstance(cached.read("data"), bytes)
    assert cached.folder.usage().entries == 2
