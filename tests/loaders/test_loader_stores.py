"""`LatentLoader` and torch's DataLoader on real stores: what they yield is what the data set holds."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from read_again import read_in_a_child, rows, same
from torch_or_skip import torch

import latentstore
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.codecs.modality import IMAGE
from latentstore.loaders import LatentLoader
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


@pytest.mark.parametrize("kind, method", [("zarr", "fork"), ("wds", "fork"), ("zarr", "spawn"), ("wds", "forkserver")])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_torch_dataloader_with_processes(stores: dict[str, str], kind: str, method: str) -> None:
    ds = latentstore.open(stores[kind], channels=12)
    assert same(ds, LatentLoader(ds, 4, num_workers=2))  # threads have run in this process before the fork
    processes = torch.utils.data.DataLoader(
        ds, batch_size=3, num_workers=2, multiprocessing_context=method, timeout=300
    )
    # all of them: torch may abort workers that are let go while they work
    batches = list(processes)
    assert same(ds, batches)
    assert batches[0]["label"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_loader_works_in_a_child_while_the_parent_reads(stores: dict[str, str], method: str) -> None:
    ds = latentstore.open(stores["zarr"])
    passing = iter(LatentLoader(ds, 2, num_workers=2))
    next(passing)
    context = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=read_in_a_child, args=(ds, results))
    child.start()
    assert results.get(timeout=300) is True
    child.join(timeout=300)
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


def write_fields(target: str, codec: Any, size: tuple[int, int] | None, fields: list[dict[str, Any]]) -> None:
    spec = StoreSpec.of(codec, size=size, shard_samples=4, source="")
    samples = []
    for number, own in enumerate(fields):
        if codec.modality is IMAGE:
            groups = codec.compress_groups(next(images((24, 24))), effort="fast")
            samples.append(Sample(f"k{number}", groups, 24, 24, own))
        else:
            width = 800 * (1 + number)
            groups = codec.compress_groups(np.sin(np.arange(width) / 9).astype(np.float32) / 2)
            own = {**own, "rate": codec.rate, **codec.sample_fields(groups)}
            samples.append(Sample(f"k{number}", groups, width, 1, own))
    with open_writer(target, spec) as writer:
        writer.write_shard(0, samples)
        writer.finish(1)


EVERY_NAME = ("key", "latent", "pixels", "waveform", "lengths", "mask", "image", "audio", "label", "index", "offset")
TAKEN = {"rgb-f8c48": {"key", "latent", "pixels"}, "mono-f32c32": {"key", "latent", "waveform", "lengths", "mask"}}


@pytest.mark.parametrize("name", EVERY_NAME)
@pytest.mark.parametrize("codec", ["rgb-f8c48", "mono-f32c32"])
def test_a_field_is_in_the_batch_or_refused_when_it_is_written(tmp_path: Path, codec: str, name: str) -> None:
    values = [7, 8, 9]
    target, fields = f"{tmp_path}/x.zarr", [{name: value} for value in values]
    size = (24, 24) if codec == "rgb-f8c48" else None
    if name in TAKEN[codec]:
        with pytest.raises(
            ArgumentError, match=f"shard 0: a field cannot be called '{name}', since batches of .* have"
        ):
            write_fields(target, latentstore.load_codec(codec), size, fields)
        return
    write_fields(target, latentstore.load_codec(codec), size, fields)
    ds = latentstore.open(target)
    assert [sample[name] for sample in ds] == values
    for output in ds.modality.outputs:
        (batch,) = LatentLoader(ds, 3, output=output)
        assert batch[name].tolist() == values


@pytest.mark.parametrize(("codec", "name", "outputs"), [
    ("rgb-f8c48", "pixels", {"pixels"}),
    ("mono-f32c32", "waveform", {"waveforms"}),
    ("mono-f32c32", "mask", {"codes", "latents", "waveforms"}),
    ("mono-f32c32", "lengths", {"codes", "latents", "waveforms"}),
])  # fmt: skip
def test_fields_of_older_stores_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, name: str, outputs: set[str]
) -> None:
    """Where a batch has an entry of that name, the loader says so; elsewhere the field is in the batch."""
    monkeypatch.setattr("latentstore.writing.sharded.require_free", lambda *_: None)
    size = (24, 24) if codec == "rgb-f8c48" else None
    write_fields(f"{tmp_path}/x.zarr", latentstore.load_codec(codec), size, [{name: 7}])
    ds = latentstore.open(f"{tmp_path}/x.zarr")
    assert ds[0][name] == 7
    for output in ds.modality.outputs:
        if output in outputs:
            with pytest.raises(
                ArgumentError, match=f"has a field '{name}', and batches with output '{output}' have an"
            ):
                LatentLoader(ds, 1, output=output)
        else:
            (batch,) = LatentLoader(ds, 1, output=output)
            assert batch[name].tolist() == [7]


@pytest.mark.parametrize("name", ["key", "latent"])
def test_a_store_with_a_field_that_hides_the_sample_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_fields(f"{tmp_path}/x.zarr", latentstore.load_codec("rgb-f8c48"), (24, 24), [{"other": 7}])
    root = tmp_path / "x.zarr" / "zarr.json"
    root.write_text(root.read_text().replace('"other": {', f'"{name}": {{'))
    with pytest.raises(CorruptError, match=f"a field is called '{name}'"):
        latentstore.open(f"{tmp_path}/x.zarr")


@pytest.mark.parametrize("kind", ["zarr", "wds", "remote", "native"])
def test_a_state_names_its_store(stores: dict[str, str], tmp_path: Path, kind: str) -> None:
    """A copy of the store is the same one, wherever it lies; a store of other content is not."""
    ds = latentstore.open(stores[kind], channels=12)
    loader = LatentLoader(ds, 2, True)
    it = iter(loader)
    seen = [next(it)["key"] for _ in range(2)]
    state = json.loads(json.dumps(loader.state_dict()))
    assert len(json.dumps(state)) < 500
    if kind != "remote":
        folder = Path(stores[kind]).parent if kind == "wds" else Path(stores[kind])
        shutil.copytree(folder, tmp_path / f"copy.{kind}")
        ds = latentstore.open(tmp_path / f"copy.{kind}")
    other = LatentLoader(ds, 2, True)
    other.load_state_dict(state)
    assert seen + [batch["key"] for batch in other] == [batch["key"] for batch in LatentLoader(ds, 2, True)]
    for another in stores.keys() - {kind, "remote" if kind == "zarr" else "", "zarr" if kind == "remote" else ""}:
        with pytest.raises(ArgumentError, match="the loader state is of another data set"):
            LatentLoader(latentstore.open(stores[another]), 2, True).load_state_dict(state)


def test_a_corrected_class_name_makes_no_other_store(stores: dict[str, str], tmp_path: Path) -> None:
    state = LatentLoader(latentstore.open(stores["zarr"]), 2).state_dict()
    shutil.copytree(stores["zarr"], tmp_path / "x.zarr")
    root = tmp_path / "x.zarr" / "zarr.json"
    attributes = json.loads(root.read_text())
    attributes["attributes"]["latentstore"]["classes"][0] = "corrected"
    root.write_text(json.dumps(attributes))
    LatentLoader(latentstore.open(tmp_path / "x.zarr"), 2).load_state_dict(state)


def test_a_pickled_loader_goes_on(stores: dict[str, str]) -> None:
    loader = LatentLoader(latentstore.open(stores["zarr"]), 2, True, num_workers=2, output="latents")
    it = iter(loader)
    for _ in range(2):
        next(it)
    again = pickle.loads(pickle.dumps(loader))
    for ours, theirs in zip(it, again, strict=True):
        assert ours["key"] == theirs["key"] and torch.equal(ours["latent"], theirs["latent"])
