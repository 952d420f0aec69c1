"""loaders/loader.py, with a data set in memory: order, ranks, resuming, threads, errors. Real stores:
test_loader_stores."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from memory_store import CHANNELS, SIDE, Memory, flat, keys
from paths import TESTS
from torch_or_skip import torch

from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.loaders import LatentLoader
from latentstore.loaders.remote.readahead import ReadAhead

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
        rest = []
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


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: LatentLoader(Memory(10), 2, True, seed=2), "seed is 1 in the state and 2 here"),
        (lambda: LatentLoader(Memory(11), 2, True, seed=1), "samples is 10 in the state and 11 here"),
        (lambda: LatentLoader(Memory(4, 6), 2, True, seed=1), "shards is 1 in the state and 2 here"),
        (lambda: LatentLoader(Memory(10), 2, "block", seed=1), "order is 'full' in the state and 'block' here"),
        (lambda: LatentLoader(Memory(10), 2, True, seed=1, drop_last=True), "drop_last is False in the state and True"),
        (lambda: LatentLoader(Memory(10, name="other"), 2, True, seed=1), "store is 'memory' in the state and 'other'"),
        (lambda: LatentLoader(Memory(10, first=7), 2, True, seed=1), "first_and_last_key is .'k0', 'k9'. in the state"),
    ],
)
def test_state_of_something_else_is_refused(other: Any, said: str) -> None:
    state = LatentLoader(Memory(10), 2, True, seed=1).state_dict()
    LatentLoader(Memory(10), 5, True, seed=np.int8(1), num_workers=1).load_state_dict(state)
    with pytest.raises(ArgumentError, match=f"another data set or order than this loader's, .*: {said}"):
        other().load_state_dict(json.loads(json.dumps(state)))


def test_shards_of_other_sizes_are_refused() -> None:
    state = LatentLoader(Memory(4, 6), 2).state_dict()
    with pytest.raises(ArgumentError, match="shard_sizes is"):
        LatentLoader(Memory(6, 4), 2).load_state_dict(state)


@pytest.mark.parametrize("change", [
    {"version": 1}, {"read": None}, {"read": 3}, {"read": [[1, 10]]}, {"read": [[1, -1]]}, {"read": [[1, 2.5]]},
    {"read": [[1, True]]}, {"read": [[1, 2], [2, 4]]}, {"read": [[0, 2]]}, {"read": [[2**40, 1]]}, {"read": [[2]]},
    {"read": [2]}, {"read": [[1, 0]]}, {"epoch": -1}, {"epoch": "1"}, {"epoch": None},
])  # fmt: skip
def test_a_state_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    loader = LatentLoader(Memory(10), 2, True)
    state = {**loader.state_dict(), **change}
    with pytest.raises(ArgumentError, match=r"the loader state (has version 1|is damaged)"):
        loader.load_state_dict(state)
    for nothing in ({}, None, []):
        with pytest.raises(ArgumentError, match="the loader state has version"):
            loader.load_state_dict(nothing)


@settings(deadline=None, derandomize=True)
@given(shards, modes, st.integers(1, 5), st.integers(1, 6), st.booleans())
def test_ranks_share_an_epoch(
    sizes: list[int], shuffle: bool | str, batch_size: int, world_size: int, drop_last: bool
) -> None:
    assume(not drop_last or sum(sizes) >= world_size)  # else it is an error
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
    window = 4 if shuffle else 1
    batches_in_flight = 2 * workers + 1
    most = window * (2 + (batches_in_flight * 4) // (6 * window) + 1)
    loader = LatentLoader(ds, 4, shuffle, num_workers=workers, memory=6 * most)
    assert sorted(flat(loader)) == list(range(120))
    assert sorted(ds.loads) == list(range(20)) and ds.held == []
    assert ds.most_held <= most


def test_remote_ranks_read_their_own_shards() -> None:
    stores = [Memory(*[6] * 16, local=False) for _ in range(4)]
    for rank, ds in enumerate(stores):
        flat(LatentLoader(ds, 4, "block", num_workers=2, rank=rank, world_size=4))
    assert sorted(shard for ds in stores for shard in ds.loads) == list(range(16))


@pytest.mark.parametrize("rank", range(3))
@pytest.mark.parametrize("pieces", [16, 17])
def test_every_rank_reads_ahead(monkeypatch: pytest.MonkeyPatch, rank: int, pieces: int) -> None:
    ahead: list[int] = []
    expect = ReadAhead.expect

    def noting(self: ReadAhead, windows: list[int]) -> None:
        ahead.extend(self._coming())
        expect(self, windows)

    monkeypatch.setattr(ReadAhead, "expect", noting)
    ds = Memory(*[2] * (pieces // 2), pieces % 2, local=False)
    flat(LatentLoader(ds, 2, num_workers=1, rank=rank, world_size=3))
    own = range(rank * pieces // 3, (rank + 1) * pieces // 3)
    assert set(ahead) >= set(range(own[1] // 2 + 1, own[-1] // 2 + 1))  # the first batch needs the first two


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
        assert loader.state_dict()["read"] == [[1, 20]]


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
        {"batch_size": None},
        {"max_positions": 100},
        {"batch_size": None, "max_positions": 3},
        {"batch_size": None, "max_positions": 100.0},
        {"group_by": "length"},
        {"batch_size": 2.0},
        {"batch_size": True},
        {"num_workers": -1},
        {"num_workers": "2"},
        {"shuffle": "sure"},
        {"shuffle": 2},
        {"drop_last": "False"},
        {"output": "floats"},
        {"dtype": torch.float32},
        {"output": "latents", "dtype": torch.int8},
        {"seed": -1},
        {"seed": 2**64},
        {"seed": 1.0},
        {"seed": "1"},
        {"seed": None},
        {"seed": True},
        {"seed": np.array([1])},
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        LatentLoader(Memory(10), **{"batch_size": 2, **options})


def test_numbers_of_numpy_are_numbers() -> None:
    loader = LatentLoader(Memory(10), np.int64(2), np.True_, np.uint64(2**64 - 1), np.int8(0), np.False_)
    assert keys(loader) == keys(LatentLoader(Memory(10), 2, True, 2**64 - 1))
    json.dumps(loader.state_dict())
    loader.set_epoch(np.int64(7))
    assert loader.epoch == 7
    for epoch in (-1, 1.5, True, None, "2"):
        with pytest.raises(ArgumentError, match="epoch is"):
            loader.set_epoch(epoch)


def test_what_is_no_store_is_refused_by_name() -> None:
    ds = Memory(10)

    class Renamed:
        """Answers for a data set, but selects other samples."""

        def __getattr__(self, name: str) -> Any:
            return getattr(ds, name)

    for other, name in [
        (torch.utils.data.Subset(ds, [1, 2]), "torch.utils.data.dataset.Subset"),
        (torch.utils.data.random_split(ds, [4, 6])[0], "torch.utils.data.dataset.Subset"),
        (torch.utils.data.ConcatDataset([ds, ds]), "torch.utils.data.dataset.ConcatDataset"),
        (Renamed(), "Renamed"),
        ("photos.zarr", "builtins.str"),
        (None, "builtins.NoneType"),
    ]:
        with pytest.raises(ArgumentError, match=f"ds is a .*{name}; LatentLoader takes what latentstore.open or"):
            LatentLoader(other, 2)


def test_forgotten_passes_leave_no_thread() -> None:
    before, begun = set(threading.enumerate()), set[threading.Thread]()
    for _ in range(3):
        it = iter(LatentLoader(Memory(100), 2, num_workers=2))
        next(it)
        begun |= {t for t in threading.enumerate() if t not in before and t.name.startswith("latentstore-loader")}
        del it
    gc.collect()
    assert len(begun) >= 3
    for thread in begun:
        thread.join(timeout=300)
        assert not thread.is_alive()


def test_threads_outlive_a_pass() -> None:
    seen = set()

    def noted(batch: dict[str, Any]) -> dict[str, Any]:
        seen.add(threading.current_thread())
        return batch

    loader = LatentLoader(Memory(100), 2, num_workers=2, collate=noted)
    for _ in range(3):
        assert sum(len(batch["key"]) for batch in loader) == 100
    assert 1 <= len(seen) <= 2 and all(thread.is_alive() for thread in seen)


def test_a_program_that_stops_in_the_middle_ends() -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from memory_store import Memory\n"
        "from latentstore.loaders import LatentLoader\n"
        "it = iter(LatentLoader(Memory(1000), 2, num_workers=3)); next(it)\n"
        "raise SystemExit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(TESTS / "support")],
        timeout=300,
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
