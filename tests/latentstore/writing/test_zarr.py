"""Zarr stores: what lies on disk, and plain Zarr reading it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import CorruptError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.zarr import layout as zarr_layout
from latentstore.writing import StoreSpec, open_writer
from latentstore.writing.zarr import encode
from latentstore.writing.zarr.writer import array_names

SIZE = (40, 56)


def _tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _spec(codec: Any, size: tuple[int, int] | None = SIZE, **job: Any) -> StoreSpec:
    return StoreSpec.of(codec, size=size, shard_samples=8, source="made", conversion=job)


def test_shard_is_group_major(codec: Any, make_store: Any, make_samples: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path, "zarr-fixed", counts=(8, 3))
    samples = make_samples(8, SIZE)[0]
    shard = (Path(store.url) / "latent/c/0/0/0/0").read_bytes()
    expected = b"".join(s.groups[g] for g in range(codec.groups) for s in samples)
    assert shard.startswith(expected)
    assert len(shard) == len(expected) + zarr_layout.index_bytes(8, codec.groups)


def test_metadata_is_what_zarr_writes(codec: Any, make_store: Any, tmp_path: Path) -> None:
    import zarr
    from zarr.codecs import Crc32cCodec

    from latentstore.codecs.arrays.zarr_codec import LatentCodec

    store = make_store(tmp_path, "zarr-fixed")
    group = zarr.create_group(tmp_path / "theirs.zarr")
    shape = (20, *store.latents[0].shape)
    chunk = (1, codec.group_channels, *shape[2:])
    theirs = group.create_array(
        "latent", shape=shape, chunks=chunk, shards=(8, *shape[1:]), dtype="int8", fill_value=0,
        serializer=LatentCodec.of(codec), compressors=None, dimension_names=["sample", "channel", "y", "x"],
    )  # fmt: skip
    ours = zarr.open_group(store.url, mode="r")
    assert ours["latent"].metadata == theirs.metadata
    label = group.create_array("label", data=np.zeros(20, np.int64), chunks=(20,), compressors=Crc32cCodec(),
        dimension_names=["sample"])  # fmt: skip
    assert ours["label"].metadata == label.metadata
    key = group.create_array("key", shape=(20,), chunks=(20,), dtype=str, compressors=Crc32cCodec(),
        dimension_names=["sample"])  # fmt: skip
    assert ours["key"].metadata == key.metadata
    assert json.loads((Path(store.url) / "latent/zarr.json").read_text())["codecs"] == [
        c.to_dict() | {"configuration": json.loads(json.dumps(c.to_dict()["configuration"]))}
        for c in theirs.metadata.codecs
    ]


PLAIN = """
import sys, json, numpy as np, zarr
group = zarr.open_group(sys.argv[1], mode="r")
z = group["latent"]
assert z[3].shape == z.shape[1:] and np.array_equal(z[3, :12], z[3][:12])
np.save(sys.argv[2], z[:])
print(json.dumps([[str(k) for k in group["key"][:]], group["label"][:].tolist(), sorted(group.keys()),
                  [m for m in ("torch", "latentstore.loaders") if m in sys.modules]]))
