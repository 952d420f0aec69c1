"""loaders/grouping.py, through the loader: padded batches of images, and batches of one shape out of mixtures."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from memory_store import Memory, flat
from torch_or_skip import torch

import latentstore
from latentstore.codecs.errors import ArgumentError
from latentstore.loaders import Augment, LatentLoader
from latentstore.writing import Sample, StoreSpec, open_writer

ORDERS = [False, True, "block"]
LIMITS = [{"batch_size": 4, "group_by": "shape"}, {"max_positions": 24}, {"max_positions": 24, "group_by": "similar"}]
SIZES = [(16, 40), (24, 40), (40, 16), (33, 40), (8, 8)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of 30 images of five sizes."""
    codec = latentstore.load_codec("rgb-f8c48")
    url = f"{tmp_path_factory.mktemp('grouping')}/images.zarr"
    rng = np.random.default_rng(2)
    with open_writer(url, StoreSpec.of(codec, size=None, shard_samples=8, source="test")) as writer:
        for shard in range(4):
            samples = []
            for i in range(8 * shard, min(8 * shard + 8, 30)):
                height, width = SIZES[i % len(SIZES)]
                image = rng.integers(0, 255, (height, width, 3), np.uint8)
                groups = codec.compress_groups(image, effort="fast")
                samples.append(Sample(f"k{i:02d}", groups, width, height, {}))
            writer.write_shard(shard, samples)
        writer.finish(4)
    return url


