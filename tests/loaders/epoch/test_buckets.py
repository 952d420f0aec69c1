"""loaders/epoch/buckets.py: every sample once, like lengths together, the same whoever asks and in whatever order."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.loaders.epoch.buckets import POOL_BATCHES, Buckets
from latentstore.loaders.epoch.order import SampleOrder

LENGTHS = np.random.default_rng(3).integers(1, 1000, 5000)


def buckets(samples: int, batch_size: int, seed: int = 0, epoch: int = 0, mode: str = "full") -> Buckets:
    shards = (samples // 3, samples - samples // 3)
    order = SampleOrder(shards, mode, seed)
    return Buckets(order.epoch(epoch), samples, seed, epoch, batch_size, LENGTHS.take)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 3000), st.integers(1, 40), st.integers(0, 5), st.sampled_from(["full", "block"]))
def test_every_sample_once_in_batches_of_the_size(samples: int, batch_size: int, epoch: int, mode: str) -> None:
    made = buckets(samples, batch_size, epoch=epoch, mode=mode)
    batches = [made.batch(number)[0] for number in range(-(-samples // batch_size))]
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert sorted(np.concatenate(batches).tolist()) == list(range(samples))


def test_any_batch_may_be_asked_for_first() -> None:
    made = buckets(4000, 16)
    order = [200, 3, 77, 249, 0, 78]
    again = {number: made.batch(number)[0] for number in order}
    for number in sorted(order):
        assert np.array_equal(buckets(4000, 16).batch(number)[0], again[number])


def test_another_epoch_or_seed_is_another_order() -> None:
    first = buckets(4000, 16).batch(0)[0]
    assert not np.array_equal(first, buckets(4000, 16, epoch=1).batch(0)[0])
    assert not np.array_equal(first, buckets(4000, 16, seed=1).batch(0)[0])


def test_lengths_of_a_batch_are_alike_and_its_place_says_nothing() -> None:
    made = buckets(5000, 10)
    spans, means = [], []
    for number in range(POOL_BATCHES):
        lengths = LENGTHS[made.batch(number)[0]]
        spans.append(lengths.max() - lengths.min())
        means.append(lengths.mean())
    assert np.mean(spans) < 60  # of 1000
    assert abs(np.corrcoef(means, np.arange(POOL_BATCHES))[0, 1]) < 0.5


def test_a_batch_names_the_windows_of_its_pool() -> None:
    made = buckets(300, 10, mode="block")
    assert all(made.batch(number)[1] == [0] for number in range(30))
    shards = SampleOrder((100,) * 12, "block", 0, window=1)
    order = shards.epoch(0)
    many = Buckets(order, 1200, 0, 0, 10, LENGTHS.take)
    for number in (0, 40, 119):
        first = number // POOL_BATCHES * POOL_BATCHES * 10
        pool = np.arange(first, min(first + POOL_BATCHES * 10, 1200))
        assert many.batch(number)[1] == np.unique(order.windows(pool)).tolist()
