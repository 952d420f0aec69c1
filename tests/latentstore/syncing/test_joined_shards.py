"""Stores of latents that are synced often: their small shards are joined."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from changing_photos import Photos, assert_as_converted, latents_of, shards_of
from paths import ROOT

import latentstore
from latentstore.cli.main import main
from latentstore.stores.verify import verify

KILLED = ROOT / "tests/support/programs/sync_until_killed.py"


@pytest.fixture
def few(tmp_path: Path) -> Photos:
    """No image yet."""
    return Photos(tmp_path / "few")


def add(photos: Photos, store: Path, numbers: range, **options: int | None) -> None:
    for number in numbers:
        photos.put(f"cat/{number:03d}.png", number)
        plan, _ = photos.sync(store, **options)
        assert plan.encodes == 1


@pytest.mark.parametrize("size", [32, "native"])
def test_a_sync_for_every_image(few: Photos, tmp_path: Path, size: int) -> None:
    store = tmp_path / "x"
    add(few, store, range(8), size=size)
    old = latentstore.open(store)
    before = latents_of(store)
    assert len(shards_of(store)) == 8
    few.put("cat/008.png", 8)
    dry, _ = few.sync(store, size=size, dry_run=True)
    plan, report = few.sync(store, size=size)
    assert dry.copied == plan.copied and (plan.copied.joined, plan.copied.into, plan.copied.rewritten) == (8, 1, 0)
    assert "; 8 small shards to join into 1, of " in str(dry)
    assert report is not None and report.shards == 2
    assert latentstore.open(store).keys() == [f"cat/{number:03d}" for number in range(9)]
    few.put("cat/009.png", 9)
    assert few.sync(store, size=size)[0].copied.joined == 0, "only now and then"
    assert old.keys() == list(before)
    assert [latent.tobytes() for latent in old.read_latents(None)] == list(before.values())
    assert not verify(str(store)).problems
    if size == 32:
        assert_as_converted(few, store)


def test_what_changes_moves_and_the_rest_keeps_its_order(photos: Photos, tmp_path: Path) -> None:
    """80 images, of which two are replaced at a time: shards shrink, and small ones come behind them."""
    store, rng, order = tmp_path / "x", np.random.default_rng(0), list[str]()
    photos.sync(store)
    order = list(latentstore.open(store).keys())
    for version in range(1, 17):
        keys = [order[at] for at in sorted(rng.choice(80, 2, replace=False).tolist())]
        for key in keys:
            photos.put(f"{key}.png", 1000 * version + int(key[-2:]))
        shards = shards_of(store)
        plan, _ = photos.sync(store)
        order = [key for key in order if key not in keys] + sorted(keys)
        assert latentstore.open(store).keys() == order
        copied = plan.copied.rewritten + plan.copied.joined
        assert copied <= len(shards - shards_of(store)) <= copied + 2, "those that lose all samples are not copied"
        assert len(shards_of(store)) <= 14
    assert_as_converted(photos, store)


def test_killed_while_it_joins(few: Photos, tmp_path: Path) -> None:
    """Killed before every second renaming from that of the joined shard on; then run again."""
    whole = tmp_path / "whole"
    add(few, whole, range(8))
    first = latents_of(whole)
    few.put("cat/008.png", 8)
    joined = 0
    for nth in range(6, 20, 2):
        store = tmp_path / f"killed-{nth}"
        subprocess.run(["cp", "-r", str(whole), str(store)], check=True)
        command = [sys.executable, str(KILLED), str(few.root), str(store), str(nth)]
        code = subprocess.run(command, check=False).returncode
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            break
        there = latents_of(store)
        assert there == first or len(there) == 9, "a whole version"
        files = {path.name for path in (store / "shards").iterdir()}
        joined += there == first and any("." in name for name in files - shards_of(store))
        few.sync(store, delete=True)
        assert latents_of(store) == first | {"cat/008": latents_of(store)["cat/008"]}
        assert len(shards_of(store)) == 2 and not verify(str(store)).problems
    assert code == 0 and joined >= 2, "it was killed between joining and publishing too"
    assert_as_converted(few, store)


def test_it_is_told(few: Photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "x"
    add(few, store, range(8))
    few.put("cat/008.png", 8)
    command = ["sync", str(few.root), str(store), "--size", "32"]
    assert main([*command, "--dry-run"]) == 0
    assert "8 small shards to join into 1" in capsys.readouterr().out
    assert len(shards_of(store)) == 8
    assert main(command) == 0
    assert "has version 9 now; 8 small shards were joined into 1\n" in capsys.readouterr().out
