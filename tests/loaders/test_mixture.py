"""loaders/mixture.py: which store each sample comes from, epochs of each store, batches, ranks, resuming, refusals."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import Memory, flat
from torch_or_skip import torch

import latentstore
from latentstore.codecs.errors import ArgumentError
from latentstore.loaders import LatentLoader
from latentstore.loaders.epoch.order import ORDERS
from latentstore.loaders.epoch.schedule import PARTS, MixedOrder, Schedule, whole_weights
from latentstore.loaders.mixture import Mixture
from latentstore.writing import Sample, StoreSpec, open_writer

ORDERS_OF_LOADERS = [False, True, "block"]


def mixture(
    sizes: tuple[int, ...] = (60, 200), weights: tuple[float, ...] = (0.7, 0.3), local: bool = True, **options: Any
) -> Mixture:
    """Of stores in shards of 10; keys of the second store begin at 1000, and so on."""
    stores = {}
    for number, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        shards = [10] * (size // 10) + [size % 10]
        stores[Memory(*shards, name=f"store{number}", first=1000 * number, local=local)] = weight
    return latentstore.mix(stores, **options)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=5), st.integers(0, 5000))
def test_every_store_has_its_share_at_any_place(weights: list[float], start: int) -> None:
    parts = whole_weights(weights)
    assert sum(parts) == PARTS and min(parts) >= 1
    schedule = Schedule(parts)
    store, before = schedule.deal(np.arange(start + 300))
    for number, part in enumerate(parts):
        own = store == number
        assert np.array_equal(before[own], np.arange(own.sum())) and own.sum() == schedule.counts(start + 300)[number]
        assert abs(own.sum() - (start + 300) * part / PARTS) <= len(parts)
    some = np.arange(start, start + 300)[::-7]
    assert np.array_equal(schedule.deal(some)[0], store[some])


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=4), st.sampled_from(ORDERS), st.integers(1, 4), st.data())
def test_epochs_of_each_store_follow_each_other(sizes: list[int], kind: str, slot: int, data: st.DataObject) -> None:
    weights = whole_weights([data.draw(st.integers(1, 9)) for _ in sizes])
    stop = data.draw(st.sampled_from(["first", "longest"]))
    order = MixedOrder.of([(size,) for size in sizes], kind, 3, weights, stop, slot)
    rows: list[list[int]] = [[] for _ in sizes]
    for epoch in range(3):
        samples = order.epoch(epoch).indices(np.arange(order.samples))
        for number, row in enumerate(rows):
            # in a full shuffle an epoch takes the same samples, in another order
            mine = samples[(samples >= order.starts[number]) & (samples < order.starts[number + 1])]
            row += mine.tolist()
    counts = order.schedule.counts(order.slots)
    for number, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        assert len(row) == 3 * counts[number] * slot
        times = Counter(row)
        assert max(times.values(), default=0) - (min(times.values()) if len(times) == size else 0) <= 1
        assert counts[number] * slot <= size if stop == "first" else counts[number] * slot >= size
    nearest = [abs(count * slot - size) for count, size in zip(counts, sizes, strict=True)]
    assert min(nearest) < slot


def test_stop_decides_the_length() -> None:
    first, longest = (mixture(stop=stop) for stop in ("first", "longest"))
    a, b = (Counter(k // 1000 for k in flat(LatentLoader(m, 8, True))) for m in (first, longest))
    assert a[0] == 60 and a[0] / a.total() == pytest.approx(0.7, abs=0.01)
    assert b[1] == 200 and b[0] / b.total() == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("shuffle", ORDERS_OF_LOADERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_says_its_stores(shuffle: Any, workers: int) -> None:
    loader = LatentLoader(mixture(local=shuffle is True), 10, shuffle, num_workers=workers)
    for batch in loader:
        keys = [int(key[1:]) for key in batch["key"]]
        assert batch["store"].dtype == torch.int64 and batch["store"].tolist() == [key // 1000 for key in keys]
        assert batch["latent"][:, 0, 0, 0].tolist() == [key % 1000 % 100 for key in keys]
        assert batch["label"].tolist() == [key % 1000 % 5 for key in keys]
        assert batch["caption"] == [f"c{key % 1000}" for key in keys]
        if not shuffle:
            assert abs((batch["store"] == 0).sum().item() - 0.7 * len(keys)) <= 1
    assert loader.ds.names == ["store0", "store1"]
    assert all(ds.held == [] for ds in loader.ds.stores)


def test_separate_batches_are_of_one_store() -> None:
    loader = LatentLoader(mixture(batches="separate"), 10, True)
    stores = [set(batch["store"].tolist()) for batch in loader]
    assert all(len(found) == 1 for found in stores) and stores.count({0}) == 6
    assert len(set(flat(loader))) == 10 * len(loader)


@pytest.mark.parametrize("shuffle", ORDERS_OF_LOADERS)
@pytest.mark.parametrize("options", [{}, {"stop": "longest"}, {"batches": "separate"}])
def test_other_ranks_go_on_in_the_middle(shuffle: Any, options: dict[str, Any]) -> None:
    def made() -> Mixture:
        return mixture(local=shuffle is True, **options)

    def ranks(world_size: int, workers: int = 0) -> list[LatentLoader]:
        return [
            LatentLoader(made(), 5, shuffle, 3, workers, rank=rank, world_size=world_size) for rank in range(world_size)
        ]

    whole = LatentLoader(made(), 5, shuffle, 3)
    expected = Counter(flat(whole))
    seen: Counter[int] = Counter()
    states = []
    for loader in ranks(4):
        it = iter(loader)
        for _ in range(2):
            seen.update(flat([next(it)]))
        states.append(json.loads(json.dumps(loader.state_dict())))
    assert all(state == states[0] for state in states)
    (alone,) = ranks(1, 3)
    alone.load_state_dict(states[0])
    seen.update(flat(alone))
    assert seen == expected and alone.epoch == 1
    assert flat(alone) == flat(whole)  # the next epoch


def test_a_state_names_the_stores_and_weights() -> None:
    state = LatentLoader(mixture(), 5, True).state_dict()
    LatentLoader(mixture(), 7, True).load_state_dict(state)
    for other in (mixture(weights=(0.6, 0.4)), mixture(sizes=(61, 200)), mixture(stop="longest")):
        with pytest.raises(ArgumentError, match="another data set or order than this loader's, a mixture of store0"):
            LatentLoader(other, 5, True).load_state_dict(state)


def test_ranks_that_take_turns_get_every_store() -> None:
    loader = LatentLoader(mixture((500, 500), (1, 1)), 50, True, rank=0, world_size=2)
    found = torch.cat([batch["store"] for batch in loader]).float().mean()
    assert 0.3 < found < 0.7


@pytest.mark.parametrize(("stores", "options", "said"), [
    ({}, {}, "a weight for each store is expected"),
    (["a.zarr"], {}, "a weight for each store is expected"),
    ({"a.zarr": 0}, {}, "the weight of a.zarr is 0, expected a number above 0"),
    ({"a.zarr": float("nan")}, {}, "the weight of a.zarr is nan"),
    ({"a.zarr": "1"}, {}, "the weight of a.zarr is '1'"),
    ({"a.zarr": 1}, {"stop": "last"}, "stop is 'last', expected one of first, longest"),
    ({"a.zarr": 1}, {"batches": "both"}, "batches is 'both', expected one of mixed, separate"),
])  # fmt: skip
def test_mixtures_that_cannot_be(stores: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        latentstore.mix(stores, **options)


def test_stores_that_differ_are_refused_unless_batches_are_separate() -> None:
    small, large = Memory(20, name="small"), Memory(20, name="large", size=None)
    with pytest.raises(ArgumentError, match=r"small has samples of size .* and large has samples of size None, so"):
        latentstore.mix({small: 1, large: 1})
    loader = LatentLoader(latentstore.mix({small: 1, large: 1}, batches="separate"), 5)
    assert {type(batch["latent"]) for batch in loader} == {torch.Tensor, list}


def test_latents_are_normalised_over_the_mixture() -> None:
    one, two = Memory(50, name="one"), Memory(50, name="two")
    two.stats = (np.array([3.0, 0.0, -2.0], np.float32), np.array([4.0, 0.0, 0.5], np.float32))
    batch = next(iter(LatentLoader(latentstore.mix({one: 1, two: 1}), 20, output="latents")))
    codes = torch.tensor([int(key[1:]) for key in batch["key"]], dtype=torch.float32)
    # means 1 and 3, standard deviations 4: together 2 and sqrt(17)
    assert torch.allclose(batch["latent"][:, 0, 0, 0], (codes * 2 - 2) / 17**0.5, atol=1e-5)
    assert torch.equal(batch["latent"][:, 2, 0, 0], (codes + 2) / 0.5)


def test_stores_on_disk(tmp_path: Path) -> None:
    codec = latentstore.load_codec("rgb-f8c48")
    urls = [f"{tmp_path}/{name}.zarr" for name in "ab"]
    for number, url in enumerate(urls):
        rng = np.random.default_rng(number)
        groups = [codec.compress_groups(rng.integers(0, 255, (32, 24, 3), np.uint8), effort="fast") for _ in range(11)]
        with open_writer(url, StoreSpec.of(codec, size=(32, 24), shard_samples=4, source="test")) as writer:
            for shard in range(3):
                own = range(4 * shard, min(4 * shard + 4, 11))
                writer.write_shard(shard, [Sample(f"{number}{i:02d}", groups[i], 24, 32, {}) for i in own])
            writer.finish(3)
    mixed = latentstore.mix(dict.fromkeys(urls, 1), channels=12)
    batches = list(LatentLoader(mixed, 4, True, output="latents"))
    assert sum(len(batch["key"]) for batch in batches) == 22 and mixed.names == urls
    assert {tuple(batch["latent"].shape[1:]) for batch in batches} == {(12, 4, 3)}
