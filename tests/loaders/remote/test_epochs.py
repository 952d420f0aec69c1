"""Epochs from an object store that is far away and fails: how many requests, and no sample lost or repeated."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failing_proxy import FailingProxy
from plain_s3 import PlainS3

import latentstore
from latentstore.loaders.remote import ranges, retry

pytest.importorskip("s3fs")
pytest.importorskip("torch")

from latentstore.loaders import LatentLoader

SHARDS, SAMPLES, PART = 6, 8, 600
URL = "s3://bucket/far.zarr"


@pytest.fixture(scope="module")
def objects(make_samples: Any, codec: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A store of 48 samples in 6 shards, as the objects of a bucket."""
    from latentstore.writing import StoreSpec, open_writer

    folder = tmp_path_factory.mktemp("far")
    spec = StoreSpec.of(codec, size=(40, 56), shard_samples=SAMPLES, source="made", classes=["x", "y", "z"])
    with open_writer(str(folder / "far.zarr"), spec) as writer:
        for shard in range(SHARDS):
            writer.write_shard(shard, make_samples(SAMPLES, (40, 56), shard * SAMPLES)[0])
        writer.finish(SHARDS)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def server(objects: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[PlainS3]:
    import s3fs

    monkeypatch.setattr(ranges, "PART_BYTES", PART)
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.01)
    server = PlainS3()
    server.objects.update(objects)
    yield server
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def proxy(server: PlainS3) -> Iterator[FailingProxy]:
    with FailingProxy(server.server_port, delay=0.002, failures=0.1, seed=3) as proxy:
        yield proxy


def opened(proxy: FailingProxy, **options: Any) -> Any:
    client = {"endpoint_url": proxy.url, "region_name": "us-east-1"}
    return latentstore.open(
        URL, 12, storage_options={"key": "test", "secret": "test", "client_kwargs": client}, **options
    )


def epoch(loader: LatentLoader) -> list[str]:
    return sorted(key for batch in loader for key in batch["key"])


@pytest.mark.parametrize("workers", [0, 2])
def test_requests_of_an_epoch(proxy: FailingProxy, workers: int) -> None:
    """Of a shard one for its index and one for each part, and those that failed once more."""
    ds = opened(proxy)
    loader = LatentLoader(ds, 5, "block", num_workers=workers)
    keys = ds.keys()
    ds.fields(np.arange(2))
    parts = 0
    for number in range(3):
        proxy.reset()
        assert epoch(loader) == keys, "a sample was lost or came twice"
        sizes = ds.shard_bytes(list(range(SHARDS)))
        parts = sum(max(1, size // PART) for size in sizes)
        indexes = 0 if number else SHARDS
        assert proxy.counts.requests == parts + indexes + proxy.counts.failed
        assert parts <= sum(sizes) / PART
    assert parts > SHARDS, "shards are too small for this test"


def test_a_memory_of_one_shard(proxy: FailingProxy) -> None:
    ds = opened(proxy)
    most = max(ds.shard_bytes(list(range(SHARDS))))
    loader = LatentLoader(ds, 5, "block", num_workers=2, memory=most)
    assert [epoch(loader) for _ in range(2)] == [ds.keys()] * 2


def test_the_cache_saves_all_requests(proxy: FailingProxy, tmp_path: Path) -> None:
    ds = opened(proxy, cache=tmp_path / "cache")
    loader = LatentLoader(ds, 5, "block", num_workers=2)
    assert epoch(loader) == ds.keys()
    proxy.reset()
    assert epoch(loader) == ds.keys() and proxy.counts.requests == 0
    again = opened(proxy, cache=tmp_path / "cache")
    assert epoch(LatentLoader(again, 5, "block", num_workers=2)) == ds.keys()
    assert {line.split()[0] for line in proxy.log} <= {"HEAD", "GET"}
    assert proxy.counts.requests - proxy.counts.failed == 1, "the manifest"


def test_no_secret_is_kept(proxy: FailingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the cache nor in what is pickled: each process looks for the credentials by itself."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAVERYSECRET")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
    options = {"client_kwargs": {"endpoint_url": proxy.url, "region_name": "us-east-1"}}
    ds = latentstore.open(URL, 12, storage_options=options, cache=tmp_path / "cache")
    loader = LatentLoader(ds, 5, "block")
    assert epoch(loader) == ds.keys()
    kept = [pickle.dumps(loader), *(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())]
    assert len(kept) > SHARDS and not any(b"topsecret" in d or b"AKIAVERY" in d for d in kept)
    assert pickle.loads(kept[0]).ds.keys() == ds.keys()
