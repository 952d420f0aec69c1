"""A store of tensors, read: samples, some fields only, and damage that is named."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import fsspec
import mixed_stores
import numpy as np
import pytest
from tensor_stores import ENCODER, FIELDS, assert_is, key, sample, write

import latentstore
from latentstore import ArgumentError, Encoder, LatentstoreError, Tensor, Writer
from latentstore.loaders import opening
from latentstore.loaders.faults.changed import ChangedError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.writing.tensors.gc import collect_garbage

COUNT = 60


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("tensors") / "x.store")
    write(url, range(COUNT), shard_bytes=4_000)
    return url


def opened(url: str, *fields: str, **options: Any) -> TensorDataset:
    return latentstore.open(url, fields=fields or list(FIELDS), **options)


def test_every_sample_comes_back(store: str) -> None:
    ds = opened(store)
    assert len(ds) == COUNT and len(ds.shard_starts) > 3 and ds.version == 1
    for number in (*range(COUNT), -1):
        found = ds[number]
        assert found.keys() == {"key", *FIELDS}
        assert_is(found, number % COUNT)


def test_samples_in_bulk(store: str) -> None:
    ds = opened(store)
    wanted = np.array([59, 0, 3, 3, 31])
    read = ds.read(wanted)
    for at, number in enumerate(wanted.tolist()):
        assert_is({name: arrays[at] for name, arrays in read.items()}, number)
    assert ds.keys(wanted) == [key(number) for number in wanted.tolist()]
    assert ds.fields(wanted)["label"].tolist() == [sample(n)["label"] for n in wanted.tolist()]
    assert ds.fields(wanted)["raw"] == [sample(n)["raw"] for n in wanted.tolist()]
    alike = ds.read_alike(wanted, ["latent", "text"])
    assert isinstance(alike["latent"], np.ndarray) and alike["latent"].shape == (5, 4, 8, 8)
    assert isinstance(alike["text"], list) and alike["text"][0].tobytes() == sample(59)["text"].tobytes()
    assert not ds.read(np.zeros(0, np.int64))["latent"]


@pytest.mark.parametrize("fields", [["tokens"], ["label"], ["text", "caption"], ["tokens", "latent"]])
def test_some_fields(store: str, fields: list[str]) -> None:
    ds = opened(store, *fields)
    assert ds[7].keys() == {"key", *fields}
    assert_is(ds[7], 7)


def test_bytes_of_other_fields_are_not_fetched(store: str, asked: list[Any], tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(store, "/tensors-some", recursive=True)
    try:
        ds = opened("memory://tensors-some", "tokens")
        ds[30]
        asked.clear()
        ds.read(np.arange(COUNT))
        got = sum(end - begin for _, begin, end in asked if "shards/" in _ and end is not None)
        own = sum(shard.fields[2] + shard.tail for shard in ds.reader.meta.shards)
        assert 0 < got <= own
    finally:
        memory.rm("/tensors-some", recursive=True)


def test_shards_in_memory(store: str) -> None:
    ds = opened(store, "tokens", "latent")
    shards = list(range(len(ds.shard_starts) - 1))
    sizes = ds.shard_bytes(shards)
    assert sizes == [shard.fields[0] + shard.fields[2] for shard in ds.reader.meta.shards]
    ds.load_shards(shards[:2])
    for number in (0, int(ds.shard_starts[1]), COUNT - 1):
        assert_is(ds[number], number)
    read = ds.read_alike(np.array([0, COUNT - 1, 1]), ["latent"])["latent"]
    assert read[1].tobytes() == sample(COUNT - 1)["latent"].tobytes()
    ds.drop_shards(shards)


def test_shapes(store: str) -> None:
    ds = opened(store)
    latent, text = ds.shapes("latent"), ds.shapes("text")
    assert latent is not None and latent.tolist() == [[4, 8, 8]]
    assert text is not None and text.tolist() == [[3 + n % 3, 16] for n in range(COUNT)]


def test_it_travels_to_other_processes(store: str) -> None:
    ds = pickle.loads(pickle.dumps(opened(store, "latent", "label")))
    assert ds[5].keys() == {"key", "latent", "label"}
    assert_is(ds[5], 5)


def test_the_encoder_is_asked_for(store: str) -> None:
    assert opened(store, encoder=ENCODER).encoders["latent"] == ENCODER
    with pytest.raises(LatentstoreError, match="is of the encoder 'noise', and 'other' is expected"):
        opened(store, encoder=Encoder("other"))


def test_fields_may_have_encoders_of_their_own(tmp_path: Path) -> None:
    each = {"a": Encoder("vae", scale=0.5), "b": Encoder("words")}
    fields = {"a": Tensor("float32"), "b": Tensor("float32"), "c": Tensor("float32")}
    with latentstore.Writer(tmp_path / "x", fields, encoder=each) as writer:
        writer.write("0", dict.fromkeys(fields, np.ones(3, np.float32)))
    assert latentstore.open(tmp_path / "x", encoder=each).encoders == each
    # of fields that are not opened nothing is asked
    assert list(latentstore.open(tmp_path / "x", fields=["a", "c"], encoder=each).encoders) == ["a"]
    with pytest.raises(ArgumentError, match=r"the field 'b' of .*x is of the encoder 'words', and 'vae' is expected"):
        latentstore.open(tmp_path / "x", encoder={"b": each["a"]})
    with pytest.raises(ArgumentError, match=r"the field 'c' of .* does not say which encoder made it"):
        latentstore.open(tmp_path / "x", encoder={"c": each["a"]})


@pytest.mark.parametrize(("options", "said"), [
    ({"fields": ["nothing"]}, "has no field 'nothing'; it has latent, text"), ({"channels": 3}, "choose its fields"),
    ({"encoder": "noise"}, "encoder is 'noise'; it is an Encoder"),
    ({"encoder": {"latent": "noise"}}, "it is an Encoder, or one for each field by its name"),
    ({"encoder": {"later": ENCODER}}, "given for 'later', which is no tensor field; latent, text, tokens are"),
])  # fmt: skip
def test_arguments_that_cannot_be_meant(store: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(LatentstoreError, match=said):
        latentstore.open(store, **options)


def test_a_blob_that_is_damaged(store: str, tmp_path: Path) -> None:
    copy = tmp_path / "x.store"
    shutil.copytree(store, copy)
    ds = opened(str(copy))
    shard = ds.reader.meta.shards[1]
    path = copy / layout.shard_name(shard.name)
    data = bytearray(path.read_bytes())
    data[10] ^= 1  # of the first field
    path.write_bytes(data)
    first = int(ds.shard_starts[1])
    with pytest.raises(LatentstoreError, match=f"{shard.name}, '{key(first)}' .sample {first}., field 'latent'"):
        opened(str(copy))[first]
    assert_is(opened(str(copy), "tokens", "text")[first], first)


def test_a_tail_that_is_damaged(store: str, tmp_path: Path) -> None:
    copy = tmp_path / "x.store"
    shutil.copytree(store, copy)
    shard = opened(str(copy)).reader.meta.shards[0]
    path = copy / layout.shard_name(shard.name)
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    path.write_bytes(data)
    with pytest.raises(LatentstoreError, match=f"{shard.name}: the index at its end is damaged"):
        opened(str(copy))[0]


def test_a_coder_that_is_damaged(store: str, tmp_path: Path) -> None:
    copy = tmp_path / "x.store"
    shutil.copytree(store, copy)
    path = next((copy / layout.CODERS).iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(LatentstoreError, match="SHA-256 is another one"):
        opened(str(copy))


def test_what_else_there_may_be(tmp_path: Path) -> None:
    with pytest.raises(LatentstoreError, match="no latentstore store there"):
        opened(str(tmp_path / "nothing"), "latent")


# ---- versions that are collected


@pytest.mark.parametrize("latents", [False, True])
def test_a_version_that_was_collected(tmp_path: Path, latents: bool) -> None:
    """Whatever is asked of it, the error says that it was replaced; nothing says only that an object is missing."""
    url = str(tmp_path / "x.store")
    make = mixed_stores.write if latents else write
    make(url, range(6))
    asked: list[Any] = [
        lambda ds: ds.keys(), lambda ds: ds.fields(), lambda ds: ds.values(np.arange(2)), lambda ds: ds[1],
        lambda ds: ds.read(np.arange(3)), lambda ds: [ds.shapes(name) for name in ds.reader.names],
        lambda ds: ds.load_shards([0]), lambda ds: ds.shard_bytes([0]), lambda ds: ds.where(0),
    ]  # fmt: skip
    opened = [latentstore.open(url) for _ in asked]
    make(url, range(6), overwrite=True)
    collect_garbage(url)
    for ds, ask in zip(opened, asked, strict=True):
        with pytest.raises(ChangedError, match=r"x\.store was replaced while it was being read: open it again"):
            ask(ds)


def test_a_loader_of_a_version_that_was_collected(tmp_path: Path) -> None:
    from torch_or_skip import torch

    from latentstore.loaders import LatentLoader

    url = str(tmp_path / "x.store")
    write(url, range(6))
    loader = LatentLoader(latentstore.open(url), batch_size=2, output="latents", dtype=torch.float32)
    write(url, range(6), overwrite=True)
    collect_garbage(url)
    with pytest.raises(ChangedError, match=r"x\.store was replaced while it was being read: open it again"):
        next(iter(loader))


def test_a_version_that_is_collected_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path / "x.store")
    write(url, range(6))
    old = opening.read_manifest(Location(url))
    other = {"y": Tensor("float32", "step")}
    with Writer(url, other, overwrite=True) as writer:
        writer.write("a", {"y": np.ones((2, 3), np.float32)})
    collect_garbage(url)
    monkeypatch.setattr(opening, "read_manifest", lambda location: old)
    with pytest.raises(ChangedError, match="was replaced while it was being read: open it again"):
        latentstore.open(url)
