"""What goes wrong while a loader reads: samples that are damaged, stores that go away, ranks that get nothing."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore.codecs.errors import ArgumentError, CorruptError, LatentstoreError, StoreError
from latentstore.loaders.faults.changed import ChangedError
from latentstore.loaders.remote import retry
from latentstore.loaders.remote.client import Client, ServerError
from latentstore.loaders.remote.location import Location

torch = pytest.importorskip("torch")

from latentstore.loaders import LatentLoader  # noqa: E402
from latentstore.loaders.faults.skipping import Skipping  # noqa: E402

FOLDER = "memory://faults"


@pytest.fixture(params=["local", "memory"])
def made(request: pytest.FixtureRequest, make_store: Any, layout: str, tmp_path: Path) -> Any:
    """A store that this test alone has; a test of layout X asks for it by parametrize."""
    folder = str(tmp_path) if request.param == "local" else f"{FOLDER}-{tmp_path.name}"
    yield make_store(folder, layout)
    Location(folder).remove()


def damage(url: str, sample: int) -> str:
    """Changes one byte of a blob of the sample; returns the name of the object."""
    place, reader = Location(url), latentstore.open(url).reader
    one = np.array([sample])
    number, offset, _ = (a[0, 0] for a in reader.objects(one, *reader.locate(one, 1)))
    name = reader.object_name(int(number))
    data = bytearray(place.read(name))
    data[int(offset) + 9] ^= 1
    place.write(name, bytes(data))
    return name


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_samples_are_skipped(made: Any, workers: int, caplog: pytest.LogCaptureFixture) -> None:
    bad = {3, 4, 17}
    for sample in bad:
        damage(made.url, sample)
    ds = latentstore.open(made.url)
    strict = LatentLoader(ds, 6, "block", num_workers=workers)
    with pytest.raises(CorruptError, match=r"is damaged.*CRC"):
        list(strict)
    loader = LatentLoader(ds, 6, "block", num_workers=workers, on_error="skip", max_skipped=3)
    with caplog.at_level(logging.WARNING, "latentstore"):
        for _ in range(2):
            batches = list(loader)
            got = sorted(key for batch in batches for key in batch["key"])
            assert got == sorted(key for i, key in enumerate(made.keys) if i not in bad)
            assert all(len(batch["key"]) == len(batch["latent"]) == len(batch["label"]) for batch in batches)
    assert loader.skipped.keys() == bad and loader.epoch == 2
    assert all(repr(made.keys[i]) in reason for i, reason in loader.skipped.items())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3 and said[-1].startswith("sample ") and "number 3 of 3" in said[-1]
    assert pickle.loads(pickle.dumps(loader)).skipped == loader.skipped


@pytest.mark.parametrize("layout", ["zarr-fixed"])
def test_only_so_many_are_skipped(made: Any) -> None:
    for sample in range(6):
        damage(made.url, sample)
    loader = LatentLoader(latentstore.open(made.url), 4, on_error="skip", max_skipped=5)
    with pytest.raises(StoreError, match="5 samples were skipped already, and max_skipped is 5"):
        list(loader)
    assert len(loader.skipped) == 5
    loader = LatentLoader(latentstore.open(made.url), 4, on_error="skip", max_skipped=6)
    assert [batch["key"] for batch in loader] == [made.keys[6:8]] + [made.keys[i : i + 4] for i in range(8, 20, 4)]
    assert loader.epoch == 1 and loader.state_dict()["read"] == []


@pytest.mark.parametrize("layout", ["zarr-fixed", "wds-fixed"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_is_missing_is_skipped_within_the_bound(made: Any, workers: int) -> None:
    name = damage(made.url, 9)
    Location(made.url).remove(name)
    ds = latentstore.open(made.url)
    with pytest.raises(StoreError, match=f"{name} is missing"):
        list(LatentLoader(ds, 4, num_workers=workers))
    loader = LatentLoader(ds, 4, num_workers=workers, on_error="skip", max_skipped=8)
    assert sum(len(batch["key"]) for batch in loader) == 12 and loader.skipped.keys() == set(range(8, 16))
    with pytest.raises(StoreError, match="max_skipped is 7"):
        list(LatentLoader(ds, 4, num_workers=workers, on_error="skip", max_skipped=7))


def test_arguments(make_store: Any, tmp_path: Path) -> None:
    ds = latentstore.open(make_store(tmp_path, "zarr-fixed").url)
    with pytest.raises(ArgumentError, match="on_error is 'ignore'; it is 'raise' or 'skip'"):
        LatentLoader(ds, 4, on_error="ignore")
    with pytest.raises(ArgumentError, match="max_skipped is -1"):
        LatentLoader(ds, 4, max_skipped=-1)
    with pytest.raises(ArgumentError, match="memory is '2 potatoes'"):
        LatentLoader(ds, 4, memory="2 potatoes")


@pytest.mark.parametrize("error", [ServerError("s3://b: still failing"), ChangedError("it was replaced")])
def test_what_is_no_fault_of_a_sample_is_raised(error: LatentstoreError) -> None:
    calls = []

    def collate(indices: np.ndarray, epoch: int) -> Any:
        calls.append(len(indices))
        if len(calls) > 1:
            raise error
        raise CorruptError("damaged")

    with pytest.raises(type(error)):
        Skipping(collate, "skip", 100)(np.arange(8))
    assert calls == [8, 8]


# ---- the store


@pytest.mark.parametrize("read", ["load_shards", "read_latents"])
def test_a_store_that_is_replaced_under_a_reader(made: Any, make_store: Any, layout: str, read: str) -> None:
    ds = latentstore.open(made.url)
    ds.read_latents(np.array([0]))
    folder = made.url.rpartition("/")[0]
    Location(made.url).remove()
    make_store(folder, layout, counts=(3,))
    action = {"load_shards": lambda: ds.load_shards([1]), "read_latents": lambda: ds.read_latents(np.arange(20))}[read]
    if ds.is_local and read == "read_latents":
        ds._fetcher._maps.found.clear()  # what is mapped already stays readable
    with pytest.raises(ChangedError, match="was replaced while it was being read: open it again"):
        action()


def test_a_store_that_is_removed_under_a_reader(made: Any) -> None:
    ds = latentstore.open(made.url)
    ds.reader.locate(np.array([0]), 1)
    Location(made.url).remove()
    with pytest.raises(ChangedError, match="was removed while it was being read"):
        ds.load_shards([1])
    loader = LatentLoader(ds, 4, "block", on_error="skip")
    with pytest.raises(ChangedError, match="was removed while it was being read"):
        list(loader)
    assert not loader.skipped


@pytest.mark.parametrize("layout", ["zarr-fixed"])
def test_a_server_that_is_gone_is_no_missing_sample(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = latentstore.open(made.url)
    if ds.is_local:
        return
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)

    def failing(*_: Any, **__: Any) -> Any:
        raise ConnectionError("reset")

    monkeypatch.setattr(Client, "ranges", lambda self, ranges: self.tried(failing))
    loader = LatentLoader(ds, 4, "block", on_error="skip")
    with pytest.raises(ServerError, match="still failing after 5 attempts"):
        list(loader)
    assert not loader.skipped


# ---- ranks and workers


def test_more_ranks_than_samples(make_store: Any, tmp_path: Path) -> None:
    ds = latentstore.open(make_store(tmp_path, "zarr-fixed").url)
    loader = LatentLoader(ds, 2, "block", drop_last=True, rank=3, world_size=21)
    with pytest.raises(ArgumentError, match="has 20 samples, too few for 21 ranks with drop_last=True"):
        next(iter(loader))
    assert [len(b["key"]) for b in LatentLoader(ds, 2, "block", rank=20, world_size=21)] == [1]


KILLED = """
import os, signal, sys, time, torch, latentstore
from torch.utils.data import DataLoader

class Killed(torch.utils.data.Dataset):
    def __init__(self, ds):
        self.ds = ds
    def __len__(self):
        return len(self.ds)
    def __getitem__(self, index):
        if index == 12:
            time.sleep(1)  # so that no batch before is still being handed over
            os.kill(os.getpid(), signal.SIGKILL)
        return self.ds[index]["latent"]

list(DataLoader(Killed(latentstore.open(sys.argv[1])), 2, num_workers=1, multiprocessing_context="fork", timeout=200))
"""


def test_a_worker_process_that_is_killed(make_store: Any, tmp_path: Path) -> None:
    """torch says so, and nobody waits for it. It is a program of its own: torch raises in a handler of signals."""
    url = make_store(tmp_path, "zarr-fixed").url
    command = [sys.executable, "-W", "ignore", "-c", KILLED, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and "RuntimeError: DataLoader worker" in done.stderr, done.stderr
