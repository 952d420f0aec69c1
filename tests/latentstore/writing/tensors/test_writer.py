"""`latentstore.Writer`: what goes in comes back; errors; resuming; adding; ranks that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensor_stores
import write_ranks
from tensor_stores import ENCODER, FIELDS, assert_is, key, sample, write

import latentstore
from latentstore import ArgumentError, Encoder, StoreError, Tensor, Writer
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.writing.tensors import session
from latentstore.writing.tensors.session import Session

ONE = {"x": Tensor("float32")}


def test_nothing_is_visible_before_the_end(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    with Writer(url, ONE, shard_bytes=1000) as writer:
        for i in range(200):
            writer.write(f"{i}", {"x": np.full((16,), i, np.float32)})
        with pytest.raises(StoreError, match="is not finished"):
            latentstore.open(url)
    assert len(latentstore.open(url)) == 200
    assert not Path(f"{url}.partial").exists()


@pytest.mark.parametrize("published", [False, True])
def test_the_order_of_fields_is_that_of_the_store(published: bool, tmp_path: Path) -> None:
    """A writer that goes on may name them in another order; blobs lie in the order of the first."""
    url, turned = tmp_path / "x.store", dict(reversed(FIELDS.items()))
    if published:
        write(url, range(20), 3000)
    else:
        with pytest.raises(ZeroDivisionError), Writer(url, FIELDS, encoder=ENCODER, shard_bytes=3000) as writer:
            for number in range(20):
                writer.write(key(number), sample(number))
            raise ZeroDivisionError
    with Writer(url, turned, encoder=ENCODER, resume=True) as writer:
        assert list(writer.fields) == list(FIELDS)
        for number in range(30):
            writer.write(key(number), sample(number))
    ds = latentstore.open(url)
    assert len(ds) == 30
    for i in range(30):
        assert_is(ds[i], int(ds[i]["key"][-4:]))


def test_an_error_leaves_nothing_published_and_resuming_goes_on(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    with pytest.raises(ZeroDivisionError), Writer(url, FIELDS, encoder=ENCODER, shard_bytes=3000) as writer:
        for number in range(40):
            writer.write(key(number), sample(number))
        raise ZeroDivisionError
    with pytest.raises(StoreError, match="is not finished"):
        latentstore.open(url)
    with pytest.raises(StoreError, match="begun and not finished: resume it") as caught:
        Writer(url, FIELDS, encoder=ENCODER)
    assert caught.value.remedy == "resume"
    keys = [key(number) for number in range(50)]
    with Writer(url, FIELDS, encoder=ENCODER, resume=True, shard_bytes=3000) as writer:
        left = writer.missing(keys)
        assert 10 <= len(left) < 50, "some shards were whole, and what was not in one is asked for again"
        for number, name in enumerate(keys):
            assert writer.write(name, sample(number)) == (name in left)
        assert writer.missing(keys) == writer.missing(dict.fromkeys(keys)) == writer.missing(iter(keys)) == []
    ds = latentstore.open(url)
    assert sorted(ds.keys()) == keys
    for i in range(len(ds)):
        assert_is(ds[i], int(ds[i]["key"][-4:]))


def test_samples_are_added_as_a_new_version(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    write(url, range(20))
    old = latentstore.open(url)
    write(url, range(25), resume=True)
    new = latentstore.open(url)
    assert (old.version, len(old), new.version, len(new)) == (1, 20, 2, 25)
    for ds in (old, new):
        for i in range(len(ds)):
            assert_is(ds[i], i)
    write(url, range(25), resume=True)
    assert latentstore.open(url).version == 2, "without anything new there is no new version"


def test_overwriting_disturbs_no_reader(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    write(url, range(10))
    old = latentstore.open(url)
    with pytest.raises(StoreError, match="already exists: resume it to add samples, overwrite it") as caught:
        write(url, range(5))
    assert caught.value.remedy == "overwrite"
    write(url, range(5), overwrite=True)
    assert len(latentstore.open(url)) == 5
    for i in range(10):
        assert_is(old[i], i)


def test_a_sample_whose_source_has_changed_is_replaced(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    with Writer(url, ONE, shard_bytes=100) as writer:
        for i in range(30):
            writer.write(f"{i}", {"x": np.full((4,), i, np.float32)}, source=f"old {i}")
    shards = {path.name for path in (url / "shards").iterdir()}
    with Writer(url, ONE, resume=True, shard_bytes=100) as writer:
        assert writer.stale({"3": "old 3", "4": "new 4", "z": "z"}) == ["4", "z"]
        assert not writer.write("3", {"x": np.zeros(4, np.float32)}, source="old 3")
        assert writer.write("4", {"x": np.full((4,), -4, np.float32)}, source="new 4")
        writer.drop(["5", "nothing"])
    ds = latentstore.open(url)
    found = {ds[i]["key"]: float(ds[i]["x"][0]) for i in range(len(ds))}
    assert found == {f"{i}": float(i) for i in range(30) if i != 5} | {"4": -4.0}
    kept = {shard["name"] for shard in ds.info["shards"]} & shards
    assert len(kept) >= len(shards) - 2, "only shards with a sample that went were written again"


def test_batches_and_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    fields = {"x": Tensor(torch.bfloat16), "label": int}
    values = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    with Writer(tmp_path / "x.store", fields) as writer:
        assert writer.write_batch(list("abcdef"), {"x": values, "label": torch.arange(6)}) == 6
        values.zero_()  # what was given is copied
    ds = latentstore.open(tmp_path / "x.store")
    again = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    for i in range(6):
        assert ds[i]["x"].dtype == ml_dtypes.bfloat16 and ds[i]["label"] == i
        assert torch.equal(torch.from_numpy(ds[i]["x"].view(np.int16)).view(torch.bfloat16), again[i])


@pytest.mark.parametrize(("values", "said"), [
    ({"x": np.zeros(3, np.float64), "n": 1, "t": "a"}, "field 'x' is float64; float32 is declared"),
    ({"x": [1.0], "n": 1, "t": "a"}, "field 'x' is list"),
    ({"x": np.zeros(3, np.float32), "n": 1.5, "t": "a"}, "field 'n' is 1.5; int is declared"),
    ({"x": np.zeros(3, np.float32), "n": True, "t": "a"}, "field 'n' is True; int is declared"),
    ({"x": np.zeros(3, np.float32), "n": 1 << 63, "t": "a"}, "field 'n' is"),
    ({"x": np.zeros(3, np.float32), "n": 1, "t": b"a"}, "field 't' is b'a'; str is declared"),
    ({"x": np.zeros(3, np.float32), "n": 1, "t": "\ud800"}, "no valid Unicode"),
    ({"x": np.zeros(3, np.float32), "n": 1}, "t is too much or missing"),
    ({"x": np.zeros(3, np.float32), "n": 1, "t": "a", "z": 1}, "z is too much or missing"),
])  # fmt: skip
def test_samples_that_do_not_fit(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    with Writer(tmp_path / "x.store", {**ONE, "n": int, "t": str}) as writer:
        writer.write("good", {"x": np.zeros(3, np.float32), "n": 1, "t": "a"})
        with pytest.raises(ArgumentError, match=f"sample 'bad'.*{said}"):
            writer.write("bad", values)
    assert latentstore.open(tmp_path / "x.store").keys() == ["good"]


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", 3, None, "x" * 5000])
def test_keys_that_cannot_be(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ArgumentError, match="key"), Writer(tmp_path / "x.store", ONE) as writer:
        writer.write(name, {"x": np.zeros(3, np.float32)})
    assert not Path(f"{tmp_path}/x.store.partial").exists(), "there is nothing to go on with"


def test_a_key_twice(tmp_path: Path) -> None:
    with Writer(tmp_path / "x.store", ONE) as writer:
        writer.write("a", {"x": np.zeros(3, np.float32)})
        with pytest.raises(ArgumentError, match="the key 'a' is written twice"):
            writer.write("a", {"x": np.zeros(3, np.float32)})


def test_nothing_of_an_earlier_run_is_taken_up(tmp_path: Path) -> None:
    """Not even the coder of a field that is called like a lock."""
    url = tmp_path / "x.store"
    for dtype in (np.float32, np.int8):
        with Writer(url, {"lock": Tensor(dtype)}, overwrite=True) as writer:
            writer.write("a", {"lock": np.ones(3, dtype)})
        assert latentstore.open(url)[0]["lock"].dtype == dtype


def test_not_one_sample(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not one sample was written"), Writer(tmp_path / "x.store", ONE):
        pass


@pytest.mark.parametrize(("fields", "encoder", "said"), [
    ({**FIELDS, "latent": Tensor("float32")}, ENCODER, "other fields .'latent' was .*float16.*now .*float32"),
    ({name: value for name, value in FIELDS.items() if name != "raw"}, ENCODER, "'raw' was bytes, now not there"),
    (FIELDS, Encoder("other"), "begun with the encoder 'noise', and now there is 'other'"),
    (FIELDS, None, "begun with the encoder 'noise', and now there is none"),
])  # fmt: skip
@pytest.mark.parametrize("published", [False, True])
def test_other_fields_or_another_encoder(tmp_path: Path, fields: Any, encoder: Any, said: str, published: bool) -> None:
    url = tmp_path / "x.store"
    if published:
        write(url, range(3))
    else:
        with pytest.raises(ZeroDivisionError), Writer(url, FIELDS, encoder=ENCODER, shard_bytes=1) as writer:
            for number in range(12):  # more than may wait to be coded, so that a shard is written
                writer.write(key(number), sample(number))
            raise ZeroDivisionError
    with pytest.raises(StoreError, match=said):
        Writer(url, fields, encoder=encoder, resume=True)


def test_two_writers_at_once(tmp_path: Path) -> None:
    with Writer(tmp_path / "x.store", ONE) as writer:
        with pytest.raises(StoreError, match="is being written by another run"):
            Writer(tmp_path / "x.store", ONE, resume=True)
        writer.write("a", {"x": np.zeros(3, np.float32)})


def test_a_store_of_another_kind_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(StoreError, match="a store of another kind"):
        Writer(tmp_path / "x.zarr", ONE, overwrite=True)
    assert (tmp_path / "x.zarr" / "zarr.json").read_text() == "{}"


def test_a_coder_that_is_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = [rng.normal(0, 1, (4, 4)).astype(np.float32) for _ in range(20)]
    coder = TensorCoder.fit(ONE["x"], samples)
    (tmp_path / "coder").write_bytes(coder.to_bytes())
    for number, given in enumerate((coder, tmp_path / "coder")):
        url = tmp_path / f"{number}.store"
        with Writer(url, ONE, coders={"x": given}) as writer:
            writer.write("a", {"x": samples[0]})
        assert latentstore.open(url, fields=["x"]).coders["x"].sha256 == coder.sha256
    with pytest.raises(ArgumentError, match="the coder that is given for 'x' is for"):
        Writer(tmp_path / "y", {"x": Tensor("float16")}, coders={"x": coder})
    with pytest.raises(ArgumentError, match="which is no tensor field"):
        Writer(tmp_path / "y", ONE, coders={"y": coder})


def test_with_coders_that_are_given_shards_fill_from_the_first_sample_on(tmp_path: Path) -> None:
    url, keys = tmp_path / "x.store", [key(number) for number in range(20)]
    rng = np.random.default_rng(0)
    samples = [rng.normal(0, 1, (32, 32)).astype(np.float32) for _ in keys]  # too few to fit a coder to
    coder = TensorCoder.fit(ONE["x"], samples)
    with pytest.raises(ZeroDivisionError), Writer(url, ONE, coders={"x": coder}, shard_bytes=30_000) as writer:
        for name, one in zip(keys, samples, strict=True):
            writer.write(name, {"x": one})
        raise ZeroDivisionError
    left = tmp_path / "x.store.partial" / "tmp" / f".{next((url / 'shards').iterdir()).name[:-6]}000099.1.2.3.tmp"
    left.parent.mkdir()
    left.write_bytes(b"begun by a run that was killed")
    with Writer(url, ONE, resume=True) as writer:
        assert not left.exists()
        assert 0 < len(writer.missing(keys)) < len(keys)
        for name, one in zip(keys, samples, strict=True):
            writer.write(name, {"x": one})
    ds = latentstore.open(url, fields=["x"])
    for i, name in enumerate(ds.keys()):
        assert (ds[i]["x"] == samples[keys.index(name)]).all()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentstore.loaders.remote.location import Location

    write(tmp_path / "x.store", range(3))
    plain = Location.write

    def full(self: Location, name: str, parts: Any) -> None:
        if name.startswith("shards/"):
            raise StoreError(f"{self.at(name)}: could not be written: No space left on device")
        plain(self, name, parts)

    monkeypatch.setattr(Location, "write", full)
    with pytest.raises(StoreError, match="No space left"):
        write(tmp_path / "x.store", range(6), resume=True)
    monkeypatch.undo()
    assert len(latentstore.open(tmp_path / "x.store")) == 3
    write(tmp_path / "x.store", range(6), resume=True)
    assert len(latentstore.open(tmp_path / "x.store")) == 6


def test_on_an_object_store(s3_options: dict[str, Any]) -> None:
    url, options = "s3://bucket/tensors.store", s3_options
    write(url, range(8), shard_bytes=4000, storage_options=options)
    write(url, range(12), shard_bytes=4000, resume=True, storage_options=options)
    ds = latentstore.open(url, fields=list(FIELDS), storage_options=options)
    assert len(ds) == 12 and ds.version == 2
    for i in range(12):
        assert_is(ds[i], i)


# ---- ranks


def _start(url: Path, rank: int, ranks: int, samples: int, gate: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, write_ranks.__file__, url, rank, ranks, samples, gate]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_ranks_that_are_killed(tmp_path: Path) -> None:
    """Each of three ranks is killed once while it writes and started again; the store is as if nothing had happened."""
    url, samples, ranks, gate = tmp_path / "x.store", 240, 3, tmp_path / "gate"
    running = {rank: _start(url, rank, ranks, samples, gate) for rank in range(ranks)}
    for rank in range(ranks):
        for _ in range(10 + 20 * rank):
            assert running[rank].stdout.readline(), running[rank].stderr.read()  # type: ignore[union-attr]
        running[rank].kill()
        running[rank].communicate()
        assert running[rank].returncode == -signal.SIGKILL
        running[rank] = _start(url, rank, ranks, samples, gate)
    gate.touch()
    for process in running.values():
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said.decode()
    ds = latentstore.open(url)
    assert sorted(ds.keys()) == [f"{n:05d}" for n in range(samples)]
    for i in range(samples):
        found = ds[i]
        expected = write_ranks.sample(int(found["key"]))
        assert (found["latent"] == expected["latent"]).all() and (found["tokens"] == expected["tokens"]).all()
        assert found["label"] == expected["label"]
    assert not Path(f"{url}.partial").exists()


@pytest.mark.parametrize("tidied", [False, True])
def test_the_first_rank_is_killed_after_it_has_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tidied: bool
) -> None:
    """The other one has ended. So the first one, started again, has nothing to do, and waits for nobody for long."""
    import threading

    url, wipe = tmp_path / "x.store", Session.wipe

    class Killed(BaseException):
        pass

    def killed(self: Session) -> None:
        if tidied:
            wipe(self)
        raise Killed

    def other() -> None:
        with Writer(url, ONE, rank=1, world_size=2) as writer:
            writer.write("b", {"x": np.ones(3, np.float32)})

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    with pytest.raises(Killed), Writer(url, ONE, rank=0, world_size=2) as writer:
        writer.write("a", {"x": np.zeros(3, np.float32)})
        monkeypatch.setattr(Session, "wipe", killed)
    monkeypatch.setattr(Session, "wipe", wipe)
    thread.join(300)
    monkeypatch.setattr(session, "START_SECONDS", 1.0)
    with Writer(url, ONE, resume=True, rank=0, world_size=2) as writer:
        assert writer.missing(["a", "b"]) == []
        if not tidied:
            with pytest.raises(StoreError, match="was published while rank 0 was not running, and 'c' is not in it"):
                writer.write("c", {"x": np.zeros(3, np.float32)})
    assert sorted(latentstore.open(url).keys()) == ["a", "b"] and not Path(f"{url}.partial").exists()


@pytest.mark.parametrize("source", ["", "as rank {} has read it"])
def test_a_key_that_two_ranks_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    import threading

    url = tmp_path / "x.store"
    errors: dict[int, BaseException] = {}
    # once both have begun, they wait for each other no longer than this
    begun = threading.Barrier(2, lambda: monkeypatch.setattr(session, "START_SECONDS", 1.0))

    def run(rank: int) -> None:
        try:
            with Writer(url, ONE, rank=rank, world_size=2) as writer:
                begun.wait(300)  # else the second one would find the key written
                writer.write(f"own {rank}", {"x": np.zeros(3, np.float32)})
                writer.write("both", {"x": np.zeros(3, np.float32)}, source.format(rank))
        except StoreError as error:
            errors[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert "the key 'both' was written twice" in str(errors[0])
    assert "rank 1 waited for rank 0 to publish, and that does not run any more" in str(errors[1])


def test_the_fields_of_the_tests_are_of_every_kind() -> None:
    assert {type(value) if isinstance(value, Tensor) else value for value in tensor_stores.FIELDS.values()} == {
        Tensor, int, float, str, bytes
    }  # fmt: skip


def test_arrays_are_copied_to_memory_that_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks, of arrays of any size, which their owner writes over as soon as they are taken."""
    monkeypatch.setattr("latentstore.writing.tensors.writer.CHUNK_BYTES", 4096)
    monkeypatch.setattr("latentstore.writing.tensors.writer.FIT_SAMPLES", 20)
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 99, rng.integers(0, 40, rng.integers(0, 3))).astype(np.int16) for _ in range(400)]
    arrays[7] = arrays[300] = rng.integers(0, 99, (50, 60)).astype(np.int16)  # larger than a chunk
    halves = [rng.normal(size=n).astype(ml_dtypes.bfloat16) for n in range(400)]
    fields = {"x": Tensor("int16"), "y": Tensor("bfloat16")}
    with Writer(tmp_path / "s", fields, shard_bytes=20_000) as writer:
        for number, (x, y) in enumerate(zip(arrays, halves, strict=True)):
            given = {"x": x.copy(), "y": y.copy()}
            writer.write(f"{number:03d}", given)
            for array in given.values():
                array.fill(1)
    ds = latentstore.open(tmp_path / "s")
    read, order = ds.read(), list(map(int, ds.keys()))
    for name, written in (("x", arrays), ("y", halves)):
        for number, array in zip(order, read[name], strict=True):
            assert array.shape == written[number].shape and array.tobytes() == written[number].tobytes()
