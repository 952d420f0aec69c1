"""loaders/epoch/share.py: ranks share what is left of an epoch, however often and by however many it was read."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interruptions import lost_and_repeated, random_trial, read_through

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.epoch.share import Runs, Share, checked_read, units_read

parts = st.lists(st.tuples(st.integers(1, 9), st.floats(0, 1)), max_size=6)


def shares(units: int, read: tuple[tuple[int, int], ...], ranks: int, drop: bool, runs: bool) -> list[Share]:
    return [Share(units, read, rank, ranks, drop, runs) for rank in range(ranks)]


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 60), st.integers(1, 9), st.booleans(), st.booleans())
def test_ranks_cover_the_epoch(units: int, ranks: int, drop: bool, runs: bool) -> None:
    made = shares(units, (), ranks, drop, runs)
    assert len({share.count for share in made}) == 1
    counts = np.bincount(np.concatenate([share.positions(0, share.count) for share in made]), minlength=units)
    if drop:
        assert counts.max(initial=0) <= 1 and units - counts.sum() == units % ranks
    elif units:
        assert counts.min() >= 1 and counts.sum() == -(-units // ranks) * ranks
    for share in made:
        own = share.positions(0, share.count)
        pieces = [share.positions(a, min(a + 4, share.count)) for a in range(0, share.count, 4)]
        assert np.array_equal(np.concatenate([np.zeros(0, np.int64), *pieces]), own)
        spans = share.spans()
        assert all(any(a <= position <= b for a, b in spans) for position in own.tolist() if position >= 0)
        if runs and len(own):
            assert spans == [(own[0], own[-1])]


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 200), parts, st.integers(1, 9), st.booleans())
def test_what_is_left_is_read_once_after_any_history(
    units: int, history: list[tuple[int, float]], ranks: int, runs: bool
) -> None:
    read: tuple[tuple[int, int], ...] = ()
    seen = np.zeros(units, np.int64)
    for before, part in history:
        made = shares(units, read, before, False, runs)
        end = made[0].begin + int(part * max(0, made[0].count - 1 - made[0].begin))
        for share in made:
            np.add.at(seen, share.positions(share.begin, end), 1)
        read = made[0].read(end)
        assert {share.read(end) for share in made} == {read}
        assert checked_read(json.loads(json.dumps(read)), units) == read
        assert seen.max() <= 1 and seen.sum() == units_read(read)
        assert all(a != b for (a, _), (b, _) in pairwise(read))
    for share in shares(units, read, ranks, False, runs):
        own = share.positions(share.begin, share.count)
        np.add.at(seen, own, 1)
        assert all(any(a <= position <= b for a, b in share.spans()) for position in own.tolist() if runs)
    assert seen.min() >= 1 and seen.sum() - units < ranks


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 100), st.integers(1, 9), st.floats(0, 1), st.booleans(), st.booleans())
def test_as_many_ranks_go_on_as_without_a_stop(units: int, ranks: int, part: float, runs: bool, drop: bool) -> None:
    for share in shares(units, (), ranks, drop, runs):
        at = int(part * max(0, share.count - 1))
        again = Share(units, share.read(at), share._rank, ranks, drop, runs)
        assert (again.begin, again.count) == (at, share.count)
        assert np.array_equal(again.positions(at, again.count), share.positions(at, share.count))


def test_turns_make_a_run_of_the_epoch() -> None:
    got = np.sort(np.concatenate([Share(100, (), rank, 4).positions(5, 10) for rank in range(4)]))
    assert np.array_equal(got, np.arange(20, 40))


def test_runs_repeat_what_is_at_hand() -> None:
    assert [Share(7, (), rank, 3, False, True).positions(0, 3).tolist() for rank in range(3)] == [
        [0, 1, 1], [2, 3, 3], [4, 5, 6],
    ]  # fmt: skip
    assert [Share(1, (), rank, 3, False, True).positions(0, 1).tolist() for rank in range(3)] == [[0]] * 3


def test_runs_that_touch_are_one() -> None:
    left = Runs.left(100, ((4, 10), (2, 5)))
    assert left.length == 50
    begin, end = left.parts(np.array([0]), np.array([50]))
    assert (end - begin).sum() == 50 and (begin[1:] > end[:-1]).all()
    assert Runs.left(100, ((4, 25),)).length == 0


@pytest.mark.parametrize("rank, world_size", [(2, 2), (-1, 2), (0, 0)])
def test_impossible_ranks_are_refused(rank: int, world_size: int) -> None:
    with pytest.raises(ArgumentError, match="rank"):
        Share(10, (), rank, world_size)


def test_a_long_history_stays_small() -> None:
    read: tuple[tuple[int, int], ...] = ()
    for number in range(12):
        share = Share(1 << 40, read, 0, 1000 + number % 2, False, True)
        read = share.read(share.begin + 12345)
    assert len(json.dumps(read)) < 12 * 20
    assert Share(1 << 40, read, 3, 64, False, True).positions(0, 10).tolist() == sorted(
        Share(1 << 40, read, 3, 64, False, True).positions(0, 10).tolist()
    )


def test_random_interruptions_lose_and_repeat_nothing() -> None:
    """Random data sets, orders, batches, ranks and stops; several stops in a row."""
    done, kinds = 0, set()
    rng = np.random.default_rng(17)
    while done < 200:
        trial = random_trial(rng)
        seen, stops = read_through(trial, rng, int(rng.integers(1, 8)))
        assert lost_and_repeated(trial, seen) == (0, 0), trial.said
        done += stops
        kinds.add(trial.said.split(" of ")[0])
    assert len(kinds) > 10
