"""Batches through torch's DataLoader: real processes of every kind, the loader's order, its epochs and its states."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from typing import Any

import pytest
from memory_store import Memory, keys
from paths import TESTS
from torch_or_skip import torch

from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.loaders import LatentLoader, ReadyBatches, as_dataloader

FORK: dict[str, Any] = {"multiprocessing_context": "fork"}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),  # beside threads that tests left behind
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more processes than cores
]


def loader(shuffle: bool | str = True, **options: Any) -> LatentLoader:
    return LatentLoader(Memory(9, 14, 7), 4, shuffle, seed=3, **options)


def epochs(passes: Any, count: int) -> list[list[list[str]]]:
    return [keys(passes) for _ in range(count)]


@pytest.mark.parametrize(
    ("shuffle", "processes"), [*((shuffle, n) for shuffle in (False, True, "block") for n in (0, 3)), (True, 9)]
)
def test_processes_change_nothing(shuffle: bool | str, processes: int) -> None:
    expected = epochs(loader(shuffle), 2)
    given = as_dataloader(loader(shuffle), processes, **(FORK if processes else {}))
    assert isinstance(given, torch.utils.data.DataLoader) and len(given) == len(expected[0]) == 8
    assert epochs(given, 2) == expected


@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}, {"prefetch_factor": 1}])
def test_passes_that_are_left_and_looks(options: dict[str, Any]) -> None:
    """As with the loader itself, whether processes stay alive or not."""
    expected = epochs(loader(), 5)
    given = as_dataloader(loader(), 2, **FORK, **options)
    next(iter(given))
    assert keys(islice(given, 3)) == expected[0][:3]
    assert keys(given) == expected[1] and keys(given) == expected[2]
    given.set_epoch(4)
    assert keys(given) == expected[4] and given.loader.epoch == 5


def test_processes_that_begin_afresh() -> None:
    """In a program of its own: its processes import what it imports."""
    methods = ["spawn", "forkserver"]
    done = subprocess.run(
        [sys.executable, str(TESTS / "support" / "programs" / "dataloader_runs.py"), *methods],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(TESTS / "support")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for method, line in zip(methods, done.stdout.splitlines(), strict=True):
        found = json.loads(line)
        assert found["passes"] == epochs(loader(), 2) and found["same"], method


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 0), (0, 2)])
def test_a_state_fits_any_number_of_processes(before: int, after: int) -> None:
    expected = keys(loader())
    first = as_dataloader(loader(), before, **(FORK if before else {}))
    begun = iter(first)
    seen = [next(begun)["key"] for _ in range(3)]
    state = json.loads(json.dumps(first.state_dict()))
    second = as_dataloader(loader(), after, **(FORK if after else {}))
    second.load_state_dict(state)
    assert seen + keys(second) == expected
    alone = loader()
    alone.load_state_dict(state)
    assert seen + keys(alone) == expected
    assert keys(second) == keys(alone)


def test_ranks_are_those_of_the_process_that_reads() -> None:
    """Processes of a DataLoader know nothing of torch.distributed."""
    each = [keys(as_dataloader(loader(rank=rank, world_size=2), 2, **FORK)) for rank in range(2)]
    assert each == [keys(loader(rank=rank, world_size=2)) for rank in range(2)]


def test_hooks_and_threads_run_in_the_processes() -> None:
    given = as_dataloader(loader(collate=_pair, num_workers=2), 2, **FORK)
    found = list(given)
    assert [labels for labels, _ in found] == [batch["label"].tolist() for batch in loader()]
    assert all(isinstance(latent, torch.Tensor) for _, latent in found)


def _pair(batch: dict[str, Any]) -> tuple[list[int], torch.Tensor]:
    return batch["label"].tolist(), batch["latent"]


def test_an_error_of_a_process_is_raised_here() -> None:
    broken = loader(False)
    broken.ds.broken = 17
    begun = iter(as_dataloader(broken, 2, **FORK))
    with pytest.raises(CorruptError, match="k17"):
        for _ in range(8):
            next(begun)


@pytest.mark.parametrize("name", ["batch_size", "sampler", "collate_fn", "pin_memory"])
def test_what_the_loader_settles_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"{name} is an argument of LatentLoader"):
        as_dataloader(loader(), **{name: 1})


def test_what_is_no_loader() -> None:
    with pytest.raises(ArgumentError, match="loader is a Memory; as_dataloader takes a LatentLoader"):
        as_dataloader(Memory(8))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata calls it
def test_states_of_torchdata() -> None:
    """In the middle of an epoch, with as many processes: nothing is lost, nothing comes twice."""
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    expected = epochs(loader(), 2)

    def made() -> tuple[ReadyBatches, Any]:
        ready = ReadyBatches(loader())
        return ready, stateful(ready, batch_size=None, num_workers=2, collate_fn=_same, **FORK)

    ready, given = made()
    found = []
    for epoch in range(2):
        ready.set_epoch(epoch)
        found.append(keys(given))
    assert found == expected
    for at in (1, 4):
        ready, given = made()
        ready.set_epoch(1)
        begun = iter(given)
        seen = [next(begun)["key"] for _ in range(at)]
        state = given.state_dict()
        del begun
        ready, given = made()
        given.load_state_dict(state)
        assert seen + keys(given) == expected[1]


def _same(batch: Any) -> Any:
    return batch
