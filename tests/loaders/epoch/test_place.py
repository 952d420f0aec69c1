"""loaders/epoch/place.py through the loader: when an epoch is over, and which iterator has the loader's place."""

from __future__ import annotations

import copy
import gc
import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from memory_store import Memory, flat, keys
from paths import TESTS
from torch_or_skip import torch

from latentstore.codecs.errors import CorruptError
from latentstore.loaders import LatentLoader

SAMPLES, BATCH, BATCHES = 30, 4, 8


def make(workers: int = 0, **options: Any) -> LatentLoader:
    return LatentLoader(Memory(20, 10), **{"batch_size": BATCH, "shuffle": True, "num_workers": workers, **options})


def take(batches: Iterator[dict[str, Any]], number: int) -> list[int]:
    """The samples of the next batches; `batches` lives on with whoever has it."""
    return flat([next(batches) for _ in range(number)])


@pytest.fixture(scope="module")
def epochs() -> list[list[int]]:
    """The samples of the first epochs, read to the end."""
    loader = make()
    return [flat(loader) for _ in range(4)]


def place(loader: LatentLoader) -> tuple[int, int]:
    state = loader.state_dict()
    return state["epoch"], sum(ranks * each for ranks, each in state["read"])


def resumed(at: int, workers: int = 0, epoch: int = 0) -> LatentLoader:
    """A loader with the state of one that has read `at` batches of an epoch."""
    loader = make()
    loader.set_epoch(epoch)
    it = iter(loader)
    take(it, at)
    other = make(workers)
    other.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    return other


def by_zip(loader: LatentLoader) -> list[int]:
    return flat(batch for batch, _ in zip(loader, range(len(loader)), strict=False))


def by_zip_behind(loader: LatentLoader) -> list[int]:
    return flat(batch for _, batch in zip(range(len(loader)), loader, strict=False))


def by_two(loader: LatentLoader) -> list[int]:
    return flat(a for a, _ in zip(loader, LatentLoader(Memory(30), 4), strict=False))


def by_islice(loader: LatentLoader) -> list[int]:
    return flat(islice(loader, len(loader)))


def by_counting(loader: LatentLoader) -> list[int]:
    return take(iter(loader), len(loader))


def by_a_break(loader: LatentLoader) -> list[int]:
    seen = []
    for number, batch in enumerate(loader, 1):
        seen.append(batch)
        if number == len(loader):
            break
    return flat(seen)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("way", [by_zip, by_zip_behind, by_two, by_islice, by_counting, by_a_break])
def test_an_epoch_is_over_with_its_last_batch(way: Any, workers: int, epochs: list[list[int]]) -> None:
    loader = make(workers)
    for number, epoch in enumerate(epochs):
        assert loader.epoch == number and way(loader) == epoch
        assert place(loader) == (number + 1, 0)


@pytest.mark.parametrize("options", [
    {"drop_last": True}, {"shuffle": "block"}, {"shuffle": False}, {"rank": 1, "world_size": 3}, {"batch_size": 30},
    {"batch_size": 31}, {"rank": 1, "world_size": 3, "drop_last": True, "shuffle": "block"},
])  # fmt: skip
def test_the_last_batch_is_known_with_every_option(options: dict[str, Any]) -> None:
    loader, exhausted = make(**options), make(**options)
    for number in range(3):
        assert by_islice(loader) == flat(exhausted)
        assert place(loader) == place(exhausted) == (number + 1, 0)


def test_an_epoch_without_a_batch_is_over_too() -> None:
    loader = make(batch_size=31, drop_last=True)
    assert len(loader) == 0 and flat(loader) == [] and loader.epoch == 1


def test_nothing_is_kept_after_the_last_batch() -> None:
    ds = Memory(*[6] * 20, local=False)
    loader = LatentLoader(ds, 4, "block", num_workers=2)
    it = iter(loader)
    take(it, len(loader))
    assert ds.held == []
    assert next(it, None) is None


# ---- passes that are left early


@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_pass_reads_other_samples(workers: int, epochs: list[list[int]]) -> None:
    loader = make(workers)
    for epoch in epochs:
        seen = []
        for number, batch in enumerate(loader, 1):
            seen.append(batch)
            if number == 3:
                break
        assert flat(seen) == epoch[:12]
    loader = make(workers)
    assert [flat(islice(loader, 2)) for _ in epochs] == [epoch[:8] for epoch in epochs]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_an_iterator_takes_the_place_of_the_one_before(number: int, epochs: list[list[int]]) -> None:
    """As in Lightning with `limit_train_batches`: the new iterator is made while the old one is there."""
    loader = make()
    it: Any = iter(loader)
    for epoch in epochs:
        assert take(it, number) == epoch[: 4 * number]
        it = iter(loader)


