"""A loader under Lightning with DistributedDataParallel and under Accelerate, in programs of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from memory_store import Memory, keys
from paths import TESTS

pytest.importorskip("torch")

from latentstore.loaders import LatentLoader

SAMPLES, BATCH, STEP = 30, 4, 3


def read(framework: str, ranks: int, folder: Path) -> list[Any]:
    """What each process has written."""
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    # The frameworks call what torch and others have deprecated; nothing of ours is in those warnings.
    program = str(TESTS / "support" / "programs" / "training_loops.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS / "support")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program, framework, str(folder)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]


def epochs(rank: int, world_size: int) -> list[list[list[str]]]:
    loader = LatentLoader(Memory(SAMPLES), BATCH, True, seed=3, rank=rank, world_size=world_size)
    return [keys(loader) for _ in range(2)]


def test_two_processes_of_lightning(tmp_path: Path) -> None:
    """A loader as it is and a DataLoader of it: whole epochs, limited ones, and on from a checkpoint."""
    for rank, found in enumerate(read("lightning", 2, tmp_path)):
        first, second = epochs(rank, 2)
        for kind in ("loader", "dataloader"):
            assert found[kind]["whole"] == first + second
            assert found[kind]["rest"] == first[STEP:] + second
            assert found[kind]["limited"] == first[:2] + second[:2]


def test_accelerate(tmp_path: Path) -> None:
    """It takes a loader as it is, with its states, and a DataLoader of it, epoch after epoch."""
    (found,) = read("accelerate", 1, tmp_path)
    first, second = epochs(0, 1)
    assert found["seen"] == first[:STEP] and found["rest"] == first[STEP:]
    assert found["wrapped"] == [first, second]