def own(value: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """What is no padding of a sample (c, h, w)."""
    return value[:, : lengths[0], : lengths[1]]


@pytest.mark.parametrize(("output", "name"), [("codes", "latent"), ("latents", "latent"), ("pixels", "pixels")])
@pytest.mark.parametrize("channels", [None, (3, 12)])
def test_padded_images(url: str, output: str, name: str, channels: Any) -> None:
    """They hold what batches without padding hold, then zeros; the mask says where."""
    ds = latentstore.open(url, channels=12)
    augment = None if channels is None else Augment(flip=True, channels=channels)
    options: dict[str, Any] = {"shuffle": True, "output": output, "augment": augment}
    plain = {
        key: value
        for batch in LatentLoader(ds, 7, **options)
        for key, value in zip(batch["key"], batch[name], strict=True)
    }
    loader = LatentLoader(ds, max_positions=100, group_by="similar", **options)
    seen, places = [], 0
    for batch in loader:
        values, lengths, mask = batch[name], batch["lengths"], batch["mask"]
        assert lengths.dtype == torch.int64 and mask.dtype == torch.bool and mask.shape == values[:, 0].shape
        assert tuple(values.shape[2:]) == tuple(lengths.max(dim=0).values.tolist())
        assert mask.numel() <= (100 if name == "latent" else 6400)
        assert not values.masked_select(~mask[:, None]).any()
        for i, key in enumerate(batch["key"]):
            assert torch.equal(own(values[i], lengths[i]), plain[key]) and values.dtype == plain[key].dtype
            assert mask[i].sum() == lengths[i].prod() and own(mask[i][None], lengths[i]).all()
            seen.append(key)
        places += mask.numel()
    assert sorted(seen) == ds.keys()
    filled = sum(value[0].numel() for value in plain.values())
    assert 0 < loader.padding == pytest.approx(1 - filled / places)


def mixture(batches: str = "mixed", **options: Any) -> Any:
    stores = {
        Memory(10, 9, 10, 10, size=None, name="one", **options): 2,
        Memory(30, 30, 3, size=None, name="two", first=1000, **options): 1,
    }
    return latentstore.mix(stores, batches=batches, stop="longest")


@pytest.mark.parametrize("shuffle", ORDERS)
@pytest.mark.parametrize("batches", ["mixed", "separate"])
@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("workers", [0, 2])
def test_mixtures_of_many_sizes(shuffle: Any, batches: str, limits: dict[str, Any], workers: int) -> None:
    """Every batch is one tensor and keeps to its limit; an epoch has the samples that it has without groups."""
    mixed = mixture(batches, local=shuffle is True)
    loader = LatentLoader(mixed, **limits, shuffle=shuffle, seed=1, num_workers=workers)
    ways = set()
    for epoch in range(2):
        seen: Counter[int] = Counter()
        for batch in loader:
            b, _, h, w = batch["latent"].shape
            assert b * h * w <= 24 if "max_positions" in limits else b <= 4
            rows = [1 + int(key[1:]) % 1000 % 3 for key in batch["key"]]
            if limits.get("group_by") == "similar":
                assert batch["lengths"].tolist() == [[row, 2] for row in rows]
            else:
                assert set(rows) == {h}
            assert batch["store"].tolist() == [int(key[1:]) // 1000 for key in batch["key"]]
            ways.add(len(set(batch["store"].tolist())))
            seen.update(flat([batch]))
        if batches == "mixed":
            plain = LatentLoader(mixture(local=shuffle is True), 5, shuffle, 1)
            plain.set_epoch(epoch)
            assert seen == Counter(flat(plain))
    assert ways == ({1} if batches == "separate" else {1, 2})
    assert all(ds.held == [] for ds in mixed.stores)


def test_shares_hold_in_separate_batches_of_one_shape() -> None:
    loader = LatentLoader(mixture("separate"), 4, True, group_by="shape")
    stores = Counter(key // 1000 for key in flat(loader))
    assert stores[1] == 63 and stores[0] / stores.total() == pytest.approx(2 / 3, abs=0.02)


def test_a_budget_of_stores_of_one_size_each() -> None:
    small, large = Memory(40, name="small"), Memory(40, name="large", size=(32, 32))
    large.latent_shape = (3, 4, 4)
    small.sizes = lambda indices=None: np.full((40, 2), 16)  # type: ignore[method-assign]
    large.sizes = lambda indices=None: np.full((40, 2), 32)  # type: ignore[method-assign]
    loader = LatentLoader(latentstore.mix({small: 1, large: 1}, batches="separate"), max_positions=40, shuffle=True)
    batches = Counter((int(batch["store"].unique()), len(batch["key"])) for batch in loader)
    assert batches == {(0, 10): 4, (1, 2): 20}
    with pytest.raises(ArgumentError, match="max_positions is 9, and large, sample 0 alone has 16 latent positions"):
        next(iter(LatentLoader(latentstore.mix({small: 1, large: 1}, batches="separate"), max_positions=9)))
    alike = latentstore.mix({small: 1, Memory(40, name="other"): 1})
    assert LatentLoader(alike, max_positions=40).batch_size == 10


@pytest.mark.parametrize(("augment", "group_by", "said"), [
    (Augment(turn=True), "shape", "turn=True exchanges the height and the width"),
    (Augment(turn=True, flip=True), "similar", "turn=True exchanges the height and the width"),
    (Augment(crop=(1, 1)), "similar", "windows have one size, so nothing is padded"),
])  # fmt: skip
def test_changes_that_undo_groups(url: str, augment: Augment, group_by: str, said: str) -> None:
    ds = latentstore.open(url, channels=12)
    with pytest.raises(ArgumentError, match=said):
        LatentLoader(ds, 4, group_by=group_by, augment=augment)
    crops = LatentLoader(ds, 4, True, group_by="shape", augment=Augment(crop=(1, 1), turn=True))
    assert {tuple(batch["latent"].shape[1:]) for batch in crops} == {(12, 1, 1)}


def test_a_field_that_padding_needs() -> None:
    store = Memory(9, size=None)
    store.meta.kinds["mask"] = "int"
    LatentLoader(store, 4, group_by="shape")
    with pytest.raises(ArgumentError, match="memory has a field 'mask'"):
        LatentLoader(store, 4, group_by="similar")
    with pytest.raises(ArgumentError, match="group_by is 'size', expected 'shape', 'similar' or None"):
        LatentLoader(store, 4, group_by="size")
