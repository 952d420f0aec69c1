"""loaders/epoch/groups.py, and through the loader: batches of one shape, budgets of positions, ranks, resuming."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import Memory, flat
from torch_or_skip import torch

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders import LatentLoader
from latentstore.loaders.epoch.groups import GroupedEpoch, Groups
from latentstore.loaders.epoch.order import ORDERS, SampleOrder
from latentstore.loaders.epoch.pools import StorePools

sizes = st.lists(st.integers(0, 40), min_size=1, max_size=6)


def grouped(shards: list[int], kind: str, limits: tuple[int | None, int | None], epoch: int = 0, drop: bool = False):
    """(the batches of an epoch, the shape of each sample)"""
    order = SampleOrder(tuple(shards), kind, 5, window=2)
    shapes = np.random.default_rng(4).integers(1, 4, (order.samples, 2))
    groups = Groups.by_shape(shapes, shapes.prod(1), *limits)
    return GroupedEpoch(StorePools(groups, order), order.seed, kind != "none", epoch, drop), shapes


@settings(deadline=None, derandomize=True)
@given(sizes, st.sampled_from(ORDERS), st.integers(1, 9), st.booleans(), st.booleans(), st.integers(0, 3))
def test_every_sample_once_with_its_like(
    shards: list[int], kind: str, batch_size: int, budget: bool, drop: bool, epoch: int
) -> None:
    limits = (None, 9 * batch_size) if budget else (batch_size, None)
    made, shapes = grouped(shards, kind, limits, epoch, drop)
    batches = [made.batch(number) for number in range(made.count)]
    seen = Counter(index for indices, _ in batches for index in indices.tolist())
    assert max(seen.values(), default=1) == 1 and (drop or len(seen) == sum(shards))
    starts = np.cumsum(shards)
    for indices, windows in batches:
        assert len({tuple(shape) for shape in shapes[indices].tolist()}) == 1
        positions = len(indices) * int(shapes[indices[0]].prod())
        assert positions <= 9 * batch_size if budget else len(indices) <= batch_size
        if drop:
            assert len(indices) == (max(1, 9 * batch_size // int(shapes[indices[0]].prod())) if budget else batch_size)
        if kind == "block":
            own = set(np.searchsorted(starts, indices, side="right").tolist())
            assert own <= set(made.order.shards(windows[0]))
            first, last = made.span(0, made.count - 1)
            assert made.order.windows(np.array([first, last])).tolist() == [batches[0][1][0], batches[-1][1][0]]
    if kind == "none":
        firsts = [int(indices[0]) for indices, _ in batches]
        assert firsts == sorted(firsts) and all(np.all(np.diff(indices) > 0) for indices, _ in batches)


def test_another_epoch_makes_other_batches() -> None:
    first, second = (grouped([300], "full", (10, None), epoch)[0] for epoch in (0, 1))
    assert sorted(first.batch(0)[0].tolist()) != sorted(second.batch(0)[0].tolist())
    shapes = [grouped([300], "full", (10, None))[1][first.batch(n)[0][0]].tolist() for n in range(first.count)]
    assert shapes != sorted(shapes)


def test_similar_lengths_make_little_padding() -> None:
    lengths = np.exp(np.random.default_rng(3).normal(4, 1, 20_000)).astype(np.int64) + 1
    order = SampleOrder((20_000,), "full", 0)
    made = GroupedEpoch(StorePools(Groups.by_length(lengths, 8192), order), 0, True, 0, False)
    padded = real = 0
    for number in range(made.count):
        own = lengths[made.batch(number)[0]]
        assert len(own) * own.max() <= 8192
        padded, real = padded + len(own) * int(own.max()), real + int(own.sum())
    assert real / padded > 0.95


@pytest.mark.parametrize("shuffle", [False, True, "block"])
@pytest.mark.parametrize("limits", [{"batch_size": 4, "group_by": "shape"}, {"max_positions": 24}])
def test_images_of_many_sizes_are_tensors(shuffle: Any, limits: dict[str, Any]) -> None:
    def make(**options: Any) -> LatentLoader:
        return LatentLoader(Memory(20, 15, 30, size=None, local=False), **limits, shuffle=shuffle, **options)

    # as stored and in a full shuffle, a batch may need any shard: nothing is read ahead
    loader = make()
    loader.ds.is_local = shuffle != "block"
    batches = list(loader)
    assert len(batches) == len(make())
    for batch in batches:
        assert isinstance(batch["latent"], torch.Tensor)
        b, _, h, w = batch["latent"].shape
        assert b * h * w <= 24 if "max_positions" in limits else b <= 4
    assert sorted(flat(batches)) == list(range(65))

    seen: list[int] = []
    for rank in range(3):
        part = make(rank=rank, world_size=3, num_workers=rank)
        part.ds.is_local = shuffle != "block"
        it = iter(part)
        seen += flat([next(it), next(it)])
        state = json.loads(json.dumps(part.state_dict()))
    rest = make(num_workers=1)
    rest.ds.is_local = shuffle != "block"
    rest.load_state_dict(state)
    assert sorted(seen + flat(rest)) == list(range(65))


def test_a_budget_of_one_size_is_a_batch_size() -> None:
    loader = LatentLoader(Memory(50), max_positions=30)
    assert loader.batch_size == 7 and next(iter(loader))["latent"].shape[0] == 7
    with pytest.raises(ArgumentError, match="max_positions is 3, and every sample of memory has 4 latent positions"):
        LatentLoader(Memory(50), max_positions=3)


def test_a_sample_beyond_the_budget_is_named() -> None:
    with pytest.raises(ArgumentError, match="max_positions is 5, and memory, sample 2 alone has 6 latent positions"):
        next(iter(LatentLoader(Memory(9, size=None), max_positions=5)))


def test_a_state_needs_the_same_groups() -> None:
    state = LatentLoader(Memory(30, size=None), max_positions=24).state_dict()
    for options in ({"max_positions": 30}, {"batch_size": 4, "group_by": "shape"}, {"batch_size": 4}):
        with pytest.raises(ArgumentError, match="another data set or order"):
            LatentLoader(Memory(30, size=None), **options).load_state_dict(state)