"""


def test_fresh_process_with_zarr_alone(make_store: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path, "zarr-fixed")
    command = [sys.executable, "-W", "error", "-c", PLAIN, store.url, str(tmp_path / "all.npy")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    keys, labels, names, modules = json.loads(run.stdout)
    assert keys == store.keys and labels == [f["label"] for f in store.fields] and modules == []
    assert names == ["artifact", "key", "label", "latent", "mask", "mask_offset", "score", "txt"]
    assert np.array_equal(np.load(tmp_path / "all.npy"), np.stack(store.latents))


@pytest.mark.usefixtures("batched_pipeline")
def test_prefix_costs_plain_zarr_only_its_groups(codec: Any, make_store: Any, tmp_path: Path) -> None:
    import zarr
    from zarr.storage import WrapperStore

    fetched = []

    class Counting(WrapperStore):
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            value = await super().get(key, prototype, byte_range)
            if "/c/" in key and value is not None:
                fetched.append(len(value))
            return value

        async def get_ranges(self, key: str, *args: Any, **kwargs: Any) -> Any:  # zarr after 3.1
            async for group in super().get_ranges(key, *args, **kwargs):
                fetched.extend(len(value) for _, value in group)
                yield group

    store = make_store(tmp_path, "zarr-fixed")
    z = zarr.open_group(Counting(zarr.storage.LocalStore(store.url, read_only=True)), mode="r")["latent"]
    prefix = z[:, :12]
    assert np.array_equal(prefix, np.stack(store.latents)[:, :12])
    first = int(latentstore.open(store.url, channels=12).group_bytes().sum())
    assert sum(fetched) == first + 3 * zarr_layout.index_bytes(8, codec.groups)


def test_native_store_read_by_plain_zarr(codec: Any, make_store: Any, tmp_path: Path) -> None:
    import zarr

    store = make_store(tmp_path, "zarr-native")
    group = zarr.open_group(store.url, mode="r")
    offset = group["offset"][:]
    for i in (0, 7, 19):
        out = np.empty((1, 12, *store.latents[i].shape[1:]), np.int8)
        blob = group["blob_g1"][offset[i, 1] : offset[i + 1, 1]]
        codec.read_groups(Blobs.whole([blob]), out)
        assert np.array_equal(out[0], store.latents[i][12:24])
    assert group["txt"][5] == store.fields[5]["txt"]


def test_native_blobs_across_chunks(make_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_layout, "FLAT_BYTES", 300)
    store = make_store(tmp_path, "zarr-native")
    assert len(list(Path(store.url).glob("blob_g0/c/*"))) > 3
    ds = latentstore.open(store.url)
    order = np.random.default_rng(0).permutation(20)
    for held in (False, True):
        if held:
            ds.load_shards([0, 1, 2])
        for latent, i in zip(ds.read_latents(order), order.tolist(), strict=True):
            assert np.array_equal(latent, store.latents[i])


def test_field_names_that_clash_with_the_layout() -> None:
    names = array_names(["latent", "blob_g0", "a/b", "fine-name 2", "offset", "x_offset"])
    assert names["fine-name 2"] == "fine-name 2" and len(set(names.values())) == 7
    assert all(names[n].startswith("field_") for n in ("latent", "blob_g0", "a/b", "offset", "x_offset"))


def test_index_must_be_whole() -> None:
    data = b"".join(encode.encode_shard([[b"abc", b"de"]], 2, 2))
    start, length = zarr_layout.decode_index(data[-68:], 2, 2, "x")
    assert start.tolist() == [[0, 3], [0, 0]] and length.tolist() == [[3, 2], [0, 0]]
    for i in range(68):
        bad = bytearray(data[-68:])
        bad[i] ^= 4
        with pytest.raises(CorruptError, match="x: the index at its end is damaged"):
            zarr_layout.decode_index(bytes(bad), 2, 2, "x")


def test_many_sizes_need_little_memory(
    codec: Any, make_samples: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finishing holds at most one chunk of a flat array, and indexes, however many shards there are."""
    chunk = 500
    monkeypatch.setattr(zarr_layout, "FLAT_BYTES", chunk)
    writer = open_writer(f"{tmp_path}/x.zarr", _spec(codec, None))
    samples = make_samples(40, None)[0]
    for i in range(5):
        writer.write_shard(i, samples[8 * i : 8 * i + 8])
    largest: list[int] = []
    read = Location.read_ranges

    def counted(self: Location, ranges: Any) -> list[bytes]:
        found = read(self, ranges)
        if any(name.startswith("shards/") and start >= 0 for name, start, _ in ranges):
            largest.append(sum(map(len, found)))
        return found

    monkeypatch.setattr(Location, "read_ranges", counted)
    writer.finish(5)
    monkeypatch.setattr(Location, "read_ranges", read)
    total = sum(len(blob) for sample in samples for blob in sample.groups)
    assert sum(largest) == total > 10 * chunk  # every byte is read once,
    assert max(largest) <= chunk  # and never more than a chunk at a time
    ds = latentstore.open(f"{tmp_path}/x.zarr")
    for sample, latent in zip(samples, ds.read_latents(np.arange(40)), strict=True):
        assert codec.encode_latent_groups(latent) == list(sample.groups)


def test_a_damaged_part_is_noticed(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    writer = open_writer(f"{tmp_path}/x.zarr", _spec(codec, None))
    writer.write_shard(0, make_samples(8, None)[0])
    part = writer.staging.partial.path("shards/000000")
    good = part.read_bytes()
    for bad, said in (
        (good[1:], "its index and its size do not agree"),
        (good[:-1], "the index at its end is damaged"),
    ):
        part.write_bytes(bad)
        with pytest.raises(CorruptError, match=rf"x\.zarr\.partial/shards/000000: {said}"):
            writer.finish(1)
    part.write_bytes(good)
    writer.finish(1)