def test_a_state_goes_on_in_the_pass_that_was_left(epochs: list[list[int]]) -> None:
    loader = make()
    flat(islice(loader, 3))
    assert place(loader) == (0, 12) and loader.epoch == 1
    other = make()
    other.load_state_dict(loader.state_dict())
    assert flat(other) == epochs[0][12:]
    assert flat(other) == flat(loader) == epochs[1]


def test_a_resumed_epoch_is_read_to_its_end(epochs: list[list[int]]) -> None:
    loader = resumed(2)
    assert flat(islice(loader, 2)) == epochs[0][8:16]
    assert flat(islice(loader, 2)) == epochs[0][16:24]
    assert flat(loader) == epochs[0][24:]
    assert flat(loader) == epochs[1]


def test_an_iterator_takes_the_place_of_a_resumed_one(epochs: list[list[int]]) -> None:
    loader = resumed(2)
    it = iter(loader)
    assert take(it, 2) == epochs[0][8:16]
    it = iter(loader)
    assert take(it, 2) == epochs[1][:8]


def test_after_an_error_the_next_pass_goes_on() -> None:
    for workers in (0, 2):
        loader = LatentLoader(Memory(40), 4, num_workers=workers)
        loader.ds.broken = 22
        it = iter(loader)
        take(it, 5)
        with pytest.raises(CorruptError):
            next(it)
        assert next(it, None) is None and place(loader) == (0, 20)
        loader.ds.broken = None
        assert flat(loader) == list(range(20, 40))


def test_set_epoch_decides_whatever_was_left(epochs: list[list[int]]) -> None:
    loader = make()
    for epoch in (0, 1, 1, 3, 0):
        loader.set_epoch(epoch)
        at = loader.epoch
        assert at == epoch and flat(islice(loader, 2)) == epochs[epoch][:8]
        if epoch == 0:
            loader.set_epoch(1)
            assert place(loader) == (1, 0)
    it = iter(loader)
    loader.set_epoch(3)  # made before, read after
    assert take(it, 2) == epochs[3][:8]


# ---- looks, and iterators beside each other


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("at", [0, 5])
def test_a_look_loses_nothing(at: int, workers: int, epochs: list[list[int]]) -> None:
    loader = resumed(at, workers) if at else make(workers)
    before = loader.state_dict()
    for _ in range(3):
        assert flat([next(iter(loader))]) == epochs[0][4 * at : 4 * at + 4]
        for _batch in loader:
            break
        iter(loader)
        list(islice(loader, 1))
        assert loader.state_dict() == before and loader.epoch == 0
    assert flat(loader) == epochs[0][4 * at :]
    assert flat(loader) == epochs[1]


@pytest.mark.parametrize(("look", "passes"), [
    (lambda loader: next(iter(loader)), 0),
    (lambda loader: list(islice(loader, 3)), 0),
    (lambda loader: [next(iter(loader)) for _ in range(3)], 0),
    (list, 1),  # whole passes are counted
])  # fmt: skip
@pytest.mark.parametrize("at", [0, 2])
def test_a_look_in_the_middle_loses_nothing(look: Any, passes: int, at: int, epochs: list[list[int]]) -> None:
    loader = resumed(at) if at else make()
    it = iter(loader)
    seen = take(it, 4)
    look(loader)
    assert place(loader) == (0, 4 * at + 16)
    seen += take(it, 1)
    assert place(loader) == (0, 4 * at + 20)
    look(loader)
    state = loader.state_dict()
    assert seen + flat(it) == epochs[0][4 * at :]
    assert place(loader) == (1 + passes, 0) and flat(loader) == epochs[1 + passes]
    other = make()
    other.load_state_dict(state)
    assert flat(other) == epochs[0][4 * at + 20 :]


def test_a_look_that_is_kept_changes_nothing(epochs: list[list[int]]) -> None:
    loader = make()
    it = iter(loader)
    take(it, 4)
    look = iter(loader)
    take(look, 1)
    assert place(loader) == (0, 16)
    take(it, 1)
    assert place(loader) == (0, 20)


def test_a_look_after_a_pass_that_was_left(epochs: list[list[int]]) -> None:
    loader = make()
    flat(islice(loader, 4))
    assert flat([next(iter(loader))]) == epochs[1][:4]
    assert place(loader) == (0, 16)
    it = iter(loader)
    assert take(it, 1) == epochs[1][:4]
    assert place(loader) == (1, 4)


