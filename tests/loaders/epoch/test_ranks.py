"""Ranks that nobody gave: from torch.distributed, from the environment, when a pass begins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_store import Memory, flat
from paths import TESTS
from torch_or_skip import torch

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders import LatentLoader
from latentstore.loaders.epoch.ranks import found_ranks, given_ranks

PROGRAM = """
import json, sys; sys.path[:0] = sys.argv[3:]
import torch.distributed
from memory_store import Memory, flat
from latentstore.loaders import LatentLoader

rank, folder = int(sys.argv[1]), sys.argv[2]
loader = LatentLoader(Memory(25, 25), 8, shuffle=True)
torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
seen = flat(loader)
given = LatentLoader(Memory(25, 25), 8, shuffle=True, rank=0, world_size=1)
found = [len(loader), loader.rank, loader.world_size, len(given)]
every = [None, None]
torch.distributed.all_gather_object(every, seen)
torch.distributed.destroy_process_group()
if rank == 0:
    print(json.dumps([every, found]))
"""


@pytest.fixture(autouse=True)
def _no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_processes_of_torch_share_an_epoch(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "RANK": "7"}  # torch goes first
    folders = [str(tmp_path), str(TESTS / "support")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, str(rank), *folders],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for rank in range(2)
    ]  # fmt: skip
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    every, found = json.loads(ends[0][0])
    assert sorted(every[0] + every[1]) == list(range(50))
    assert found == [4, 0, 2, 7]


def test_the_environment_says_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = LatentLoader(Memory(30), 4, True)
    assert (loader.rank, loader.world_size, len(loader)) == (0, 1, 8)
    seen = []
    for rank in range(3):  # the same loader: they are looked up when a pass begins
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        assert (loader.rank, loader.world_size, len(loader)) == (rank, 3, 3)
        loader.set_epoch(0)
        seen += flat(loader)
    assert sorted(seen) == list(range(30))
    assert len(LatentLoader(Memory(30), 4, rank=0, world_size=1)) == 8


def test_a_pass_keeps_its_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = LatentLoader(Memory(30), 4, True)
    it = iter(loader)
    seen = flat([next(it)])
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert sorted(seen + flat(it)) == list(range(30))


@pytest.mark.parametrize(("rank", "world_size", "said"), [
    ("0", None, "has RANK=0, but no WORLD_SIZE"),
    (None, "2", "has WORLD_SIZE=2, but no RANK"),
    ("2", "2", "RANK of the environment is 2 and WORLD_SIZE is 2"),
    ("0", "0", "WORLD_SIZE is 0"),
    ("-1", "2", "RANK=-1 in the environment is not a whole number"),
    ("1.0", "2", "RANK=1.0 in"),
    ("", "2", "RANK= in"),
    ("0", "two", "WORLD_SIZE=two in"),
    ("٣", "7", "RANK=٣ in"),
    ("9" * 5000, "2", "RANK=99999"),
])  # fmt: skip
def test_an_environment_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, rank: str | None, world_size: str | None, said: str
) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", world_size)):
        if value is not None:
            monkeypatch.setenv(name, value)
    loader = LatentLoader(Memory(30), 4, True)
    for call in (lambda: next(iter(loader)), lambda: len(loader), found_ranks):
        with pytest.raises(ArgumentError, match=said):
            call()
    assert len(LatentLoader(Memory(30), 4, rank=1, world_size=2)) == 4


@pytest.mark.parametrize(("ranks", "said"), [
    ((0, None), "rank is 0, but world_size is not given: give both, or neither"),
    ((None, 2), "world_size is 2, but rank is not given"),
    ((2, 2), "ranks run from 0 to world_size - 1"),
    ((-1, 2), "rank is -1"),
    ((0, 0), "world_size is 0"),
    ((0.0, 2), "rank is 0.0"),
    ((False, 2), "rank is False"),
    (("0", "2"), "rank is '0'"),
])  # fmt: skip
def test_ranks_given_that_cannot_be(ranks: tuple[Any, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        LatentLoader(Memory(30), 4, rank=ranks[0], world_size=ranks[1])


def test_ranks_of_any_integer_type() -> None:
    assert given_ranks(np.int64(1), np.uint8(2)) == (1, 2)
    assert given_ranks(None, None) is None and found_ranks() == (0, 1)
