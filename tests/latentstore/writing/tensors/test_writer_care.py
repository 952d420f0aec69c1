"""`latentstore.Writer`: nothing is lost, mixed up or taken for something else, whatever the caller does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore import ArgumentError, StoreError, Tensor, Writer
from latentstore.writing.tensors import checks
from latentstore.writing.tensors.pending import Pending

TWO = {"a": Tensor("float32"), "b": Tensor("float32"), "label": int, "caption": str}
TURNED = dict(reversed(TWO.items()))


def _sample(number: int) -> dict[str, Any]:
    a = np.full((4, 4), number, np.float32)
    return {"a": a, "b": -a - 1, "label": number, "caption": f"{number}"}


@pytest.mark.parametrize("killed", [False, True])
def test_the_same_fields_in_another_order(tmp_path: Path, killed: bool) -> None:
    url = tmp_path / "x.store"
    try:
        with Writer(url, TWO, shard_bytes=200) as writer:
            for number in range(20):
                writer.write(f"{number}", _sample(number))
            if killed:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert any((url / "shards").iterdir())
    with Writer(url, TURNED, resume=True) as writer:
        for number in range(30):
            writer.write(f"{number}", _sample(number))
    ds = latentstore.open(url)
    assert len(ds) == 30
    assert list(ds.tensors) == ["a", "b"]
    for found in ds:
        expected = _sample(int(found["key"]))
        assert all(np.array_equal(found[name], expected[name]) for name in TWO)


ONE = {"x": Tensor("float32")}
X = np.zeros(3, np.float32)


def _floats(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(4, 128, 160)).astype(np.float32)


def _codes(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 300, (2, 100000)).astype(np.int16)


@pytest.mark.parametrize(
    ("tensor", "made", "bad", "said"),
    [
        (Tensor("float32", "step", snr=20), _floats, lambda a: a[:3], "does not have 4 channels"),
        (Tensor("float32", "step", snr=20), _floats, lambda a: a + np.float32(1e30), "2\\^31 or more times"),
        (Tensor("bfloat16", "step", snr=20), _floats, lambda a: a + np.float32(1e30), "2\\^31 or more times"),
        (Tensor("int16", "codes", vocabulary=300), _codes, lambda a: a + np.int16(1), "is not in 0 to 299"),
        (Tensor("int16", "codes", vocabulary=[300, 300]), _codes, lambda a: a[:1], "2 codebooks are declared"),
    ],
)
def test_a_sample_that_cannot_be_coded_is_refused_at_once(
    tmp_path: Path, tensor: Tensor, made: Any, bad: Any, said: str
) -> None:
    url, numbers = tmp_path / "x.store", [*range(6), *range(150, 170)]
    with Writer(url, {"x": tensor}, shard_bytes=1 << 19) as writer:  # so that coders are fitted early
        for number in numbers:
            writer.write(f"{number}", {"x": made(number).astype(tensor.values)})
        with pytest.raises(ArgumentError, match=f"sample 'bad', field 'x': .*{said}"):
            writer.write("bad", {"x": bad(made(0)).astype(tensor.values)})
    assert latentstore.open(url).keys() == [f"{number}" for number in numbers]


def test_a_writer_that_may_have_lost_samples_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, coded = tmp_path / "x.store", Pending.coded

    def interrupted(self: Pending, every: bool) -> Any:
        coded(self, every)
        raise KeyboardInterrupt

    writer = Writer(url, ONE, shard_bytes=64)
    monkeypatch.setattr(Pending, "coded", interrupted)
    with pytest.raises(KeyboardInterrupt):
        for number in range(1000):
            writer.write(f"{number}", {"x": X})
    monkeypatch.undo()
    for again in (lambda: writer.write("more", {"x": X}), writer.close):
        with pytest.raises(StoreError, match="has stopped by an error, and nothing is published"):
            again()
    assert not (url / "tensors.json").exists()
    with Writer(url, ONE, resume=True) as writer:
        for number in range(1000):
            writer.write(f"{number}", {"x": X})
    assert len(latentstore.open(url)) == 1000


def test_a_process_that_was_forked_writes_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "x.store", ONE)
    own, writer._process = writer._process, -1
    with pytest.raises(StoreError, match="make a writer in each process"):
        writer.write("a", {"x": X})
    writer._process = own
    writer.write("a", {"x": X})
    writer.close()
    assert len(latentstore.open(tmp_path / "x.store")) == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros(3), "float64; float32 is declared: convert it\\.$"),
        (np.zeros(3, np.float16), "convert it, or declare float16"),
        (np.ma.array(X, mask=[1, 0, 0]), "a mask is not stored"),
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said), Writer(tmp_path / "x.store", ONE) as writer:
        writer.write("a", {"x": value})


def test_what_no_coder_can_be_fitted_to_is_named(tmp_path: Path) -> None:
    fields = {"x": Tensor("float32", "step")}
    writer = Writer(tmp_path / "x.store", fields)
    writer.write("a", {"x": np.ones((4, 2), np.float32)})
    writer.write("b", {"x": np.ones((3, 2), np.float32)})
    with pytest.raises(ArgumentError, match="sample 'b', field 'x': Sample 1 has 3 channels"):
        writer.close()
    writer = Writer(tmp_path / "y.store", fields)
    writer.write("a", {"x": np.float32(3)})
    with pytest.raises(ArgumentError, match="field 'x': channel_axis is 0"):
        writer.close()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda w: w.write("a", None), "sample 'a' is None; a dict"),
        (lambda w: w.write("a", {"x": X}, source=5), "source of the sample 'a' is 5; it is text"),
        (lambda w: w.write("a", {"x": X}, source="\ud800"), "is no valid Unicode"),
        (lambda w: w.write_batch("ab", {"x": [X, X]}), "keys is 'ab'; it is a list"),
        (lambda w: w.write_batch(["a"], None), "values is None"),
        (lambda w: w.write_batch(["a"], {"x": 3}), "field 'x' has 3 in place of values for 1 keys"),
        (lambda w: w.write_batch(["a", "b"], {"x": [X, X]}, ["1"]), "sources has 1 values for 2 keys"),
        (lambda w: w.missing("abc"), "keys is 'abc'"),
        (lambda w: w.drop("abc"), "keys is 'abc'"),
    ],
)
def test_arguments_that_cannot_be_meant(tmp_path: Path, call: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said), Writer(tmp_path / "x.store", ONE) as writer:
        call(writer)


def test_a_number_beyond_all_floats(tmp_path: Path) -> None:
    fields = {**ONE, "f": float}
    with pytest.raises(ArgumentError, match="float is declared"), Writer(tmp_path / "x.store", fields) as writer:
        writer.write("a", {"x": X, "f": 10**400})


def test_a_sample_is_written_again_after_it_was_left_out(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    with Writer(url, ONE) as writer:
        writer.write_batch(["a", "b"], {"x": [X, X]})
    with Writer(url, ONE, resume=True) as writer:
        writer.drop(["a", "b"])
        assert writer.missing(["a", "b", "c"]) == ["a", "b", "c"]
        assert writer.write("a", {"x": X + 1})
    ds = latentstore.open(url)
    assert ds.keys() == ["a"]
    assert ds[0]["x"].tolist() == [1, 1, 1]


def test_shards_are_cut_by_text_and_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, fields = tmp_path / "x.store", {**ONE, "image": bytes, "caption": str}
    with Writer(url, fields, shard_bytes=1 << 20) as writer:
        for number in range(30):
            writer.write(f"{number}", {"x": X, "image": bytes([number]) * 100_000, "caption": f"{number:06d}" * 10_000})
        monkeypatch.setattr(checks, "MOST_BYTES", 1000)
        with pytest.raises(ArgumentError, match="field 'image' has 1001 bytes; at most 1000 are stored"):
            writer.write("long", {"x": X, "image": bytes(1001), "caption": ""})
    ds = latentstore.open(url)
    assert [ds[i]["image"][0] for i in range(30)] == list(range(30))
    assert len(ds.reader.meta.shards) == 5
    assert max(shard.tail for shard in ds.reader.meta.shards) < 1_500_000


def test_a_run_without_a_sample_leaves_nothing_behind(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    with pytest.raises(StoreError, match="not one sample was written"), Writer(url, ONE):
        pass
    assert not url.exists() and not Path(f"{url}.partial").exists()
    with Writer(url, ONE) as writer:
        writer.write("a", {"x": X})


def test_a_bucket_that_is_not_there(s3_options: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match=r"s3://nothing/x\.store cannot be written: there is no such bucket"):
        Writer("s3://nothing/x.store", ONE, storage_options=s3_options)


def test_a_name_that_could_not_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="names a tar, and this store is a folder"):
        Writer(tmp_path / "x.tar", ONE)
    assert not any(tmp_path.iterdir())


def test_what_differs_of_a_field_is_said(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    with Writer(url, {"x": Tensor("float32", "step", snr=30)}) as writer:
        writer.write("a", {"x": np.ones((2, 2), np.float32)})
    with pytest.raises(StoreError, match=r"'x' was snr=30\.0, now snr=31\.0"):
        Writer(url, {"x": Tensor("float32", "step", snr=31)}, resume=True)
