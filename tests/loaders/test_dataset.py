"""`latentstore.open`: the map-style data set and its bulk reads, in every layout."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore.codecs.errors import (
    ArgumentError,
    ArtifactError,
    CorruptError,
    StoreError,
    UnsupportedVersionError,
)
from latentstore.loaders.remote.location import Location


def _equal(got: Any, store: Any, indices: Any, channels: int | None = None) -> bool:
    return len(got) == len(indices) and all(
        np.array_equal(g, store.latents[i][:channels]) for g, i in zip(got, indices, strict=True)
    )


def test_samples(store: Any) -> None:
    ds = latentstore.open(store.url)
    assert len(ds) == 20 and ds.channels == 48 and ds.classes == ["x", "y", "z"]
    assert ds.shard_starts.tolist() == [0, 8, 16, 20]
    for i in (0, 7, 8, 19, np.int64(3)):
        sample = ds[i]
        assert sample["latent"].dtype == np.int8 and np.array_equal(sample["latent"], store.latents[i])
        assert {k: v for k, v in sample.items() if k != "latent"} == {"key": store.keys[i], **store.fields[i]}
        assert type(sample["label"]) is int
    assert ds[-1]["key"] == store.keys[19] and ds[-20]["key"] == store.keys[0]
    for i in (20, -21, 10**9):
        with pytest.raises(IndexError, match="which has 20"):
            ds[i]
    for wrong in ("a", 1.0, True, np.True_, np.array(True), None, slice(1), [1, 2], np.arange(2), np.arange(20) > 3):
        with pytest.raises(ArgumentError, match="which is no whole number"):
            ds[wrong]
    assert ds[np.array(3)]["key"] == ds[np.uint64(3)]["key"] == store.keys[3]
    assert len(list(ds)) == 20


@pytest.mark.parametrize("channels", [1, 12, 20, 47, 48])
def test_prefixes(store: Any, channels: int) -> None:
    ds = latentstore.open(store.url, channels=channels)
    indices = np.random.default_rng(0).integers(0, 20, 33)
    assert _equal(ds.read_latents(indices), store, indices, channels)
    assert ds.stats.mean.shape == ds.stats.std.shape == (channels,)
    assert ds.group_bytes().shape == (20, -(-channels // 12))


def test_channels_out_of_range(store: Any) -> None:
    for channels in (0, -1, 49):
        with pytest.raises(ArgumentError, match="has 1 to 48"):
            latentstore.open(store.url, channels=channels)


def test_bulk(store: Any) -> None:
    ds = latentstore.open(store.url)
    indices = np.random.default_rng(1).integers(0, 20, 50)
    assert ds.keys(indices) == [store.keys[i] for i in indices]
    assert ds.keys() == store.keys
    fields = ds.fields(indices)
    assert fields["label"].dtype == np.int64 and fields["score"].dtype == np.float64
    for name in ("label", "score", "txt", "mask"):
        assert list(fields[name]) == [store.fields[i][name] for i in indices]
    for (height, width), i in zip(ds.sizes(indices).tolist(), indices, strict=True):
        assert ds.codec.latent_shape(height, width) == store.latents[i].shape
    assert len(ds.read_latents(np.zeros(0, np.int64))) == 0
    assert ds.keys(np.zeros(0, np.int64)) == []
    with pytest.raises(IndexError):
        ds.read_latents(np.array([0, 20]))
    with pytest.raises(ArgumentError, match="one-dimensional"):
        ds.read_latents(np.zeros((2, 2), np.int64))


BULK = ("keys", "fields", "sizes", "read_latents", "fetch", "group_bytes")


@pytest.mark.parametrize("call", BULK)
def test_indices_are_whole_numbers_or_a_mask(store: Any, call: str) -> None:
    ds = latentstore.open(store.url)
    read = getattr(ds, call)

    def same(a: Any, b: Any) -> bool:
        return str(getattr(a, "length", a)) == str(getattr(b, "length", b))

    wanted = np.array([17, 18, 19])
    mask = np.arange(20) >= 17
    for good in (wanted.tolist(), tuple(wanted), range(17, 20), wanted.astype(np.uint64), wanted.astype(">i2"), mask):
        assert same(read(good), read(wanted))
    assert same(read(mask.tolist()), read(wanted))
    nothing = read(np.zeros(0, np.int64))
    for empty in ([], (), np.zeros(0, np.uint8), np.zeros(20, bool)):
        assert same(read(empty), nothing)
    for cast in (
        np.array([1.0]), [1.7], [np.nan], [True, 3], [np.True_, 3], mask[:19], [True], np.zeros(0, bool),
        np.zeros(21, bool), [None], np.array(3), np.array(True), 3, np.ones((2, 2), int), mask[None], ["1"], [1j],
        {1, 2}, "12", [[1], [1, 2]], [2**70], [2**63, -1], np.array([1], "M8[s]"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            read(cast)
    for beyond in ([20], [-1], np.array([2**63 + 1], np.uint64), np.array([2**64 - 1], np.uint64), [2**62]):
        with pytest.raises(IndexError, match="which has 20"):
            read(beyond)


def test_tensors_are_indices_and_masks(store: Any) -> None:
    from torch_or_skip import torch

    ds = latentstore.open(store.url)
    assert ds.keys(torch.tensor([3, 19])) == [store.keys[3], store.keys[19]]
    assert ds.keys(torch.arange(20) >= 19) == store.keys[19:]
    assert ds[torch.tensor(3)]["key"] == store.keys[3]
    for cast in (torch.tensor([1.0]), torch.tensor([True]), [torch.tensor(True), 3]):
        with pytest.raises(ArgumentError):
            ds.keys(cast)
    with pytest.raises(ArgumentError):
        ds[torch.tensor(True)]


def test_shards_are_whole_numbers_too(store: Any) -> None:
    ds = latentstore.open(store.url)
    for call in (ds.load_shards, ds.drop_shards):
        with pytest.raises(ArgumentError):
            call([0.0])
        with pytest.raises(IndexError, match=r"shard 3 of .*, which has 3"):
            call([3])


def test_decoding_casts_nothing(store: Any) -> None:
    ds = latentstore.open(store.url)
    latents = ds.read_latents([3])[0][None]
    size = tuple(int(side) for side in ds.sizes([3])[0])
    assert ds.decode(latents, size).shape == (1, *size, 3)
    for wrong in (latents.astype(float), latents > 0, latents.astype(np.uint8)):
        with pytest.raises(ArgumentError, match="latents are"):
            ds.decode(wrong, size)
    for steps in (np.array([1.0]), np.array([True]), np.array(1)):
        with pytest.raises(ArgumentError, match="steps are"):
            ds.decode(latents, size, steps)


def test_indices_are_checked_once_a_batch(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch_or_skip  # noqa: F401

    from latentstore.loaders import LatentDataset, LatentLoader

    checked: list[int] = []
    check = LatentDataset._indices

    def counted(self: LatentDataset, indices: Any) -> np.ndarray:
        found = check(self, indices)
        checked.append(len(found))
        return found

    monkeypatch.setattr(LatentDataset, "_indices", counted)
    ds = latentstore.open(store.url)
    assert len(list(LatentLoader(ds, 8, shuffle=True))) == 3
    assert checked == [8, 8, 4]
    checked.clear()
    assert ds[3]["key"] == store.keys[3] and not checked
    for call in (ds.read_latents, ds.fetch, ds.group_bytes, ds.keys, ds.fields, ds.sizes):
        with pytest.raises(IndexError):
            call(np.array([20]))
    assert not checked


def test_out(store: Any) -> None:
    ds = latentstore.open(store.url, channels=12)
    if ds.size is None:
        with pytest.raises(ArgumentError, match="images of many sizes"):
            ds.read_latents(np.arange(3), out=np.empty((3, 12, 5, 7), np.int8))
        return
    assert ds.latent_shape == (12, 5, 7)
    out = np.empty((3, 12, 5, 7), np.int8)
    assert ds.read_latents(np.array([5, 1, 5]), out=out) is out and _equal(out, store, [5, 1, 5], 12)
    part = latentstore.open(store.url, channels=5)
    out = np.empty((3, 5, 5, 7), np.int8)
    assert part.read_latents(np.array([5, 1, 5]), out=out) is out and _equal(out, store, [5, 1, 5], 5)
    for bad in (np.empty((3, 5, 5, 7), np.uint8), np.empty((2, 5, 5, 7), np.int8), out[..., ::-1]):
        with pytest.raises(ArgumentError, match="out must be int8"):
            part.read_latents(np.arange(3), out=bad)


def test_local_blobs_are_not_copied(store: Any) -> None:
    ds = latentstore.open(store.url)
    one, two = ds.fetch(np.arange(20)), ds.fetch(np.arange(20))
    assert all(np.shares_memory(a, b) for a, b in zip(one.buffers, two.buffers, strict=True))
    assert one.source.dtype == np.int32 and one.start.dtype == one.length.dtype == np.int64
    assert len(one.source) == len(one.start) == len(one.length) == 80


def test_held_shards_need_no_files(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = latentstore.open(store.url, channels=12)
    ds.read_latents(np.arange(20))
    ds.load_shards([0, 2])
    monkeypatch.setattr(Location, "map", None)
    monkeypatch.setattr(Location, "read_ranges", None)
    indices = np.array([17, 3, 0, 19, 3])
    fetched = ds.fetch(indices)
    assert _equal(ds.read_latents(indices), store, indices, 12)
    assert not any(np.shares_memory(b, m) for b in fetched.buffers for m in ds._fetcher._maps.found.values())
    ds.drop_shards([0, 2])
    assert not ds._fetcher._loaded


def test_pickle_and_threads(store: Any) -> None:
    ds = pickle.loads(pickle.dumps(latentstore.open(store.url, channels=24)))
    assert len(pickle.dumps(ds)) < 20_000
    with ThreadPoolExecutor(8) as pool:
        orders = [np.random.default_rng(i).permutation(20) for i in range(32)]
        for order, got in zip(orders, pool.map(ds.read_latents, orders), strict=True):
            assert _equal(got, store, order, 24)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_processes(store: Any, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    ds = latentstore.open(store.url)
    ds.read_latents(np.arange(20))  # maps and tables are in use when the child begins
    indices = np.array([4, 19, 0])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        assert _equal(pool.submit(ds.read_latents, indices).result(), store, indices)


# ---- remote


@pytest.fixture(params=["memory", "s3"])
def remote(request: pytest.FixtureRequest, layout: str, make_store: Any) -> tuple[Any, dict[str, Any]]:
    if request.param == "memory":
        return make_store(f"memory://{layout}", layout), {}
    options = request.getfixturevalue("s3_server")
    folder = f"s3://bucket/{layout}"
    Location(folder, options).remove()
    return make_store(folder, layout, storage_options=options), options


def test_remote_store(remote: tuple[Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    store, options = remote
    ds = latentstore.open(store.url, channels=12, storage_options=options)
    assert not ds.is_local
    requests: list[Any] = []
    plain = Location.read_ranges

    def counting(self: Location, ranges: Any) -> Any:
        requests.extend(ranges)
        return plain(self, ranges)

    ds.read_latents(np.array([0, 8, 16]))  # metadata and indexes are read once
    monkeypatch.setattr(Location, "read_ranges", counting)
    order = np.random.default_rng(2).permutation(20)
    assert _equal(ds.read_latents(order), store, order, 12)
    assert len(requests) <= 3
    requests.clear()
    parts = Location.read_parts
    monkeypatch.setattr(Location, "read_parts", lambda self, ranges: requests.extend(ranges) or parts(self, ranges))
    ds.load_shards([0, 1, 2])
    assert len(requests) == 3  # one range a shard
    assert ds.shard_bytes([0, 1, 2]) == [end - start for _, start, end in requests]
    if store.layout != "wds-fixed" and store.layout != "wds-native":
        assert sum(end - start for _, start, end in requests) == ds.group_bytes().sum()
    requests.clear()
    assert _equal(ds.read_latents(order), store, order, 12) and not requests
    again = pickle.loads(pickle.dumps(ds))
    assert again[3]["txt"] == store.fields[3]["txt"]
    with pytest.raises(StoreError, match="already exists"):
        from latentstore.writing import StoreSpec, open_writer

        spec = StoreSpec.of(ds.codec, size=ds.size, shard_samples=8, source="")
        open_writer(store.url, spec, format=store.layout.split("-")[0], storage_options=options)


def test_remote_gaps_and_overwrite(codec: Any, make_samples: Any, make_store: Any, layout: str) -> None:
    from latentstore.writing import StoreSpec, open_writer

    store = make_store(f"memory://gaps-{layout}", layout, counts=(8, 3, 0, 8, 1))
    ds = latentstore.open(store.url)
    assert _equal(ds.read_latents(np.arange(20)), store, range(20))
    assert not Location(f"{store.url}.partial").list()
    spec = StoreSpec.of(codec, size=ds.size, shard_samples=8, source="second")
    writer = open_writer(store.url, spec, format=layout.split("-")[0], overwrite=True)
    size = None if ds.size is None else tuple(ds.size)
    writer.write_shard(0, make_samples(2, size)[0])
    assert _equal(latentstore.open(store.url).read_latents(np.arange(20)), store, range(20))
    writer.finish(1)
    assert len(latentstore.open(store.url)) == 2
    assert not Location(f"{store.url}.partial").list()
    # the shards of an old version stay, for whoever reads it
    assert layout.startswith("versions") or not any(
        "000001" in name or "/c/1" in name for name in Location(store.url).list()
    )


# ---- errors


def _shards(store: Any) -> list[Path]:
    pattern = {
        "zarr-fixed": "latent/c/*/0/0/0", "zarr-native": "blob_g0/c/*", "versions-fixed": "shards/*",
        "versions-native": "shards/*",
    }.get(store.layout, "*.tar")  # fmt: skip
    return sorted(Path(store.url).glob(pattern))


@pytest.fixture
def broken(make_store: Any, layout: str, tmp_path: Path) -> Any:
    return make_store(tmp_path, layout)


def test_missing_shard(broken: Any) -> None:
    shard = _shards(broken)[-1]
    shard.unlink()
    ds = latentstore.open(broken.url)
    with pytest.raises(StoreError, match="is missing") as caught:
        ds[19]
    assert shard.relative_to(broken.url).as_posix() in str(caught.value)
    if broken.layout.startswith("versions"):  # a shard alone knows its keys
        assert ds[0]["key"] == broken.keys[0]
    elif broken.layout != "zarr-native":  # there all shards are one object
        assert "shard 2" in str(caught.value) and "a b/é 0016" in str(caught.value)
        assert ds[0]["key"] == broken.keys[0]


@pytest.mark.parametrize("keep", [0, 1, 1000])
def test_truncated_shard(broken: Any, keep: int) -> None:
    shard = _shards(broken)[-1]
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises((StoreError, CorruptError), match="cut short") as caught:
        latentstore.open(broken.url).read_latents(np.arange(20))
    assert shard.name in str(caught.value)


def test_flipped_bits_name_shard_and_key(broken: Any) -> None:
    ds = latentstore.open(broken.url)
    shard = _shards(broken)[0]
    good = shard.read_bytes()
    fetched = ds.fetch(np.array([2]))
    start, length = int(fetched.start[0]), int(fetched.length[0])
    for at in range(start, start + length, 11):
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        shard.write_bytes(bytes(bad))
        # The version stands in the blob's first bits: a newer one cannot be told from damage there.
        with pytest.raises((CorruptError, UnsupportedVersionError)) as caught:
            latentstore.open(broken.url).read_latents(np.arange(8))
        assert "'a b/é 0002' (sample 2): group 0" in str(caught.value)
        assert shard.relative_to(broken.url).as_posix() in str(caught.value)
        latentstore.open(broken.url).read_latents(np.array([0, 1, 3]))


def test_wrong_artifact(broken: Any, codec: Any, other_artifact: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentstore.codecs import load as codec_home

    if broken.layout.startswith("zarr"):
        from latentstore.writing.zarr import encode

        metadata, chunks = encode.numbers(np.frombuffer(other_artifact, np.uint8), ["artifact_byte"])
        (Path(broken.url) / "artifact/zarr.json").write_bytes(metadata)
        (Path(broken.url) / "artifact/c/0").write_bytes(chunks["c/0"])
    elif broken.layout.startswith("versions"):
        (Path(broken.url) / f"coders/{codec.sha256}.safetensors").write_bytes(other_artifact)
    else:
        (Path(broken.url) / "artifact.safetensors").write_bytes(other_artifact)
    monkeypatch.setattr(codec_home, "_registered", {})
    monkeypatch.setattr(codec_home, "_shipped_of", lambda sha256: None)
    said = f"but the data was written with {codec.sha256}|{codec.sha256}.safetensors: damaged"
    with pytest.raises((ArtifactError, CorruptError), match=said):
        latentstore.open(broken.url)


def test_not_a_store(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_group(tmp_path / "plain.zarr").create_array("x", shape=(2,), dtype="uint8")
    with pytest.raises(StoreError, match=r"a Zarr group, but not a latentstore store .*: open its arrays by zarr"):
        latentstore.open(tmp_path / "plain.zarr")
    with pytest.raises(StoreError, match=r"a Zarr array, but not a latentstore store .*: open it by zarr"):
        latentstore.open(tmp_path / "plain.zarr" / "x")
    (tmp_path / "text.zarr").mkdir()
    (tmp_path / "text.zarr" / "zarr.json").write_text("not json")
    with pytest.raises(CorruptError, match=r"zarr\.json: not JSON"):
        latentstore.open(tmp_path / "text.zarr")
    with pytest.raises(StoreError, match="no latentstore store there"):
        latentstore.open(tmp_path)
