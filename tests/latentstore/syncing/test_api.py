"""`latentstore.sync`: only what has changed is encoded; readers see whole versions; runs that are killed go on."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from until import until

import latentstore
from latentstore import ArgumentError, Encoder, Latents, StoreError, Tensor, load_codec
from latentstore.stores.verify import verify
from latentstore.syncing.identity import content_hash, found_files, identity
from latentstore.syncing.plan import SyncPlan
from latentstore.writing.tensors.gc import collect_garbage
from latentstore.writing.tensors.writer import Writer

FIELDS = {"x": Tensor("int32")}


class Source:
    """A folder of files that hold a number each, and what encodes them; `encoded` counts."""

    def __init__(self, root: Path) -> None:
        self.root, self.encoded = root, list[str]()
        self.clock = 1_700_000_000

    def put(self, name: str, number: int) -> None:
        path = self.root / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
        self.touch(name)

    def touch(self, name: str) -> None:
        self.clock += 1
        os.utime(self.root / f"{name}.txt", (self.clock, self.clock))

    def encode(self, paths: Sequence[Path]) -> dict[str, Any]:
        self.encoded += [path.stem for path in paths]
        return {"x": [np.full((8,), int(path.read_text()), np.int32) for path in paths]}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    made = Source(tmp_path / "source")
    for i in range(40):
        made.put(f"{i % 3}/{i}", i)
    return made


def held(url: Path) -> dict[str, int]:
    ds = latentstore.open(url)
    return {ds[i]["key"]: int(ds[i]["x"][0]) for i in range(len(ds))}


def synced(source: Source, url: Path, **options: Any) -> SyncPlan:
    source.encoded.clear()
    return latentstore.sync(source.root, url, FIELDS, source.encode, **options)


def test_it_becomes_what_the_source_is(source: Source, tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    plan = synced(source, url, batch_size=7)
    assert (len(plan.new), plan.version, len(source.encoded)) == (40, 1, 40)
    assert held(url) == {f"{i % 3}/{i}": i for i in range(40)}
    plan = synced(source, url)
    assert (plan.unchanged, plan.encodes, plan.touched, plan.version, source.encoded) == (40, 0, 0, 1, [])

    source.put("1/1", 100)
    source.put("2/new", 7)
    source.touch("0/3")
    (source.root / "0/6.txt").unlink()
    dry = synced(source, url, dry_run=True)
    assert (dry.new, dry.changed, dry.gone, dry.touched, dry.version) == (["2/new"], ["1/1"], ["0/6"], 1, 1)
    assert not source.encoded and held(url)["1/1"] == 1
    plan = synced(source, url)
    assert sorted(source.encoded) == ["1", "new"] and plan.version == 2
    expected = {f"{i % 3}/{i}": i for i in range(40)} | {"1/1": 100, "2/new": 7}
    assert held(url) == expected
    plan = synced(source, url, delete=True)
    del expected["0/6"]
    assert held(url) == expected and plan.version == 3 and not source.encoded
    assert "1 gone: left out" in str(plan)


def test_a_file_of_the_same_size_and_another_content(source: Source, tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    synced(source, url)
    source.put("0/3", 4)
    assert synced(source, url).changed == ["0/3"] and held(url)["0/3"] == 4


def test_another_encoder_encodes_all_again(source: Source, tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    synced(source, url, encoder=Encoder("a"))
    assert not synced(source, url, encoder=Encoder("a")).encodes
    plan = synced(source, url, encoder=Encoder("a", preprocessing={"size": 2}))
    assert plan.again and len(source.encoded) == 40 and held(url)["0/3"] == 3
    assert latentstore.open(url, fields=["x"]).encoders["x"].preprocessing == {"size": 2}
    (source.root / "0/3.txt").unlink()
    with pytest.raises(ArgumentError, match="the files of 1 are gone"):
        synced(source, url, encoder=Encoder("b"))
    synced(source, url, encoder=Encoder("b"), delete=True)
    assert len(held(url)) == 39


def test_a_run_that_stopped_goes_on(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, calls = tmp_path / "x.store", 0

    def encode(paths: Sequence[Path]) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise ZeroDivisionError
        return source.encode(paths)

    plain = Writer.__init__

    def small(self: Writer, *arguments: Any, **options: Any) -> None:
        plain(self, *arguments, **{**options, "shard_bytes": 1})

    monkeypatch.setattr(Writer, "__init__", small)
    for encoder in (Encoder("a"), Encoder("b")):  # a new store; one that is made again
        source.encoded.clear()
        calls = 0
        with pytest.raises(ZeroDivisionError):
            latentstore.sync(source.root, url, FIELDS, encode, encoder=encoder, batch_size=8)
        before = len(source.encoded)
        latentstore.sync(source.root, url, FIELDS, source.encode, encoder=encoder)
        assert before == 24 and 40 <= len(source.encoded) <= 48, "shards that were whole are not encoded again"
        assert len(held(url)) == 40


def test_a_reader_during_syncs(source: Source, tmp_path: Path) -> None:
    """Every pass over the store sees one version: all samples of a pass have the number of the same round."""
    url = tmp_path / "x.store"
    for i in range(40):
        source.put(f"{i % 3}/{i}", 1000)
    synced(source, url)
    stop, rounds, errors = threading.Event(), set[int](), list[BaseException]()

    def read() -> None:
        try:
            while not stop.is_set():
                ds = latentstore.open(url, fields=["x"])
                found = {int(array[0]) for array in ds.read()["x"]}
                assert len(found) == 1 and len(ds) == 40, found
                rounds.update(found)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails with it
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        until(lambda: bool(rounds or errors))
        for number in range(1001, 1021):
            for i in range(40):
                source.put(f"{i % 3}/{i}", number)
            synced(source, url)
        until(lambda: bool(1020 in rounds or errors))
    finally:
        stop.set()
        reader.join()
    assert not errors, errors
    assert rounds >= {1000, 1020}


def test_only_shards_with_changes_are_written_again(source: Source, tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    files = list(found_files(source.root).items())
    for first in range(0, 40, 8):
        with Writer(url, FIELDS, resume=True) as writer:
            for name, (path, stamp) in files[first : first + 8]:
                values = {k: v[0] for k, v in source.encode([path]).items()}
                writer.write(name, values, identity(stamp, content_hash(path)))
    before = {shard["name"] for shard in latentstore.open(url).info["shards"]}
    assert len(before) == 5
    source.put("0/3", -1)
    dry = synced(source, url, dry_run=True)
    plan = synced(source, url)
    assert dry.copied == plan.copied and (plan.copied.rewritten, plan.copied.joined) == (1, 0)
    after = {shard["name"] for shard in latentstore.open(url).info["shards"]}
    assert len(after - before) == 2 and len(before - after) == 1 and held(url)["0/3"] == -1


def test_what_nobody_needs_is_removed(source: Source, tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    for number in range(4):
        source.put("0/3", number)
        synced(source, url)
    old = latentstore.open(url)
    dry = collect_garbage(url, keep=2, dry_run=True)
    assert (dry.kept, dry.versions) == ([3, 4], [1, 2]) and dry.bytes > 0 and len(list(url.rglob("*.json"))) == 5
    found = collect_garbage(url, keep=2)
    assert found == dry and not collect_garbage(url, keep=2).objects
    assert len(held(url)) == 40 and len(old) == 40
    collect_garbage(url)
    assert len(held(url)) == 40
    with pytest.raises(StoreError, match="no store with versions there"):
        collect_garbage(tmp_path / "nothing")


def test_what_else_lies_among_the_versions(source: Source, tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    for number in range(3):
        source.put("0/0", number)
        synced(source, url)
    for name in ("._000003.json", "x.json", "000009.json"):  # the last by a run that stopped before it had published
        (url / "versions" / name).write_bytes((url / "versions" / "000002.json").read_bytes())
    found = collect_garbage(url, keep=2)
    assert found.kept == [2, 3] and not (url / "versions" / "000009.json").exists()
    assert held(url)["0/0"] == 2 and not verify(str(url)).problems


def test_a_run_is_no_garbage(source: Source, tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    synced(source, url)
    with Writer(url, FIELDS, resume=True, shard_bytes=1) as writer:
        writer.write("z", {"x": np.zeros(8, np.int32)})
        with pytest.raises(StoreError, match="is being written by another run"):
            collect_garbage(url)
    assert len(held(url)) == 41


@pytest.mark.parametrize("source_of", [lambda p: p / "nothing", lambda p: {"a": p / "nothing"}])
def test_a_source_that_is_not_there(tmp_path: Path, source_of: Any) -> None:
    with pytest.raises(StoreError, match=r"nothing.*No such file"):
        latentstore.sync(source_of(tmp_path), tmp_path / "x.store", FIELDS, lambda paths: {})


def test_two_files_of_one_key(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_bytes(b"1")
    with pytest.raises(StoreError, match="would both have the key 'a'"):
        latentstore.sync(tmp_path, tmp_path / "x.store", FIELDS, lambda paths: {})


def test_latents_beside_tensors(tmp_path: Path) -> None:
    """`encode` gives the images of a field of latents; only what has changed is encoded."""
    fields = {"image": Latents(load_codec("rgb-f8c48"), 60), "x": Tensor("int32")}
    source, url = Source(tmp_path / "source"), tmp_path / "x.store"
    for i in range(12):
        source.put(f"{i}", i)

    def encode(paths: Sequence[Path]) -> dict[str, Any]:
        made = source.encode(paths)
        return {"image": [np.full((16, 24, 3), 10 * array[0], np.uint8) for array in made["x"]], **made}

    def colours() -> dict[str, float]:
        ds = latentstore.open(url)
        images = ds.decode(np.stack(ds.read()["image"]), (16, 24), decoder="linear")
        return dict(zip(ds.keys(), images.mean(axis=(1, 2, 3)).tolist(), strict=True))

    assert str(latentstore.sync(source.root, url, fields, encode)).startswith("0 unchanged; 0 changed, 12 new")
    assert colours() == pytest.approx({f"{i}": 10 * i for i in range(12)}, abs=3)
    source.put("3", 20)
    source.put("new", 21)
    (source.root / "5.txt").unlink()
    source.encoded.clear()
    plan = latentstore.sync(source.root, url, fields, encode, delete=True)
    assert sorted(source.encoded) == ["3", "new"] and (plan.unchanged, plan.gone, plan.version) == (10, ["5"], 2)
    want = {f"{i}": 10 * i for i in range(12) if i != 5} | {"3": 200, "new": 210}
    assert colours() == pytest.approx(want, abs=3) and verify(str(url)).problems == []
    source.put("4", 1)
    other = {**fields, "image": Latents(load_codec("rgb-f8c48"), 30)}
    plan = latentstore.sync(source.root, url, other, encode)
    assert plan.again is not None and plan.encodes == 12
    assert "was latents of rgb-f8c48 d9c283e95674 at quality 60, and is latents of rgb-f8c48 d9c283e95674" in plan.again
    assert latentstore.open(url).latents["image"].quality == 30


def test_fields_may_have_encoders_of_their_own(source: Source, tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    synced(source, url, encoder={"x": Encoder("a", scale=2)})
    assert latentstore.open(url).encoders == {"x": Encoder("a", scale=2)}
    assert not synced(source, url, encoder={"x": Encoder("a", scale=2)}).encodes
    assert synced(source, url, encoder={"x": Encoder("b")}).again is not None
    with pytest.raises(ArgumentError, match="an encoder is given for 'y', which is no tensor field"):
        synced(source, url, encoder={"y": Encoder("a")})


def test_other_fields_and_other_scales_encode_all_again(source: Source, tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    synced(source, url, encoder=Encoder("a"))
    plan = synced(source, url, encoder=Encoder("a", scale=2))
    assert plan.again is not None and "scale or shift" in plan.again
    assert latentstore.open(url).encoders["x"].scale == 2
    assert not synced(source, url, encoder=Encoder("a", scale=2)).encodes

    def encode(paths: Sequence[Path]) -> dict[str, Any]:
        return {**source.encode(paths), "name": [path.stem for path in paths]}

    plan = latentstore.sync(source.root, url, {**FIELDS, "name": str}, encode, encoder=Encoder("a", scale=2))
    assert plan.again == "the field 'name' was not there, and is str" and plan.encodes == 40
    assert latentstore.open(url)[3]["name"] == latentstore.open(url).keys()[3].rpartition("/")[2]


def test_a_store_inside_its_source(source: Source) -> None:
    url = source.root / "deep" / "x.store"
    url.parent.mkdir()
    assert synced(source, url).encodes == 40
    assert not synced(source, url).encodes and len(held(url)) == 40
    with pytest.raises(ArgumentError, match="is the source, or holds it"):
        synced(source, source.root)


def test_links(source: Source, tmp_path: Path) -> None:
    url, away = tmp_path / "x.store", Source(tmp_path / "disk")
    away.put("far", 5)
    (source.root / "there").symlink_to(away.root)
    (source.root / "one.txt").symlink_to(away.root / "far.txt")
    assert synced(source, url).encodes == 42
    away.root.rename(tmp_path / "moved")
    with pytest.raises(StoreError, match="is a link to nothing"):
        synced(source, url, delete=True)
    assert len(held(url)) == 42
    (tmp_path / "moved").rename(away.root)
    (source.root / "0" / "up").symlink_to("..")
    with pytest.raises(StoreError, match="is a link to a folder that holds it"):
        synced(source, url)


def test_a_name_that_is_not_utf8(source: Source, tmp_path: Path) -> None:
    try:
        (source.root / os.fsdecode(b"\xff.txt")).write_text("1")
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(StoreError, match="is not UTF-8: rename it"):
        synced(source, tmp_path / "x.store")
