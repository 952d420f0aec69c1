"""loaders/epoch/similar.py: groups of similar sizes hold every sample, keep to the budget, and pad little."""

from __future__ import annotations

import numpy as np
from drawn_sizes import drawn, padding
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.loaders.epoch.groups import Groups
from latentstore.loaders.epoch.order import SampleOrder
from latentstore.loaders.epoch.pools import pool_share
from latentstore.loaders.epoch.similar import FEWEST_BATCHES

shapes_of = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=120)


@settings(deadline=None, derandomize=True)
@given(shapes_of, st.integers(1, 8), st.booleans(), st.integers(1, 4))
def test_groups_keep_to_what_they_must(
    shapes: list[tuple[int, int, int]], batch_size: int, budget: bool, share: int
) -> None:
    rows = np.array(shapes, np.int64)
    most = int(rows[:, 1:].prod(axis=1).max()) + batch_size if budget else None
    groups = Groups.by_similarity(rows, None if budget else batch_size, most, (1, share))
    assert len(groups.group) == len(rows)
    for number, size in enumerate(groups.batch_sizes.tolist()):
        own = rows[groups.group == number]
        assert len(own) and len(set(own[:, 0].tolist())) == 1
        if most is None:
            assert size == batch_size
        else:
            assert size == most // own[:, 1:].max(axis=0).prod() >= 1
    if most is None and len(set(rows[:, 0].tolist())) == 1 and len(groups.batch_sizes) > 1:
        assert np.bincount(groups.group).min() >= FEWEST_BATCHES * batch_size * share


def test_the_order_of_samples_does_not_matter() -> None:
    shapes = drawn(3000)
    turned = np.random.default_rng(5).permutation(len(shapes))
    one, other = (Groups.by_similarity(rows, 16, None, (1, 1)) for rows in (shapes, shapes[turned]))
    assert np.array_equal(one.group[turned], other.group)


def test_little_is_padded_in_whole_batches() -> None:
    shapes = drawn(20_000)
    for kind, bound in (("full", 0.07), ("block", 0.17)):
        order = SampleOrder((1000,) * 20, kind, 3)
        for limits in ((32, None), (None, 65536)):
            share, mean = padding(order, Groups.by_similarity(shapes, *limits, pool_share(order)), shapes)
            exact = padding(order, Groups.by_shape(shapes, shapes.prod(axis=1), *limits), shapes)[1]
            assert share < bound and mean > 1.5 * exact
            if limits[0]:
                assert mean > 0.87 * 32
    alone = padding(order, Groups.by_shape(shapes[:, :0], shapes.prod(axis=1), 32, None), shapes)[0]
    assert alone > 0.4


def test_a_few_shapes_are_groups_of_their_own() -> None:
    shapes = np.repeat([[32, 48], [48, 32], [40, 40]], 1000, axis=0)
    groups = Groups.by_similarity(shapes, 16, None, (1, 1))
    assert len(groups.batch_sizes) == 3 and padding(SampleOrder((3000,)), groups, shapes)[0] == 0