def test_a_forgotten_iterator_does_not_hold_the_epochs_back(epochs: list[list[int]]) -> None:
    loader = make()
    forgotten = iter(loader)
    take(forgotten, 2)
    for number, epoch in enumerate(epochs):
        it = iter(loader)
        assert take(it, 3) == epoch[:12] and place(loader) == (number, 12)
        assert flat(it) == epoch[12:]
    it = iter(loader)
    take(it, 2)
    assert take(forgotten, 1) == epochs[0][8:12]
    assert place(loader) == (4, 8)


def test_two_passes_at_once_are_one_epoch(epochs: list[list[int]]) -> None:
    loader = make()
    for number, epoch in enumerate(epochs):
        both = list(zip(loader, loader, strict=True))
        assert flat(a for a, _ in both) == flat(b for _, b in both) == epoch
        assert place(loader) == (number + 1, 0)


def test_a_pass_from_before_a_state_was_loaded_does_not_count(epochs: list[list[int]]) -> None:
    state = resumed(3).state_dict()
    loader = make()
    it = iter(loader)
    take(it, 5)
    loader.load_state_dict(state)
    take(it, 1)
    assert place(loader) == (0, 12)
    assert flat(it) == epochs[0][24:]
    assert place(loader) == (0, 12) and flat(loader) == epochs[0][12:]


# ---- outputs, threads, pickles


@pytest.mark.parametrize("output", ["codes", "latents"])
@pytest.mark.parametrize("workers", [1, 3])
def test_the_place_is_that_of_batches_received(output: str, workers: int) -> None:
    loader = LatentLoader(Memory(30), 4, True, num_workers=workers, output=output)
    it = iter(loader)
    first = [next(it)["latent"] for _ in range(3)]
    next(iter(loader))
    assert place(loader) == (0, 12)
    other = LatentLoader(Memory(30), 4, True, output=output)
    other.load_state_dict(loader.state_dict())
    next(iter(other))
    whole = [batch["latent"] for batch in LatentLoader(Memory(30), 4, True, output=output)]
    assert torch.equal(torch.cat(first + [batch["latent"] for batch in other]), torch.cat(whole))


@pytest.mark.parametrize("copied", [lambda loader: pickle.loads(pickle.dumps(loader)), copy.deepcopy, copy.copy])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_copy_of_a_loader_goes_on_from_its_place(copied: Any, workers: int, epochs: list[list[int]]) -> None:
    loader = make(workers)
    assert flat(copied(loader)) == epochs[0]
    it = iter(loader)
    take(it, 3)
    other = copied(loader)
    assert place(other) == place(loader) == (0, 12)
    next(iter(other))
    assert flat(other) == epochs[0][12:] and flat(other) == epochs[1]
    assert flat(it) == epochs[0][12:]
    with pytest.raises(TypeError, match="pickle the loader, which keeps the place"):
        copied(iter(loader))


def test_iterators_are_let_go_at_once() -> None:
    gc.disable()
    try:
        loader = make(2)
        it = iter(loader)
        take(it, 2)
        del it
        assert loader.epoch == 1  # nothing that only a collector ends
    finally:
        gc.enable()


# ---- Lightning


@pytest.fixture(scope="module")
def lightning_runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if importlib.util.find_spec("lightning") is None:
        pytest.skip("lightning is not installed")
    program = TESTS / "support" / "lightning_runs.py"
    # Lightning calls what torch and others have deprecated; nothing of ours is in those warnings.
    command = [sys.executable, "-W", "ignore", str(program), str(tmp_path_factory.mktemp("checkpoints"))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(Path(done.stdout.strip().splitlines()[-1]).read_text())


@pytest.mark.parametrize("limit", ["None", "2", "1"])
def test_every_epoch_of_lightning_is_another(lightning_runs: Any, limit: str) -> None:
    whole = lightning_runs[limit]["whole"]
    per_epoch = 4 if limit == "None" else int(limit)
    loader = LatentLoader(Memory(30), 8, True, seed=3)
    assert whole == [batch for _ in range(3) for batch in keys(loader)[:per_epoch]]


@pytest.mark.parametrize("limit", ["None", "2", "1"])
def test_lightning_goes_on_exactly(lightning_runs: Any, limit: str) -> None:
    """From every step of every epoch, and from the end of every epoch, after a look before it begins."""
    runs = lightning_runs[limit]
    for step, rest in runs["steps"].items():
        assert rest == runs["whole"][int(step) :], step
    for step, rest in runs["ends"].items():
        assert rest == runs["whole"][int(step) :], step
    assert len(runs["steps"]) >= 2 and len(runs["ends"]) == 2
