"""WebDataset stores: tars that anyone reads, their indexes, plain `webdataset` pipelines."""

from __future__ import annotations

import gc
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore.codecs.bitstream.sample import split_sample
from latentstore.codecs.errors import ArgumentError, CorruptError, StoreError
from latentstore.loaders.webdataset import layout as wds_layout
from latentstore.writing import Sample, StoreSpec, open_writer

SIZE = (40, 56)


def _members(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as file:
        return {m.name: file.extractfile(m).read() for m in file}  # type: ignore[union-attr]


def test_tars_hold_samples_as_others_expect(make_store: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path, "wds-fixed")
    names = sorted(p.name for p in Path(store.url).iterdir())
    tars = [f"data-{i:06d}" for i in range(3)]
    assert names == [
        "artifact.safetensors",
        *(f"{t}.{e}" for t in tars for e in ("idx", "tar")),
        "latentstore.json",
    ]
    members = _members(Path(store.url) / "data-000001.tar")
    assert list(members)[:5] == [f"a b/é 0008.{e}" for e in ("latent", "cls", "mask", "txt", "json")]
    key = store.keys[9]
    assert members[f"{key}.cls"] == b"0" and members[f"{key}.txt"].decode() == store.fields[9]["txt"]
    assert json.loads(members[f"{key}.json"]) == {"score": 4.5}
    assert members[f"{key}.mask"] == store.fields[9]["mask"]
    info = split_sample(members[f"{key}.latent"])
    assert (info.height, info.width) == SIZE


def test_tars_are_deterministic_and_anonymous(make_store: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path, "wds-native")
    with tarfile.open(Path(store.url) / "data-000000.tar") as file:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in file} == {(0, 0, 0, "", "", 0o644)}


# webdataset leaves its open tars to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_plain_webdataset_pipeline(codec: Any, make_store: Any, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    from latentstore.loaders import wds_handler

    store = make_store(tmp_path, "wds-native")
    urls = [str(p) for p in sorted(Path(store.url).glob("*.tar"))]
    pipeline = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode(wds_handler(codec, 12))
    got = list(pipeline)
    assert [s["__key__"] for s in got] == store.keys
    for sample, latent, fields in zip(got, store.latents, store.fields, strict=True):
        assert np.array_equal(sample["latent"], latent[:12])
        assert sample["cls"] == fields["label"] and sample["txt"] == fields["txt"]
    del pipeline
    gc.collect()


@pytest.mark.parametrize("pattern", ["{000000..}", "{000000..000099}"])
def test_pattern_names_the_tars(codec: Any, make_samples: Any, tmp_path: Path, pattern: str) -> None:
    target = f"{tmp_path}/new folder/train-{pattern}.tar"
    spec = StoreSpec.of(codec, size=SIZE, shard_samples=4, source="")
    writer = open_writer(target, spec)
    for i in range(2):
        writer.write_shard(i, make_samples(4, SIZE, 4 * i)[0])
    writer.finish(2)
    assert (tmp_path / "new folder" / "train-000001.tar").exists()
    folder = f"{tmp_path}/new folder"
    for url in (target, folder, f"{folder}/", f"{folder}/latentstore.json"):
        assert len(latentstore.open(url)) == 8


def test_odd_patterns_are_refused() -> None:
    for target in ("a/x.tar", "a/-{000000..}.tar", "a/x-000000.tar"):
        with pytest.raises(ArgumentError, match="pattern of tars looks like"):
            wds_layout.split_target(target)
    assert wds_layout.split_target("x-{0..}.tar") == (".", "x")
    assert wds_layout.split_target("s3://b/p/x-{000000..}.tar") == ("s3://b/p", "x")


def test_keys_with_dots_are_refused(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    sample = make_samples(1, SIZE)[0][0]
    writer = open_writer(f"{tmp_path}/x", StoreSpec.of(codec, size=SIZE, shard_samples=4, source=""), format="wds")
    for key in ("a/b.c", "a/", ""):
        with pytest.raises(ArgumentError, match="the last part of a key has no dots"):
            writer.write_shard(0, [Sample(key, sample.groups, sample.width, sample.height)])
    long = "dir.with.dots/" + "é" * 200
    writer.write_shard(0, [Sample(long, sample.groups, sample.width, sample.height)])
    writer.finish(1)
    assert latentstore.open(f"{tmp_path}/x")[0]["key"] == long


def test_json_field_keeps_its_own_member(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    sample = make_samples(1, SIZE)[0][0]
    fields = {"json": '{"a": [1, 2]}', "score": 2, "cls": "tabby", "label": 5}
    writer = open_writer(f"{tmp_path}/x", StoreSpec.of(codec, size=SIZE, shard_samples=4, source=""), format="wds")
    writer.write_shard(0, [Sample("k", sample.groups, sample.width, sample.height, fields)])
    writer.finish(1)
    members = _members(tmp_path / "x" / "data-000000.tar")
    assert members["k.json"] == b'{"a": [1, 2]}' and members["k.cls"] == b"tabby"
    assert json.loads(members["k.fields.json"]) == {"label": 5, "score": 2}
    got = latentstore.open(f"{tmp_path}/x")[0]
    assert {name: got[name] for name in fields} == fields


def test_every_changed_byte_of_an_index_is_seen(make_store: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path, "wds-native", counts=(2,))
    index = Path(store.url) / "data-000000.idx"
    good = index.read_bytes()
    for at in range(0, len(good), 7):
        bad = bytearray(good)
        bad[at] ^= 0x10
        index.write_bytes(bytes(bad))
        with pytest.raises(CorruptError, match=r"data-000000\.idx"):
            latentstore.open(store.url)[0]
    for cut in (0, 1, 100, len(good) - 1):
        index.write_bytes(good[:cut])
        with pytest.raises(CorruptError, match=r"data-000000\.idx"):
            latentstore.open(store.url)[0]


def test_tar_cut_short(make_store: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path, "wds-fixed")
    tar = Path(store.url) / "data-000001.tar"
    tar.write_bytes(tar.read_bytes()[:-5000])
    ds = latentstore.open(store.url)
    assert ds[3]["key"] == store.keys[3]
    with pytest.raises(StoreError, match=r"data-000001\.tar is cut short .*shard 1, .*a b/é 0008"):
        ds.read_latents(np.arange(20))


def test_manifest_that_lists_other_files(make_store: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path, "wds-fixed")
    path = Path(store.url) / "latentstore.json"
    manifest = json.loads(path.read_text())
    for change in ({"name": "../../etc/passwd"}, {"count": 3}, {"bytes": "many"}):
        shards = [{**manifest["shards"][0], **change}, *manifest["shards"][1:]]
        path.write_text(json.dumps({**manifest, "shards": shards}))
        with pytest.raises(CorruptError, match=r"latentstore\.json"):
            latentstore.open(store.url)
