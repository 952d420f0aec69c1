"""Runs that are interrupted again and again, and go on with other ranks: what their ranks read together.

The pure part of `LatentLoader` alone: plans and shares, without data. States pass through JSON, as in a trainer's file.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np

from latentstore.loaders.epoch.buckets import Buckets
from latentstore.loaders.epoch.groups import GroupedEpoch, Groups
from latentstore.loaders.epoch.order import ORDERS, SampleOrder
from latentstore.loaders.epoch.plan import BatchPlan, Plan, SamplePlan
from latentstore.loaders.epoch.pools import MixedPools, StorePools, pool_share
from latentstore.loaders.epoch.schedule import MixedOrder, Slots, whole_weights
from latentstore.loaders.epoch.share import Read, Share, checked_read, units_read


@dataclass(frozen=True)
class Trial:
    """A random data set or mixture, and how its batches are made. expected: how often each sample comes in `epoch`."""

    plan: Plan
    runs: bool
    expected: Counter[int]
    said: str


def random_trial(rng: np.random.Generator) -> Trial:
    """One of every kind of order and of batches."""
    kind = str(rng.choice(ORDERS))
    epoch, seed, batch_size = int(rng.integers(5)), int(rng.integers(1000)), int(rng.integers(1, 9))
    how = str(rng.choice(["plain", "lengths", "shapes", "mixed", "separate", "mixed shapes"]))
    sizes = _sizes(rng)
    order = SampleOrder(sizes, kind, seed, window=int(rng.integers(1, 5)))
    every = Counter(range(order.samples))
    said = f"{how} {kind} of {sizes}, batches of {batch_size}, seed {seed}, epoch {epoch}"
    if how == "plain":
        return Trial(SamplePlan(order.epoch(epoch), order.samples, batch_size, False), order.contiguous, every, said)
    if how == "lengths":
        lengths = rng.integers(1, 500, max(1, order.samples))
        buckets = Buckets(order.epoch(epoch), order.samples, seed, epoch, batch_size, lengths.take)
        return Trial(BatchPlan(buckets), order.contiguous, every, said)
    if how == "shapes":
        grouped = StorePools(_random_groups(order.samples, batch_size, order, rng), order)
        return Trial(
            BatchPlan(GroupedEpoch(grouped, seed, kind != "none", epoch, False)), order.contiguous, every, said
        )
    stop = str(rng.choice(["first", "longest"]))
    stores = [_sizes(rng, least=batch_size) for _ in range(int(rng.integers(1, 4)))]
    weights = whole_weights(rng.uniform(0.1, 1, len(stores)).tolist())
    mixed = MixedOrder.of(stores, kind, seed, weights, stop, batch_size if how == "separate" else 1)
    made = mixed.epoch(epoch)
    expected = Counter(made.indices(np.arange(mixed.samples)).tolist())
    if how == "mixed shapes":
        pools = MixedPools(_random_groups(int(mixed.starts[-1]), batch_size, mixed, rng), mixed)
        plan: Plan = BatchPlan(GroupedEpoch(pools, seed, kind != "none", epoch, False))
        return Trial(plan, mixed.contiguous, expected, f"{said}: {stores} until the {stop}")
    plan = (
        BatchPlan(Slots(made, mixed.slots, batch_size))
        if how == "separate"
        else SamplePlan(made, mixed.samples, batch_size, False)
    )
    return Trial(plan, mixed.contiguous, expected, f"{said}: {stores} until the {stop}")


def _random_groups(samples: int, batch_size: int, order: SampleOrder | MixedOrder, rng: np.random.Generator) -> Groups:
    shapes = rng.integers(1, 4, (samples, 2))
    limits = (batch_size, None) if rng.integers(2) else (None, int(rng.integers(9, 60)))
    if rng.integers(2):
        return Groups.by_similarity(shapes, *limits, pool_share(order))
    return Groups.by_shape(shapes, shapes.prod(1), *limits)


def _sizes(rng: np.random.Generator, least: int = 0) -> tuple[int, ...]:
    sizes = rng.integers(0, 40, int(rng.integers(1, 9))).tolist()
    return (*sizes, max(0, least - sum(sizes)))


def read_through(trial: Trial, rng: np.random.Generator, interruptions: int) -> tuple[Counter[int], int]:
    """(how often each sample was read, but for units that are read again so that all ranks read as many; interruptions
    that took place). An AssertionError if more units are read again than that.
    """
    seen: Counter[int] = Counter()
    read: Read = ()
    done = again = fill = 0
    visited: set[int] = set()
    for number in range(interruptions + 1):
        world_size = int(rng.integers(1, 8))
        shares = [Share(trial.plan.units, read, rank, world_size, False, trial.runs) for rank in range(world_size)]
        left = trial.plan.batches(shares[0].count - shares[0].begin)
        most = left - 1 if number < interruptions else left  # the last batch ends the epoch
        steps = int(rng.integers(0, most + 1)) if number < interruptions and most > 0 else max(0, most)
        states = set()
        for share in shares:
            jobs, reached, at = trial.plan.jobs(share), read, share.begin
            for _ in range(steps):
                job = next(jobs)
                units = share.positions(at, job.read).tolist()
                # a batch may hold a unit twice
                fresh = [unit not in visited and unit not in units[:place] for place, unit in enumerate(units)]
                again, at = again + fresh.count(False), job.read
                # a unit is a sample, or the whole batch
                own = fresh if len(units) == len(job.indices) else fresh * len(job.indices)
                seen.update(index for index, new in zip(job.indices.tolist(), own, strict=True) if new)
                visited.update(units)
                reached = share.read(job.read)
                assert job.last == (job.read == share.count)
            states.add(json.dumps(reached))
        assert len(states) == 1, "ranks have different states"
        text = states.pop()
        if number < interruptions:
            found = checked_read(json.loads(text), trial.plan.units)
            assert found is not None, f"a state that is refused: {text}"
            read, done = found, done + (steps > 0)
        else:
            fill = units_read(read) + world_size * (shares[0].count - shares[0].begin) - trial.plan.units
    assert again == fill, f"{again} units are read again, and ranks need {fill} to read as many"
    return seen, done


def lost_and_repeated(trial: Trial, seen: Counter[int]) -> tuple[int, int]:
    """Samples that came less, and more often than they should."""
    return (trial.expected - seen).total(), (seen - trial.expected).total()
