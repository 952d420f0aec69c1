"""Zarr stores: what lies on disk, plain Zarr reading it, gaps, interruption at every step."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore.codecs.errors import ArgumentError, CorruptError, StoreError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.zarr import layout as zarr_layout
from latentstore.writing.spec import StoreSpec, default_shard_samples, open_writer, store_format
from latentstore.writing.zarr import array_names

SIZE = (40, 56)


def _tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _spec(codec: Any, size: tuple[int, int] | None = SIZE, **job: Any) -> StoreSpec:
    return StoreSpec.of(codec, size=size, shard_samples=8, source="made", job=job)


# ---- layout


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
        zero = np.zeros(1, np.int64)
        codec.read_groups([blob], zero.astype(np.int32), zero, np.array([len(blob)], np.int64), out)
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
    data = b"".join(zarr_layout.encode_shard([[b"abc", b"de"]], 2, 2))
    start, length = zarr_layout.decode_index(data[-68:], 2, 2, "x")
    assert start.tolist() == [[0, 3], [0, 0]] and length.tolist() == [[3, 2], [0, 0]]
    for i in range(68):
        bad = bytearray(data[-68:])
        bad[i] ^= 4
        with pytest.raises(CorruptError, match="x: the index at its end is damaged"):
            zarr_layout.decode_index(bytes(bad), 2, 2, "x")


# ---- writing


def test_gaps_are_closed(make_store: Any, layout: str, tmp_path: Path) -> None:
    store = make_store(tmp_path, layout, counts=(8, 5, 0, 8, 1, 0))
    ds = latentstore.open(store.url)
    assert len(ds) == 22 and ds.keys() == store.keys
    for latent, expected in zip(ds.read_latents(np.arange(22)), store.latents, strict=True):
        assert np.array_equal(latent, expected)
    if layout == "zarr-fixed":
        assert sorted(p.name for p in Path(store.url).glob("latent/c/*")) == ["0", "1", "2"]


def test_same_bytes_however_often(make_store: Any, layout: str, tmp_path: Path) -> None:
    one, two = make_store(tmp_path / "1", layout), make_store(tmp_path / "2", layout)
    assert _tree(Path(one.url)) == _tree(Path(two.url))
    assert not list((tmp_path / "1").glob("*.partial"))


class _Power:
    """Counts the writes and moves of files, and fails one of them as a full disk would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        for name in ("write", "move", "remove"):
            monkeypatch.setattr(Location, name, self._guard(getattr(Location, name)))

    def _guard(self, method: Any) -> Any:
        def guarded(*args: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                raise StoreError(OSError(errno.ENOSPC, "No space left on device"))
            return method(*args)

        return guarded


@pytest.mark.parametrize("counts", [(8, 8, 4), (8, 5, 0, 8, 3)])
def test_interrupted_at_every_step(
    codec: Any, make_samples: Any, layout: str, counts: tuple[int, ...], tmp_path: Path, monkeypatch: Any
) -> None:
    kind, sizes = layout.split("-")
    size = SIZE if sizes == "fixed" else None
    shards, total = [], 0
    for count in counts:
        shards.append(make_samples(count, size, total)[0])
        total += count
    power = _Power(monkeypatch)

    def convert(url: str, resume: bool) -> None:
        writer = open_writer(url, _spec(codec, size), format=kind, resume=resume)
        if writer.published:
            return
        done = writer.done()
        for index, samples in enumerate(shards):
            if index in done:
                assert done[index].notes == [{"shard": index}]
            else:
                writer.write_shard(index, samples, [{"shard": index}])
        writer.finish(len(counts))

    convert(f"{tmp_path}/whole", False)
    whole = _tree(tmp_path / "whole")
    stop, url = 0, f"{tmp_path}/cut"
    while True:
        power.left = stop
        try:
            convert(url, resume=stop > 0)
            break
        except StoreError as error:
            assert "No space left" in str(error)
            power.left = -1
            assert not Path(url).exists() or _tree(Path(url)) == whole  # all or nothing, never half
        stop += 1 if stop < 12 else 3
        assert stop < 200
    assert _tree(tmp_path / "cut") == whole
    assert stop > 4


def test_statistics_do_not_depend_on_dealing(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    found = []
    samples, latents = make_samples(20, SIZE)
    for n in (3, 20):
        spec = StoreSpec.of(codec, size=SIZE, shard_samples=n, source="")
        writer = open_writer(f"{tmp_path}/{n}.zarr", spec)
        parts = [samples[i : i + n] for i in range(0, 20, n)]
        for i, part in enumerate(parts):
            writer.write_shard(i, part)
        writer.finish(len(parts))
        found.append(latentstore.open(f"{tmp_path}/{n}.zarr").stats)
    values = np.stack(latents).astype(np.float64) * codec.scale(codec.default_quality)[:, None, None]
    for stats in found:
        assert np.array_equal(stats.mean, found[0].mean) and np.array_equal(stats.std, found[0].std)
        np.testing.assert_allclose(stats.mean, values.mean(axis=(0, 2, 3)), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(stats.std, values.std(axis=(0, 2, 3)), rtol=1e-5, atol=1e-5)


def test_unfinished_stores_say_so(codec: Any, make_samples: Any, layout: str, tmp_path: Path) -> None:
    kind, sizes = layout.split("-")
    size = SIZE if sizes == "fixed" else None
    url = f"{tmp_path}/x"
    writer = open_writer(url, _spec(codec, size), format=kind)
    writer.write_shard(0, make_samples(8, size)[0])
    with pytest.raises(StoreError, match="x is not finished"):
        latentstore.open(url)
    with pytest.raises(StoreError, match="2 of 3 shards are not written, the first is shard 1"):
        writer.finish(3)
    with pytest.raises(StoreError, match="holds an interrupted conversion: go on with --resume"):
        open_writer(url, _spec(codec, size), format=kind)
    with pytest.raises(StoreError, match=r"other settings \(job; job was \{\}, now \{'a': 1\}\)"):
        open_writer(url, _spec(codec, size, a=1), format=kind, resume=True)
    assert sorted(open_writer(url, _spec(codec, size), format=kind, resume=True).done()) == [0]
    open_writer(url, _spec(codec, size), format=kind, resume=True).abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match=r"no latentstore store there .*nothing at all"):
        latentstore.open(url)


def test_overwrite_and_resume_of_what_is_there(codec: Any, make_samples: Any, layout: str, tmp_path: Path) -> None:
    kind, sizes = layout.split("-")
    size = SIZE if sizes == "fixed" else None
    url, samples = f"{tmp_path}/x", make_samples(5, size)[0]

    def convert(count: int, **options: bool) -> None:
        with open_writer(url, _spec(codec, size, n=count), format=kind, **options) as writer:
            assert not writer.published
            writer.write_shard(0, samples[:count])
            writer.finish(1)

    convert(2)
    with pytest.raises(StoreError, match="x already exists: choose another name, or say --overwrite"):
        convert(3)
    assert open_writer(url, _spec(codec, size, n=2), format=kind, resume=True).published
    with pytest.raises(StoreError, match="other settings"):
        open_writer(url, _spec(codec, size, n=3), format=kind, resume=True)
    assert len(latentstore.open(url)) == 2
    convert(3, overwrite=True)
    assert len(latentstore.open(url)) == 3 and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_overwrite_spares_what_is_not_ours(codec: Any, layout: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="not a latentstore store, so --overwrite does not touch it"):
        open_writer(f"{tmp_path}/x", _spec(codec), format=layout.split("-")[0], overwrite=True)
    assert (tmp_path / "x" / "thesis.txt").exists()


def test_bad_samples_are_refused(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    writer = open_writer(f"{tmp_path}/x.zarr", _spec(codec))
    samples = make_samples(8, SIZE)[0]
    with pytest.raises(ArgumentError, match="given 9 samples, but shards are of 8"):
        writer.write_shard(0, [*samples, samples[0]])
    with pytest.raises(ArgumentError, match="a b/é 0000: 8x8 pixels in a store of 40x56"):
        writer.write_shard(0, [replace(samples[0], height=8, width=8)])
    with pytest.raises(ArgumentError, match="different fields: label"):
        writer.write_shard(0, [samples[0], replace(samples[1], fields={"txt": "", "score": 0, "mask": b""})])
    with pytest.raises(ArgumentError, match="field 'label' holds values of types that do not go together"):
        writer.write_shard(0, [samples[0], replace(samples[1], fields={**samples[1].fields, "label": "x"})])
    with pytest.raises(ArgumentError, match="a field cannot be called 'key'"):
        writer.write_shard(0, [replace(samples[1], fields={"key": 1})])
    broken = bytearray(samples[2].groups[1])
    broken[len(broken) // 2] ^= 1
    groups = [samples[2].groups[0], bytes(broken), *samples[2].groups[2:]]
    with pytest.raises(CorruptError, match="shard 0, a b/é 0002"):
        writer.write_shard(0, [*samples[:2], replace(samples[2], groups=groups)])
    writer.write_shard(0, samples[:2])
    writer.write_shard(1, samples[1:3])
    with pytest.raises(ArgumentError, match="key 'a b/é 0001' is used by more than one sample"):
        writer.finish(2)


def test_nothing_to_store(codec: Any, tmp_path: Path) -> None:
    writer = open_writer(f"{tmp_path}/x.zarr", _spec(codec))
    writer.write_shard(0, [], [{"why": "broken"}])
    with pytest.raises(StoreError, match="not one sample could be stored"):
        writer.finish(1)


def test_names_tell_the_format() -> None:
    assert store_format("a/b.zarr") == "zarr" and store_format("a/x-{000000..}.tar") == "wds"
    assert store_format("a/b", "wds") == "wds" and store_format("s3://x/y.zarr/") == "zarr"
    for target, format in (("a/b", None), ("a/b.zarr", "wds"), ("a/b", "hdf5")):
        with pytest.raises(ArgumentError):
            store_format(target, format)


def test_shards_are_some_tens_of_megabytes() -> None:
    assert default_shard_samples(20, (256, 256)) == 20
    samples = default_shard_samples(10**6, (256, 256))
    assert 20e6 < samples * 256 * 256 * 0.5 / 8 < 60e6
    assert default_shard_samples(10**6, (8, 8)) <= 8192
