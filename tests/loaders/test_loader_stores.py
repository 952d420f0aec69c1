"""`LatentLoader` and torch's DataLoader on real stores: what they yield is what the data set holds."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_or_skip import torch

import latentstore
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.loaders import LatentDataset, LatentLoader
from latentstore.writing import Sample, StoreSpec, open_writer

SAMPLES, SHARD_SAMPLES = 11, 4


def images(size: tuple[int, int] | None) -> Iterator[np.ndarray]:
    """Noise on a gradient: uint8 (H, W, 3)."""
    rng = np.random.default_rng(5)
    for i in range(SAMPLES):
        height, width = size or (24 + 8 * (i % 2), 17 + i % 3)
        ramp = np.linspace(i * 5, 150 + i * 5, width)
        yield np.clip(ramp[None, :, None] + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def write(target: str, size: tuple[int, int] | None) -> None:
    codec = latentstore.load_codec("rgb-f8c48")
    spec = StoreSpec.of(codec, size=size, shard_samples=SHARD_SAMPLES, source="test", classes=["a", "b", "c"])
    samples = [
        Sample(
            f"k{i:02d}",
            codec.compress_groups(image, effort="fast"),
            image.shape[1],
            image.shape[0],
            {"label": i % 3},
        )
        for i, image in enumerate(images(size))
    ]
    with open_writer(target, spec) as writer:
        for shard, first in enumerate(range(0, SAMPLES, SHARD_SAMPLES)):
            writer.write_shard(shard, samples[first : first + SHARD_SAMPLES])
        writer.finish(-(-SAMPLES // SHARD_SAMPLES))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("stores")
    urls = {
        "zarr": str(folder / "s.zarr"),
        "wds": str(folder / "wds" / "s-{000000..}.tar"),
        "remote": "memory://test-loader-stores.zarr",
    }
    for url in urls.values():
        write(url, (32, 24))
    urls["native"] = str(folder / "n.zarr")
    write(urls["native"], None)
    return urls


def rows(batches: LatentLoader, name: str = "latent") -> dict[str, Any]:
    return {key: row for batch in batches for key, row in zip(batch["key"], batch[name], strict=True)}


@pytest.mark.parametrize("kind", ["zarr", "wds", "remote", "native"])
@pytest.mark.parametrize("channels", [5, 12, 48])
@pytest.mark.parametrize("shuffle", [False, True, "block"])
def test_batches_hold_the_samples(stores: dict[str, str], kind: str, channels: int, shuffle: bool | str) -> None:
    ds = latentstore.open(stores[kind], channels=channels)
    loader = LatentLoader(ds, 3, shuffle, num_workers=2)
    for _ in range(2):
        labels = rows(loader, "label")
        found = rows(loader)
        assert len(found) == len(labels) == SAMPLES
        for i in range(SAMPLES):
            sample = ds[i]
            assert np.array_equal(found[sample["key"]].numpy(), sample["latent"])
            assert labels[sample["key"]] == sample["label"] == i % 3


@pytest.mark.parametrize("kind", ["zarr", "native"])
@pytest.mark.parametrize("decoder", ["linear", "small"])
def test_pixels_are_what_the_codec_decodes(stores: dict[str, str], kind: str, decoder: str) -> None:
    ds = latentstore.open(stores[kind], channels=24)
    found = rows(LatentLoader(ds, 4, output="pixels", decoder=decoder), "pixels")
    for i, image in enumerate(images(ds.size)):
        sample = ds[i]
        size = image.shape[:2]
        expected = ds.codec.decode(sample["latent"][None], quality=ds.quality, size=size, decoder=decoder)[0]
        got = found[sample["key"]]
        assert got.dtype == torch.uint8 and tuple(got.shape) == (3, *image.shape[:2])
        assert np.array_equal(got.permute(1, 2, 0).numpy(), expected)
        assert np.abs(expected.astype(int) - image).mean() < 20


def test_only_pixels_take_a_decoder(stores: dict[str, str]) -> None:
    ds = latentstore.open(stores["zarr"])
    with pytest.raises(ArgumentError, match="decoder 'small' with output 'codes': only 'pixels'"):
        LatentLoader(ds, 4, decoder="small")
    with pytest.raises(ArgumentError, match="decoder is 'huge'"):
        LatentLoader(ds, 4, output="pixels", decoder="huge")


def test_latents_have_zero_mean_and_unit_variance(stores: dict[str, str]) -> None:
    ds = latentstore.open(stores["zarr"])
    batch = next(iter(LatentLoader(ds, SAMPLES, output="latents")))["latent"].double()
    std, mean = torch.std_mean(batch, dim=(0, 2, 3), correction=0)
    spread = torch.from_numpy(ds.stats.std > 0)
    assert spread.any()
    assert torch.allclose(mean, torch.zeros_like(mean), atol=1e-4)
    assert torch.allclose(std[spread], torch.ones_like(std[spread]), atol=1e-4)


def same(ds: LatentDataset, batches: Any) -> bool:
    found = rows(batches)
    return sorted(found) == sorted(ds.keys()) and all(
        np.array_equal(found[sample["key"]], sample["latent"]) for sample in map(ds.__getitem__, range(len(ds)))
    )


@pytest.mark.parametrize("kind, method", [("zarr", "fork"), ("wds", "fork"), ("zarr", "spawn"), ("wds", "forkserver")])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_torch_dataloader_with_processes(stores: dict[str, str], kind: str, method: str) -> None:
    ds = latentstore.open(stores[kind], channels=12)
    assert same(ds, LatentLoader(ds, 4, num_workers=2))  # threads have run in this process before the fork
    processes = torch.utils.data.DataLoader(
        ds, batch_size=3, num_workers=2, multiprocessing_context=method, timeout=120
    )
    assert same(ds, processes)
    # all of them: torch may abort workers that are let go while they work
    batches = list(processes)
    assert batches[0]["label"].tolist() == [0, 1, 2]


def _child(ds: LatentDataset, results: Any) -> None:
    results.put(same(ds, LatentLoader(ds, 3, shuffle=True, num_workers=2)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_loader_works_in_a_child_while_the_parent_reads(stores: dict[str, str], method: str) -> None:
    ds = latentstore.open(stores["zarr"])
    passing = iter(LatentLoader(ds, 2, num_workers=2))
    next(passing)
    context = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=_child, args=(ds, results))
    child.start()
    assert results.get(timeout=120) is True
    child.join(timeout=60)
    assert child.exitcode == 0
    assert sum(1 for _ in passing) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_blob_is_named(stores: dict[str, str], tmp_path: Path, workers: int) -> None:
    target = tmp_path / "damaged.zarr"
    write(str(target), (32, 24))
    ds = latentstore.open(str(target), channels=12)
    at = ds.fetch(np.array([6]))
    shards = sorted(path for path in (target / "latent" / "c").rglob("*") if path.is_file())
    shard = shards[6 // SHARD_SAMPLES]
    data = bytearray(shard.read_bytes())
    data[int(at.start[0]) + int(at.length[0]) // 2] ^= 1
    shard.write_bytes(data)
    seen = []
    with pytest.raises(CorruptError, match=r"k06") as caught:
        for batch in LatentLoader(latentstore.open(str(target), channels=12), 3, num_workers=workers):
            seen += batch["key"]
    assert shard.relative_to(target).as_posix() in str(caught.value)
    assert seen == [f"k{i:02d}" for i in range(6)]


def test_fields_may_not_hide_what_a_batch_holds(tmp_path: Path) -> None:
    codec = latentstore.load_codec("rgb-f8c48")
    groups = codec.compress_groups(next(images((24, 24))), effort="fast")
    fields = {"pixels": 7, "mask": b"any", "lengths": 3}  # the last two are entries of padded batches alone
    with open_writer(f"{tmp_path}/x.zarr", StoreSpec.of(codec, size=(24, 24), shard_samples=4, source="")) as writer:
        writer.write_shard(0, [Sample("k", groups, 24, 24, fields)])
        writer.finish(1)
    ds = latentstore.open(f"{tmp_path}/x.zarr")
    (batch,) = LatentLoader(ds, 1)
    assert (batch["pixels"].tolist(), batch["mask"], batch["lengths"].tolist()) == ([7], [b"any"], [3])
    with pytest.raises(ArgumentError, match="has a field 'pixels', and batches with output 'pixels' have an entry"):
        LatentLoader(ds, 1, output="pixels")
