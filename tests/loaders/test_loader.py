"""loaders/loader.py, with a data set in memory: order, ranks, resuming, threads, errors. Real stores:
test_loader_stores."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import TESTS
from torch_or_skip import torch

from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.codecs.modality import IMAGE
from latentstore.loaders import LatentLoader

CHANNELS, SIDE = 3, 2


class Memory:
    """Answers like `LatentDataset` and its reader; sample i is full of i modulo 100."""

    meta = SimpleNamespace(kinds={"label": "int", "caption": "str"})
    codec = SimpleNamespace(scales=lambda quality: lambda step: np.array([2.0, 0.5, 1.0, 9.0], np.float32))
    url, modality = "memory", IMAGE
    quality, channels, classes = 50, CHANNELS, None
    stats = (np.array([1.0, 0.0, -2.0], np.float32), np.array([4.0, 0.0, 0.5], np.float32))

    def __init__(self, *shard_sizes: int, local: bool = True, size: tuple[int, int] | None = (16, 16)) -> None:
        self.shard_starts = np.cumsum([0, *shard_sizes])
        self.is_local, self.size = local, size
        self.latent_shape = None if size is None else (CHANNELS, SIDE, SIDE)
        self.reader = self
        self.broken: int | None = None
        self.held: list[int] = []
        self.most_held = 0
        self.loads: list[int] = []
        self.reads = 0
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return int(self.shard_starts[-1])

    def read_latents(self, indices: np.ndarray, out: np.ndarray | None = None) -> Any:
        with self.lock:
            self.reads += 1
        if self.broken in indices:
            raise CorruptError(f"shard 7, key 'k{self.broken}': broken")
        if not self.is_local:
            shards = set((np.searchsorted(self.shard_starts, indices, side="right") - 1).tolist())
            assert shards <= set(self.held), "a shard was used that is not in memory"
        if self.size is None:
            return [np.full((CHANNELS, 1 + i % 3, 2), i % 100, np.int8) for i in indices.tolist()]
        out = np.empty((len(indices), *self.latent_shape), np.int8) if out is None else out
        out[...] = (indices % 100).astype(np.int8)[:, None, None, None]
        return out

    def load_shards(self, shards: list[int]) -> None:
        with self.lock:
            self.held += shards
            self.loads += shards
            self.most_held = max(self.most_held, len(self.held))

    def drop_shards(self, shards: list[int]) -> None:
        with self.lock:
            self.held = [shard for shard in self.held if shard not in shards]

    def fields(self, indices: np.ndarray) -> dict[str, Any]:
        return {"label": indices % 5, "caption": [f"c{i}" for i in indices.tolist()]}

    def step_codes(self, fields: dict[str, Any]) -> None:
        return None

    def keys(self, indices: np.ndarray) -> list[str]:
        return [f"k{i}" for i in indices.tolist()]


def keys(batches: Iterator[dict[str, Any]]) -> list[list[str]]:
    return [batch["key"] for batch in batches]


def flat(batches: Iterator[dict[str, Any]]) -> list[int]:
    return [int(key[1:]) for batch in batches for key in batch["key"]]


modes = st.sampled_from([False, True, "block"])
shards = st.lists(st.integers(0, 9), min_size=1, max_size=7)


def test_a_batch_holds_tensors_and_fields() -> None:
    batch = next(iter(LatentLoader(Memory(7, 6), 5)))
    assert batch["latent"].dtype == torch.int8 and batch["latent"].shape == (5, CHANNELS, SIDE, SIDE)
    assert batch["latent"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert batch["label"].dtype == torch.int64 and batch["label"].tolist() == [0, 1, 2, 3, 4]
    assert batch["key"] == ["k0", "k1", "k2", "k3", "k4"] and batch["caption"][4] == "c4"


@settings(deadline=None, derandomize=True)
@given(shards, modes, st.integers(1, 6), st.integers(0, 3), st.booleans())
def test_an_epoch_is_each_sample_once(
    sizes: list[int], shuffle: bool | str, batch_size: int, workers: int, drop_last: bool
) -> None:
    ds = Memory(*sizes)
    loader = LatentLoader(ds, batch_size, shuffle, num_workers=workers, drop_last=drop_last)
    batches = keys(loader)
    seen = [key for batch in batches for key in batch]
    assert len(batches) == len(loader) and len(seen) == len(set(seen))
    assert len(seen) == (len(ds) // batch_size * batch_size if drop_last else len(ds))
    assert all(len(batch) == batch_size for batch in batches[:-1])


@pytest.mark.parametrize("shuffle", [False, True, "block"])
def test_workers_change_nothing(shuffle: bool | str) -> None:
    runs = []
    for workers in (0, 1, 2, 5):
        loader = LatentLoader(Memory(20, 3, 41, 9), 7, shuffle, seed=3, num_workers=workers)
        runs.append([keys(loader) for _ in range(3)])
    assert all(run == runs[0] for run in runs)
    assert (runs[0][0] != runs[0][1]) == bool(shuffle)


def test_the_next_pass_is_the_next_epoch_and_set_epoch_goes_anywhere() -> None:
    loader = LatentLoader(Memory(30), 4, shuffle=True)
    first, second = keys(loader), keys(loader)
    assert loader.epoch == 2
    loader.set_epoch(0)
    assert keys(loader) == first
    loader.set_epoch(1)  # where it is already
    assert keys(loader) == second
    assert keys(LatentLoader(Memory(30), 4, shuffle=True, seed=1)) != first


def test_leaving_early_begins_the_epoch_again() -> None:
    loader = LatentLoader(Memory(30), 4, shuffle=True, num_workers=2)
    it = iter(loader)
    first = [next(it)["key"] for _ in range(3)]
    it.close()
    assert loader.epoch == 0
    assert keys(loader)[:3] == first


@pytest.mark.parametrize("shuffle", [False, True, "block"])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("world_size", [1, 3])
def test_resuming_anywhere_is_exact(shuffle: bool | str, drop_last: bool, world_size: int) -> None:
    def make(workers: int) -> LatentLoader:
        ds = Memory(9, 5, 0, 17)
        return LatentLoader(ds, 3, shuffle, 5, workers, drop_last, rank=world_size - 1, world_size=world_size)

    loader = make(0)
    loader.set_epoch(4)
    whole, states = [], [loader.state_dict()]
    for _ in range(2):
        for batch in loader:
            whole.append(batch["key"])
            states.append(loader.state_dict())
    for at, state in enumerate(states):
        again = make(at % 3)
        again.load_state_dict(json.loads(json.dumps(state)))
        assert again.state_dict() == state
        rest = keys(again)
        while again.epoch < 6:
            rest += keys(again)
        assert rest == whole[at:]


def test_resuming_works_with_the_usual_loop_over_epochs() -> None:
    whole, state = [], None
    loader = LatentLoader(Memory(10), 3, shuffle=True)
    for epoch in range(3):
        loader.set_epoch(epoch)
        for number, batch in enumerate(loader):
            whole.append(batch["key"])
            if (epoch, number) == (1, 3):  # the last batch of the second epoch
                state, at = loader.state_dict(), len(whole)
    again = LatentLoader(Memory(10), 3, shuffle=True)
    again.load_state_dict(state)
    rest = []
    for epoch in range(again.epoch, 3):
        again.set_epoch(epoch)
        rest += keys(again)
    assert rest == whole[at:]


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 50), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 12))
def test_a_shuffled_epoch_goes_on_with_other_ranks(
    samples: int, batch_size: int, before: int, after: int, steps: int
) -> None:
    def ranks(world_size: int) -> list[LatentLoader]:
        return [
            LatentLoader(Memory(samples), batch_size, True, rank=r, world_size=world_size) for r in range(world_size)
        ]

    seen, states = [], []
    for loader in ranks(before):
        it = iter(loader)
        seen += [key for batch in [next(it, None) for _ in range(min(steps, len(loader)))] for key in batch["key"]]
        states.append(loader.state_dict())
    assert all(state == states[0] for state in states)
    for loader in ranks(after):
        loader.load_state_dict(states[0])
        seen += [key for batch in loader for key in batch["key"]]
    counts = {key: seen.count(key) for key in seen}
    assert len(counts) == samples and len(seen) - samples < before + after


def test_state_of_something_else_is_refused() -> None:
    state = LatentLoader(Memory(10), 2, True, seed=1).state_dict()
    for other in [
        LatentLoader(Memory(10), 2, True, seed=2),
        LatentLoader(Memory(11), 2, True, seed=1),
        LatentLoader(Memory(10), 2, "block", seed=1),
    ]:
        with pytest.raises(ArgumentError, match="loader state"):
            other.load_state_dict(state)
    with pytest.raises(ArgumentError, match="version"):
        LatentLoader(Memory(10), 2).load_state_dict({})
    loader = LatentLoader(Memory(10), 2, "block", world_size=2)
    next(iter(loader))
    with pytest.raises(ArgumentError, match="ranks"):
        LatentLoader(Memory(10), 2, "block").load_state_dict(loader.state_dict())


@settings(deadline=None, derandomize=True)
@given(shards, modes, st.integers(1, 5), st.integers(1, 6), st.booleans())
def test_ranks_share_an_epoch(
    sizes: list[int], shuffle: bool | str, batch_size: int, world_size: int, drop_last: bool
) -> None:
    loaders = [
        LatentLoader(Memory(*sizes), batch_size, shuffle, 1, 0, drop_last, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    runs = [keys(loader) for loader in loaders]
    assert len({len(run) for run in runs}) == 1 and all(len(run) == len(loaders[0]) for run in runs)
    seen = [key for run in runs for batch in run for key in batch]
    if drop_last:
        assert len(seen) == len(set(seen))
    else:
        assert len(set(seen)) == sum(sizes) and len(seen) - sum(sizes) < world_size


@pytest.mark.parametrize("shuffle", [False, "block"])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_remote_shards_are_read_once_and_few_are_kept(shuffle: bool | str, workers: int) -> None:
    ds = Memory(*[6] * 20, local=False)
    loader = LatentLoader(ds, 4, shuffle, num_workers=workers)
    assert sorted(flat(loader)) == list(range(120))
    assert sorted(ds.loads) == list(range(20)) and ds.held == []
    window = 4 if shuffle else 1
    batches_in_flight = 2 * workers + 1
    assert ds.most_held <= window * (2 + (batches_in_flight * 4) // (6 * window) + 1)


def test_remote_ranks_read_their_own_shards() -> None:
    stores = [Memory(*[6] * 16, local=False) for _ in range(4)]
    for rank, ds in enumerate(stores):
        flat(LatentLoader(ds, 4, "block", num_workers=2, rank=rank, world_size=4))
    assert sorted(shard for ds in stores for shard in ds.loads) == list(range(16))


def test_an_error_in_a_worker_arrives_and_the_rest_can_be_read() -> None:
    for workers in (0, 2):
        ds = Memory(40)
        ds.broken = 22
        loader = LatentLoader(ds, 4, num_workers=workers)
        seen = []
        with pytest.raises(CorruptError, match="shard 7, key 'k22'"):
            for batch in loader:
                seen += batch["key"]
        assert seen == [f"k{i}" for i in range(20)]
        assert loader.state_dict()["position"] == 20


def test_workers_read_a_bounded_number_of_batches_ahead() -> None:
    ds = Memory(400)
    it = iter(LatentLoader(ds, 4, num_workers=2))
    next(it)
    assert ds.reads <= 2 * 2 + 1
    it.close()


def test_two_passes_at_once_do_not_mix() -> None:
    loader = LatentLoader(Memory(20), 3, shuffle=True, num_workers=1)
    assert [a["key"] == b["key"] for a, b in zip(loader, loader, strict=True)] == [True] * 7


def test_latents_are_normalised_channel_by_channel() -> None:
    for dtype in (None, torch.float32, torch.bfloat16, torch.float16):
        batch = next(iter(LatentLoader(Memory(50), 50, output="latents", dtype=dtype)))
        got = batch["latent"]
        assert got.dtype == (dtype or torch.float32) and got.shape == (50, CHANNELS, SIDE, SIDE)
        codes = torch.arange(50, dtype=torch.float32)
        # (code * scale - mean) / std; a channel without spread is only centred.
        for channel, expected in enumerate([(codes * 2 - 1) / 4, codes * 0.5, (codes + 2) / 0.5]):
            assert torch.equal(got[:, channel, 0, 0], expected.to(got.dtype))


def test_images_of_many_sizes_are_lists() -> None:
    ds = Memory(10, size=None)
    batch = next(iter(LatentLoader(ds, 5)))
    assert [tuple(latent.shape) for latent in batch["latent"]] == [(3, 1 + i % 3, 2) for i in range(5)]
    batch = next(iter(LatentLoader(ds, 5, output="latents", dtype=torch.bfloat16)))
    assert batch["latent"][4].dtype == torch.bfloat16 and batch["latent"][4].shape == (3, 2, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"num_workers": -1},
        {"shuffle": "sure"},
        {"output": "floats"},
        {"dtype": torch.float32},
        {"output": "latents", "dtype": torch.int8},
        {"rank": 2, "world_size": 2},
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        LatentLoader(Memory(10), **{"batch_size": 2, **options})


def test_forgotten_passes_leave_no_thread() -> None:
    for _ in range(3):
        it = iter(LatentLoader(Memory(100), 2, num_workers=2))
        next(it)
        del it
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("latentstore"):
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_a_program_that_stops_in_the_middle_ends() -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_loader import Memory\n"
        "from latentstore.loaders import LatentLoader\n"
        "it = iter(LatentLoader(Memory(1000), 2, num_workers=3)); next(it)\n"
        "raise SystemExit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(TESTS / "support")],
        timeout=120,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr.decode()


@pytest.mark.parametrize("shuffle", [False, True, "block"])
def test_no_python_runs_per_sample(shuffle: bool | str) -> None:
    class Silent(Memory):
        def keys(self, indices: np.ndarray) -> list[str]:
            return []

        def fields(self, indices: np.ndarray) -> dict[str, Any]:
            return {"label": indices}

    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    def calls_of_an_epoch(batch_size: int) -> int:
        nonlocal calls
        loader = LatentLoader(Silent(*[batch_size] * 32), batch_size, shuffle)
        calls = 0
        sys.setprofile(count)
        try:
            assert sum(1 for _ in loader) == 32
        finally:
            sys.setprofile(None)
        return calls

    few, many = calls_of_an_epoch(4), calls_of_an_epoch(400)
    assert many < 1.5 * few
    assert many / 32 < 200
