"""Stores of many small sessions: their shards are joined, and nothing else changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mixed_stores
import numpy as np
import pytest
from tensor_stores import ENCODER, FIELDS, assert_is, key, sample, write

import latentstore
from latentstore import StoreError, Writer
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.read import read_manifest
from latentstore.stores.verify import verify
from latentstore.writing.tensors.gc import collect_garbage
from latentstore.writing.tensors.session import Session

LARGE = 1 << 20
"""Bytes of a full shard, of which those here are a small part."""


def add(url: Path | str, number: int, **options: Any) -> None:
    """One session, of one sample."""
    write(url, [number], LARGE, resume=True, **options)


def begin(url: Path | str, count: int, **options: Any) -> None:
    """A store with a shard for each of so many samples."""
    write(url, range(count), 1, **options)
    assert len(latentstore.open(url, **options).info["shards"]) == count


def assert_holds(url: Path | str, numbers: Any, **options: Any) -> Any:
    """The newest version holds these samples in this order, and is whole."""
    ds = latentstore.open(url, **options)
    assert ds.keys() == [key(number) for number in numbers]
    for i, number in enumerate(numbers):
        assert_is(ds[i], number)
    assert not verify(str(url), **options).problems
    return ds


def test_many_sessions_leave_few_shards(tmp_path: Path) -> None:
    url, older = tmp_path / "x.store", dict[int, Any]()
    for number in range(40):
        add(url, number)
        older[number + 1] = ds = latentstore.open(url)
        assert len(ds.info["shards"]) <= 14 and ds.version == number + 1
    assert_holds(url, range(40))
    assert sum(shard.count > 1 for shard in read_manifest(ds.reader.location).shards) >= 2
    for version, ds in older.items():
        assert ds.keys() == [key(number) for number in range(version)], "whoever has an older version reads on"
        assert_is(ds[version - 1], version - 1)
    there = {f"{layout.SHARDS}/{shard['name']}" for shard in ds.info["shards"]}
    collect_garbage(url)
    assert {path.relative_to(url).as_posix() for path in (url / "shards").iterdir()} == there
    assert_holds(url, range(40))


def test_samples_go_in_the_session_that_joins(tmp_path: Path) -> None:
    """Shards of several samples and of one, of several shapes; some lose a sample, one all of them."""
    url, several = tmp_path / "x.store", [[0, 3], [1], [2], [4, 5, 6], [7], [8, 9], *([n] for n in range(10, 20))]
    for numbers in several:
        write(url, numbers, 4000, resume=True)  # so that each shard is a full one
    before = latentstore.open(url)
    assert len(before.info["shards"]) == len(several)
    gone = {3, 4, 6, 7, 11}
    with Writer(url, FIELDS, encoder=ENCODER, shard_bytes=LARGE, resume=True) as writer:
        writer.drop([key(number) for number in gone])
        writer.write(key(15), sample(15), source="another")
        writer.write(key(20), sample(20))
    assert writer.copied.joined >= 10 and writer.copied.into == 1
    left = [number for numbers in several for number in numbers if number not in {*gone, 15}]
    assert_holds(url, [*left, 15, 20])
    assert before.keys() == [key(number) for numbers in several for number in numbers]


def test_latents_beside_tensors(tmp_path: Path) -> None:
    """Sums and sizes of latents follow those of the shards that are joined, and only what goes is decoded."""
    url, whole, sides = tmp_path / "x", tmp_path / "whole", {number: 32 + 16 * (number % 2) for number in range(14)}
    for number, side in sides.items():
        mixed_stores.write(url, [number], mixed_stores.HEARD, side, shard_bytes=LARGE, resume=True)
    with Writer(url, mixed_stores.HEARD, shard_bytes=LARGE, resume=True) as writer:
        writer.drop(["3", "13"])
    left = [number for number in sides if number not in (3, 13)]
    assert len(latentstore.open(url).info["shards"]) <= 5
    with Writer(whole, mixed_stores.HEARD) as writer:
        for number in left:
            writer.write(f"{number}", mixed_stores.sample(number, mixed_stores.HEARD, sides[number]))
    found, wanted = latentstore.open(url), latentstore.open(whole)
    assert found.keys() == wanted.keys() and not verify(str(url)).problems
    for i in range(len(left)):
        one, two = found[i], wanted[i]
        assert one.keys() == two.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(value, two[name])
    for name in ("image", "audio"):
        mine, theirs = found.latents[name], wanted.latents[name]
        np.testing.assert_allclose(mine.stats.mean, theirs.stats.mean, atol=1e-9)
        np.testing.assert_allclose(mine.stats.std, theirs.stats.std, atol=1e-9)
        np.testing.assert_array_equal(mine.sizes(), theirs.sizes())
        assert mine.info["extent"] == theirs.info["extent"]


def test_stopped_between_joining_and_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = tmp_path / "x.store"
    begin(url, 11)

    def stopped(self: Session, meta: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "publish", stopped)
    with pytest.raises(KeyboardInterrupt):
        add(url, 11)
    monkeypatch.undo()
    old = assert_holds(url, range(11))
    files = {path.name for path in (url / "shards").iterdir()}
    assert len(files) == 13, "those of the version, the new one, and one that others were joined to"
    with pytest.raises(StoreError, match="begun and not finished"):
        collect_garbage(url)
    add(url, 12)
    new = assert_holds(url, range(13))
    assert len(new.info["shards"]) < 6 and {path.name for path in (url / "shards").iterdir()} > files
    assert_is(old[0], 0)
    collect_garbage(url)
    assert {path.name for path in (url / "shards").iterdir()} == {shard["name"] for shard in new.info["shards"]}


def test_ranks_join_what_sessions_before_have_written(tmp_path: Path) -> None:
    url = tmp_path / "x.store"

    def ranks(session: int) -> None:
        def one(rank: int) -> None:
            write(url, [4 * session + rank], LARGE, resume=session > 0, rank=rank, world_size=4)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(one, range(4))) == [None] * 4

    for session in range(4):
        ranks(session)
        assert len(latentstore.open(url).info["shards"]) <= 12
    assert_holds(url, range(16))
    assert len(latentstore.open(url).info["shards"]) < 9


def test_on_an_object_store(s3_options: dict[str, Any]) -> None:
    url, options = "s3://bucket/joined.store", {"storage_options": s3_options}
    begin(url, 11, **options)
    old = latentstore.open(url, **options)
    add(url, 11, **options)
    ds = assert_holds(url, range(12), **options)
    assert len(ds.info["shards"]) <= 4
    for number in range(11):
        assert_is(old[number], number)
    assert collect_garbage(url, **options).versions == [1]
    assert_holds(url, range(12), **options)


def test_a_shard_that_was_cut_short_is_not_joined(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    begin(url, 11)
    bad = url / "shards" / latentstore.open(url).info["shards"][2]["name"]
    bad.write_bytes(bad.read_bytes()[100:])
    with pytest.raises(StoreError, match=f"{bad.name} is cut short"):
        add(url, 11)
    assert latentstore.open(url).version == 1
