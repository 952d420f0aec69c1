"""loaders/epoch/order.py: exact cover, good mixing, the same answer however it is asked."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.epoch.order import ORDERS, SampleOrder, permute, round_keys

sizes = st.lists(st.integers(0, 40), min_size=0, max_size=12)


def make(mode: str, shard_sizes: list[int], seed: int = 0, window: int = 3) -> SampleOrder:
    return SampleOrder(tuple(shard_sizes), mode, seed, window)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 3000), st.integers(-(2**70), 2**70))
def test_permute_is_a_permutation(n: int, key: int) -> None:
    assert np.array_equal(np.sort(permute(np.arange(n), n, round_keys(key))), np.arange(n))


def test_permute_reaches_beyond_32_bits() -> None:
    n = 2**62
    positions = np.array([0, 1, 2**40, n - 1])
    out = permute(positions, n, round_keys(5))
    assert len(set(out.tolist())) == 4 and out.min() >= 0 and out.max() < n
    assert out.max() > 2**50


def test_permute_refuses_positions_outside() -> None:
    with pytest.raises(ArgumentError, match="order of 10 samples"):
        permute(np.array([3, 10]), 10, round_keys(0))
    with pytest.raises(ArgumentError):
        permute(np.array([0]), 0, round_keys(0))
    assert permute(np.zeros(0, np.int64), 0, round_keys(0)).shape == (0,)


def test_the_order_never_changes() -> None:
    """A run that is resumed with a newer version must go on where it stopped: these figures are frozen."""
    order = SampleOrder((400, 600), "full", seed=7)
    assert order.epoch(3).indices(np.arange(6)).tolist() == FROZEN_FULL
    assert make("block", [5, 3, 9, 4], seed=7, window=2).epoch(3).indices(np.arange(8)).tolist() == FROZEN_BLOCK


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_small_permutations_are_equally_likely(n: int) -> None:
    trials = 1000 if n < 5 else 4000
    seen = Counter(tuple(permute(np.arange(n), n, round_keys(1, seed)).tolist()) for seed in range(trials))
    kinds = math.factorial(n)
    expected = trials / kinds
    chi = sum((seen[p] - expected) ** 2 / expected for p in seen) + (kinds - len(seen)) * expected
    assert (chi - (kinds - 1)) / math.sqrt(2 * (kinds - 1)) < 4


def test_large_permutations_mix() -> None:
    n = 60_000
    where = np.arange(n)
    first, second = (permute(where, n, round_keys(0, epoch)) for epoch in (0, 1))
    for a, b in ((where, first), (first[:-1], first[1:]), (first, second), (first & 255, where & 255)):
        assert abs(np.corrcoef(a, b)[0, 1]) * math.sqrt(n) < 4
    # Every tenth of the epoch draws evenly from every tenth of the data set.
    table = np.zeros((10, 10))
    np.add.at(table, (where * 10 // n, first * 10 // n), 1)
    chi = ((table - n / 100) ** 2 / (n / 100)).sum()
    assert (chi - 81) / math.sqrt(2 * 81) < 4
    # Gaps between neighbours of the stored order are spread like those of a random permutation: mean n / 3.
    assert abs(np.abs(np.diff(first)).mean() / (n / 3) - 1) < 0.02


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(ORDERS), sizes, st.integers(0, 5), st.integers(0, 3), st.integers(1, 5))
def test_each_sample_once_and_any_slice_agrees(
    mode: str, shard_sizes: list[int], seed: int, epoch: int, window: int
) -> None:
    order = make(mode, shard_sizes, seed, window)
    whole = order.epoch(epoch).indices(np.arange(order.samples))
    assert np.array_equal(np.sort(whole), np.arange(order.samples))
    for start in range(0, order.samples, 7):
        positions = np.arange(start, min(start + 11, order.samples))
        assert np.array_equal(order.epoch(epoch).indices(positions), whole[positions])
    backwards = np.arange(order.samples)[::-1]
    assert np.array_equal(order.epoch(epoch).indices(backwards), whole[::-1])


def test_seed_and_epoch_change_the_order() -> None:
    for mode in ("full", "block"):
        orders = [
            make(mode, [30] * 10, seed).epoch(epoch).indices(np.arange(300)) for seed in (0, 1) for epoch in (0, 1)
        ]
        for i, a in enumerate(orders):
            assert all((a != b).mean() > 0.9 for b in orders[:i])


def test_block_shuffle_reads_each_shard_in_one_window() -> None:
    shard_sizes = [17, 1, 0, 30, 8, 8, 25, 3, 12, 40]
    shard_of = np.repeat(np.arange(len(shard_sizes)), shard_sizes)
    order = make("block", shard_sizes, seed=3, window=3)
    together = set()
    for epoch in range(5):
        at = order.epoch(epoch)
        windows = at.windows(np.arange(order.samples))
        assert np.all(np.diff(windows) >= 0)
        shards = shard_of[at.indices(np.arange(order.samples))]
        for shard in set(shards.tolist()):
            assert len(set(windows[shards == shard].tolist())) == 1
        for w in set(windows.tolist()):
            assert len(set(shards[windows == w].tolist())) <= 3
            assert set(shards[windows == w].tolist()) <= set(at.shards(w))
            together.add(frozenset(at.shards(w)))
    assert len(together) > 10  # other shards meet in other epochs


def test_block_shuffle_mixes_within_a_window() -> None:
    order = make("block", [500] * 8, seed=1, window=8)
    got = order.epoch(0).indices(np.arange(4000))
    assert abs(np.corrcoef(got, np.arange(4000))[0, 1]) * math.sqrt(4000) < 4


def test_stored_order_names_the_shard_of_each_position() -> None:
    at = make("none", [3, 0, 2]).epoch(5)
    assert at.indices(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert [at.shards(w) for w in at.windows(np.arange(5))] == [[0], [0], [0], [2], [2]]


def test_impossible_orders_are_refused() -> None:
    for arguments in [((10,), "random"), ((3, -1),), ((3, 3), "block", 0, 0)]:
        with pytest.raises(ArgumentError):
            SampleOrder(*arguments)


FROZEN_FULL = [196, 783, 206, 538, 921, 473]
FROZEN_BLOCK = [1, 7, 5, 0, 3, 6, 4, 2]
