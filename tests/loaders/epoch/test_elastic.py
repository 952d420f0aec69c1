"""`LatentLoader` interrupted again and again, each time with other ranks and workers, in every order."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from memory_store import Memory, flat

import latentstore

pytest.importorskip("torch")

from latentstore.loaders import LatentLoader

WAYS = ("plain", "shapes", "budget", "similar", "mixed", "separate", "mixed shapes", "separate similar")


def make(way: str, shuffle: Any, seed: int, **ranks: int) -> LatentLoader:
    """A loader of stores of random sizes, the same ones for a seed."""
    rng = np.random.default_rng(seed)
    # where shards are read by windows, the store says when one is used that is not in memory
    local = shuffle is True or (shuffle is False and way in ("shapes", "budget", "similar"))
    size = (16, 16) if way in ("plain", "mixed", "separate") else None
    stores = [
        Memory(*rng.integers(0, 12, 7).tolist(), 9, local=local, size=size, name=f"{n}", first=1000 * n)
        for n in range(3)
    ]
    if way.startswith(("mixed", "separate")):
        batches = way.split()[0]
        ds: Any = latentstore.mix({stores[0]: 3, stores[1]: 1, stores[2]: 2}, stop="longest", batches=batches)
    else:
        ds = stores[0]
    limits: dict[str, Any] = {"batch_size": 4}
    if way.endswith("shapes"):
        limits = {"batch_size": 3, "group_by": "shape"}
    elif way == "budget":
        limits = {"max_positions": 13}
    elif way.endswith("similar"):
        limits = {"max_positions": 17, "group_by": "similar"}
    return LatentLoader(ds, **limits, shuffle=shuffle, seed=seed, **ranks)


@pytest.mark.parametrize("shuffle", [False, True, "block"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_repeated(way: str, shuffle: Any, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    whole = make(way, shuffle, seed)
    expected, following = Counter(flat(whole)), flat(whole)
    seen: Counter[int] = Counter()
    state: dict[str, Any] | None = None
    for _ in range(3):
        world_size = int(rng.integers(1, 6))
        states = []
        for rank in range(world_size):
            options = {"rank": rank, "world_size": world_size, "num_workers": int(rng.integers(0, 3))}
            loader = make(way, shuffle, seed, **options)
            if state is not None:
                loader.load_state_dict(state)
            it = iter(loader)
            plan = loader._plan(0)
            share = loader._share(plan, loader._course.upcoming, loader._found())
            for _ in range(min(2, plan.batches(share.count - share.begin) - 1)):  # the last batch ends the epoch
                seen.update(flat([next(it)]))
            states.append(json.loads(json.dumps(loader.state_dict())))
            it.close()
        assert all(one == states[0] for one in states)
        state = states[0]
    last = make(way, shuffle, seed, num_workers=1)
    assert state is not None
    last.load_state_dict(state)
    seen.update(flat(last))
    assert seen == expected
    assert flat(last) == following  # the next epoch
