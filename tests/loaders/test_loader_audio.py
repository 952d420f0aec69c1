"""Batches of audio: shapes, padding, masks, normalised latents by each sample's step, waveforms, ranks, resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_made import chirp, write
from torch_or_skip import torch

import latentstore
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.loaders import LatentLoader

RATE, COUNT = 8000, 50


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(5)
    loudness = np.exp(rng.normal(-2, 1, COUNT)).astype(np.float32)
    clips = {f"{i % 3}_{i:02d}": (loudness[i] * chirp(i, int(rng.integers(40, 4000))), RATE) for i in range(COUNT)}
    return write(tmp_path_factory.mktemp("clips"), **clips)


@pytest.fixture(scope="module", params=["zarr", "wds"])
def whole(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    url = tmp_path_factory.mktemp("whole") / "x"
    latentstore.convert(source, url, codec="mono-f32c32", format=request.param, labels="{label}_{n}.wav")
    return latentstore.open(url)


@pytest.fixture(scope="module", params=["zarr", "wds"])
def windows(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    url = tmp_path_factory.mktemp("windows") / "x"
    latentstore.convert(source, url, codec="mono-f32c32", format=request.param, seconds=0.1)
    return latentstore.open(url, channels=16)


def expected(ds: Any, index: int) -> np.ndarray:
    """The normalised latent of one sample, float32 (c, t)."""
    sample = ds[index]
    scale = ds.codec.scale_of(sample["step"])[: ds.channels]
    spread = np.where(ds.stats.std > 0, ds.stats.std, 1)
    return (sample["latent"] * scale[:, None] - ds.stats.mean[:, None]) / spread[:, None]


def test_windows_are_one_tensor(windows: Any) -> None:
    batch = next(iter(LatentLoader(windows, 8, output="codes")))
    assert batch["latent"].dtype == torch.int8 and batch["latent"].shape == (8, 16, 25)
    assert batch["rate"].tolist() == [RATE] * 8 and "mask" not in batch
    assert np.array_equal(batch["latent"][3], windows[3]["latent"])
    latents = next(iter(LatentLoader(windows, 8, output="latents")))["latent"]
    for i in range(8):
        np.testing.assert_allclose(latents[i], expected(windows, i), rtol=1e-4, atol=1e-5)
    audio = next(iter(LatentLoader(windows, 8, output="waveforms")))["waveform"]
    assert audio.dtype == torch.float32 and audio.shape == (8, 800, 1)


def test_latents_have_unit_variance_over_the_store(windows: Any) -> None:
    loader = LatentLoader(windows, 16, output="latents", dtype=torch.float32)
    latents = torch.cat([batch["latent"] for batch in loader])
    assert latents.mean(dim=(0, 2)).abs().max() < 1e-4
    spread = latents.std(dim=(0, 2), correction=0)
    assert (((spread - 1).abs() < 1e-3) | (spread == 0)).all()


@pytest.mark.parametrize("shuffle", [False, True, "block"])
@pytest.mark.parametrize("output", ["codes", "latents", "waveforms"])
def test_lengths_are_padded_and_masked(whole: Any, shuffle: Any, output: str) -> None:
    place = {key: i for i, key in enumerate(whole.keys())}
    samples = whole.sizes()[:, 1]
    loader = LatentLoader(whole, 8, shuffle, output=output, num_workers=2)
    seen, padded, places = [], 0, 0
    for batch in loader:
        name = "waveform" if output == "waveforms" else "latent"
        values, lengths, mask = batch[name], batch["lengths"], batch["mask"]
        if output != "waveforms":
            values = values.transpose(1, 2)
        assert mask.dtype == torch.bool and mask.shape == values.shape[:2] and lengths.dtype == torch.int64
        assert mask.shape[1] == lengths.max() and torch.equal(mask.sum(1), lengths)
        assert not values[~mask].any()
        for row, key in enumerate(batch["key"]):
            index = place[key]
            length = samples[index] if output == "waveforms" else -(-samples[index] // 32)
            assert lengths[row] == length and batch["label"][row] == int(key[0])
            part = values[row, :length].numpy()
            if output == "codes":
                assert np.array_equal(part.T, whole[index]["latent"])
            elif output == "latents":
                np.testing.assert_allclose(part.T, expected(whole, index), rtol=1e-4, atol=1e-5)
        seen += batch["key"]
        padded, places = padded + int((~mask).sum()), places + mask.numel()
    assert sorted(seen) == sorted(place) and len(loader) == 7
    assert loader.padding == padded / places
    assert loader.padding < (0.6 if not shuffle else 0.25)


def test_stored_order_stays(whole: Any) -> None:
    assert [key for batch in LatentLoader(whole, 8) for key in batch["key"]] == whole.keys()


@pytest.mark.parametrize("shuffle", [True, "block"])
def test_order_is_that_of_the_seed_and_the_epoch(whole: Any, shuffle: Any) -> None:
    def epochs(seed: int, workers: int) -> list[list[str]]:
        loader = LatentLoader(whole, 8, shuffle, seed=seed, num_workers=workers)
        return [[",".join(batch["key"]) for batch in loader] for _ in range(2)]

    assert epochs(1, 0) == epochs(1, 3) != epochs(2, 0)
    first, second = epochs(1, 0)
    assert first != second


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [True, "block"])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_batches(whole: Any, shuffle: Any, ranks: int, drop_last: bool) -> None:
    def batches(rank: int, world_size: int) -> list[str]:
        loader = LatentLoader(whole, 8, shuffle, drop_last=drop_last, rank=rank, world_size=world_size)
        found = [",".join(batch["key"]) for batch in loader]
        assert len(found) == len(loader)
        return found

    alone = [",".join(batch["key"]) for batch in LatentLoader(whole, 8, shuffle)]
    shared = [batches(rank, ranks) for rank in range(ranks)]
    assert len({len(found) for found in shared}) == 1
    every = [batch for found in shared for batch in found]
    assert set(every) <= set(alone)
    if drop_last:
        assert len(set(every)) == len(every) == 6 // ranks * ranks and all(b.count(",") == 7 for b in every)
    else:
        assert set(every) == set(alone)


def test_resuming_with_other_ranks(whole: Any) -> None:
    every = [",".join(batch["key"]) for batch in LatentLoader(whole, 8, True, seed=4)]
    first = LatentLoader(whole, 8, True, seed=4, rank=0, world_size=2)
    read = iter(first)
    for _ in range(2):
        next(read)
    state = first.state_dict()
    rest = []
    for rank in range(3):
        loader = LatentLoader(whole, 8, True, seed=4, rank=rank, world_size=3)
        loader.load_state_dict(state)
        rest += [",".join(batch["key"]) for batch in loader]
    assert set(rest) == set(every[4:])
    with pytest.raises(ArgumentError, match="batch_size"):
        LatentLoader(whole, 9, True, seed=4).load_state_dict(state)


def test_a_remote_store(source: Path, s3_server: dict[str, Any]) -> None:
    url = "s3://bucket/audio.zarr"
    latentstore.convert(source, url, codec="mono-f32c32", storage_options=s3_server)
    ds = latentstore.open(url, storage_options=s3_server)
    for shuffle in (False, True, "block"):
        loader = LatentLoader(ds, 8, shuffle, num_workers=1)
        assert sorted(key for batch in loader for key in batch["key"]) == ds.keys()


@pytest.mark.parametrize("shuffle", [False, True, "block"])
def test_a_budget_of_positions(whole: Any, shuffle: Any) -> None:
    loader = LatentLoader(whole, max_positions=300, shuffle=shuffle)
    batches = list(loader)
    assert all(batch["mask"].numel() <= 300 for batch in batches) and len(batches) == len(loader)
    assert sorted(key for batch in batches for key in batch["key"]) == sorted(whole.keys())
    assert loader.padding < 0.08
    with pytest.raises(ArgumentError, match=r"max_positions is 9, and .* alone has"):
        next(iter(LatentLoader(whole, max_positions=9)))
    with pytest.raises(ArgumentError, match="group_by='shape' is not for recordings"):
        LatentLoader(whole, 8, group_by="shape")


@pytest.mark.parametrize("output", ["latents", "waveforms"])
def test_a_mixture_is_padded_and_of_similar_lengths(whole: Any, output: str) -> None:
    both = latentstore.mix({whole: 1, latentstore.open(whole.url): 1})
    loader, name = LatentLoader(both, 10, True, output=output), {"latents": "latent"}.get(output, "waveform")
    alone = {b["key"][0]: b[name][0] for b in LatentLoader(whole, 1, output=output)}
    seen = []
    for batch in loader:
        assert torch.equal(batch["mask"].sum(1), batch["lengths"]) and batch["mask"].shape[1] == batch["lengths"].max()
        for row, key in enumerate(batch["key"]):
            length = int(batch["lengths"][row])
            values = batch[name][row] if output == "waveforms" else batch[name][row].T
            expected = alone[key] if output == "waveforms" else alone[key].T
            assert torch.allclose(values[:length], expected, atol=1e-5) and not values[length:].any()
        seen += list(zip(batch["store"].tolist(), batch["key"], strict=True))
    names = whole.keys()
    assert sorted(seen) == sorted((store, key) for store in (0, 1) for key in names)
    assert loader.padding < 0.25


def test_outputs_of_the_other_kind(whole: Any) -> None:
    with pytest.raises(ArgumentError, match="holds recordings"):
        LatentLoader(whole, 8, output="pixels")


def test_a_step_that_cannot_be(whole: Any) -> None:
    with pytest.raises(CorruptError, match="step code"):
        whole.step_codes({"step": np.array([3, 256])})
    with pytest.raises(CorruptError, match="step code"):
        whole.step_codes({})


def test_a_store_that_lacks_what_audio_needs(whole: Any) -> None:
    from latentstore.loaders.manifest import StoreMeta

    fields = {name: kind for name, kind in whole.info["fields"].items() if name != "rate"}
    with pytest.raises(CorruptError, match="need the field 'rate', of kind int"):
        StoreMeta.of({**whole.info, "fields": fields}, "here")


def test_plain_zarr_reads_windows(source: Path, tmp_path: Path) -> None:
    import zarr

    report = latentstore.convert(source, tmp_path / "x.zarr", codec="mono-f32c32", seconds=0.1)
    ds = latentstore.open(report.url)
    array = zarr.open_group(report.url, mode="r")["latent"]
    assert np.array_equal(np.asarray(array[:])[:, :, 0], [ds[i]["latent"] for i in range(len(ds))])
