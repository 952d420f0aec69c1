"""Which shards are joined: the order stays, their number and what is copied are bounded."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from latentstore.loaders.tensors.manifest import Shard, TensorMeta
from latentstore.writing.tensors import joining
from latentstore.writing.tensors.joining import FEWEST, RATIO, WHOLE, Copying, Full, groups

ONE = WHOLE // 1000


def sizes(shares: list[int]) -> list[int]:
    """How large the shards are afterwards."""
    return [sum(shares[number] for number in one) for one in groups(shares)]


@pytest.mark.parametrize(("shares", "joined"), [
    ([], []),
    ([ONE] * 7, [1] * 7),
    ([ONE] * 8, [8]),
    ([ONE] * 9, [8, 1]),
    ([8 * ONE] + [ONE] * 8, [8, 8]),
    ([8 * ONE] * 7 + [ONE] * 8, [64]),
    ([ONE] * 2 + [3 * ONE] * 7, [1] * 2 + [3] * 7),  # the largest decides
    ([0, ONE, 0] * 8, [8]),
    ([100 * ONE] * 7, [100] * 7),
    ([100 * ONE] * 8, [800]),
    ([250 * ONE] * 4, [250] * 4),  # more may come
    ([250 * ONE] * 5, [1000, 250]),
    ([260 * ONE] * 5, [260] * 5),  # too few fit
    ([600 * ONE, 100 * ONE, 100 * ONE, 100 * ONE, 200 * ONE], [900, 200]),
    ([600 * ONE] * 3, [600] * 3),
    ([1000 * ONE, ONE, 1000 * ONE, ONE], [1000, 1, 1000, 1]),
    ([5000 * ONE, ONE, 5000 * ONE], [5000, 1, 5000]),
    ([ONE] * 576, [512, 64]),
    ([ONE] * 1010, [1000, 8, 1, 1]),
])  # fmt: skip
def test_what_is_joined(shares: list[int], joined: list[int]) -> None:
    assert sizes(shares) == [size * ONE for size in joined]


@pytest.mark.parametrize("seed", range(12))
def test_any_shards(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = [int(WHOLE * part) for part in 10.0 ** rng.uniform(-rng.uniform(0.2, 5), 0.1, 300)]
    shares = [share if keep else 0 for share, keep in zip(shares, rng.random(300) < 0.9, strict=True)]
    found = groups(shares)
    assert [number for one in found for number in one] == [n for n, share in enumerate(shares) if share]
    assert all(sum(shares[number] for number in one) <= WHOLE for one in found if len(one) > 1)
    after = sizes(shares)
    assert sizes(after) == after, "nothing is left to do"
    last = len(after)
    while last and sum(after[last - 1 :]) <= WHOLE:
        last -= 1
    many = 2 * FEWEST - 2  # so many in a row hold a whole group, and the shard that did not fit into it
    assert all(sum(after[first : first + many]) > WHOLE for first in range(last - many + 1))
    for first in range(last, len(after)):
        for end in range(first + 2, len(after) + 1):
            assert sum(after[first:end]) < RATIO * max(after[first:end])


@pytest.mark.parametrize(("largest", "deleted"), [(1, 0.0), (30, 0.0), (2000, 0.0), (30, 0.02), (2000, 0.02)])
def test_a_life_of_many_sessions(largest: int, deleted: float) -> None:
    """1500 sessions that add some samples each to a store with full shards of 4096, and remove some anywhere."""
    rng, full = np.random.default_rng(largest), 4096
    shards, copies = list[int](), list[int]()  # samples of each; how often those were copied that were most often
    added = copied = 0
    for _ in range(1500):
        left = [int(rng.binomial(size, 1 - deleted)) if rng.random() < 0.1 else size for size in shards]
        found = groups([size * WHOLE // full for size in left])
        copied += sum(left[number] for one in found for number in one if len(one) > 1)
        copies = [max(copies[number] for number in one) + (len(one) > 1) for one in found]
        shards = [sum(left[number] for number in one) for one in found]
        size = int(rng.integers(1, largest + 1))
        shards, copies, added = [*shards, size], [*copies, 0], added + size
        assert len(shards) <= (2 * FEWEST - 2) * sum(shards) / full + 16 * math.log(full, 8)
    if not deleted:
        assert max(copies) <= math.log(full, 8) + 1 and copied <= (math.log(full, 8) + 1) * added


def test_what_counts_as_full() -> None:
    shard = Shard("x", count=10, bytes=1000, tail=100, fields=(900,))
    assert Full(samples=100, bytes=1 << 20).share(shard, 10) == WHOLE // 10
    assert Full(samples=100, bytes=2000).share(shard, 10) == WHOLE // 2
    assert Full(samples=100, bytes=2000).share(shard, 5) == WHOLE // 4
    assert Full(samples=100, bytes=2000).share(shard, 0) == 0
    assert Full.of_tensors(1 << 30).bytes == 1 << 27, "it is held in memory"
    assert Full(samples=1 << 60, bytes=1 << 60).share(shard, 1) == 1, "a sample is something"
    parts = [Full(samples=7, bytes=1 << 20).share(shard, 1)] * 7
    assert sum(parts) <= WHOLE < sum(parts) + min(a + b for a, b in pairwise(parts))


def test_so_much_is_joined_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those first that leave the fewest shards for their bytes; what is written again in any case costs nothing."""
    sizes = [240] * 4 + [90] * 10 + [150] * 6 + [900]
    shards = tuple(Shard(f"{n}", 10, size, 50, (size - 50,)) for n, size in enumerate(sizes))
    base, full, every = TensorMeta(1, {}, {}, {}, shards, "", "", {}), Full(10_000, 1000), [10] * 21
    first, second, third = list(range(4)), list(range(4, 14)), list(range(14, 20))
    whole = Copying.of(base, every, full)
    assert whole.groups == [first, second, third, [20]]
    assert (whole.joined, whole.joined_bytes, whole.into, whole.rewritten) == (20, 2760, 3, 0)

    monkeypatch.setattr(joining, "AT_ONCE", 1800)
    some = Copying.of(base, every, full)
    assert some.groups == [*([n] for n in first), second, third, [20]]
    assert (some.joined, some.joined_bytes, some.into) == (16, 1800, 2)

    monkeypatch.setattr(joining, "AT_ONCE", 1000)
    some = Copying.of(base, [*every[:20], 9], full)
    assert some.groups == [*([n] for n in first), second, *([n] for n in third), [20]]
    assert (some.joined, some.into, some.rewritten, some.rewritten_bytes) == (10, 1, 1, 900)
    some = Copying.of(base, [*every[:14], *[9] * 6, 10], full)
    assert some.groups == [*([n] for n in first), second, third, [20]]
