"""`latentstore bench`: its figures go together, its advice follows them, and its command prints both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audio_made import chirp, write
from torch_or_skip import torch

import latentstore
from latentstore.bench.advice import advice, table
from latentstore.bench.measure import Bench, bench
from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError

assert torch


def check(found: Bench) -> None:
    assert found.samples_per_second > 0 and found.limit_samples_per_second > 0
    assert found.of_limit == pytest.approx(found.samples_per_second / found.limit_samples_per_second)
    assert found.fetch + found.decode + found.collate == pytest.approx(1)
    assert min(found.fetch, found.decode, found.collate) >= 0
    assert found.measured_samples > 0 and found.first_batch_seconds > 0
    assert found.latent_mb_per_second > found.stored_mb_per_second > 0


def test_every_layout(store: Any) -> None:
    told: list[str] = []
    found = bench(store.url, channels=12, batch_size=8, workers=1, seconds=0.2, output="latents", told=told.append)
    check(found)
    assert (found.samples, found.channels, found.all_channels, found.local) == (20, 12, 48, True)
    assert len(told) == 5 and found.shuffle is True
    assert table(found).splitlines()[0].endswith(store.url)


def test_audio_of_many_lengths(tmp_path: Path) -> None:
    clips = write(tmp_path / "clips", **{f"c{i}": (chirp(i, 900 + 90 * i), 8000) for i in range(9)})
    latentstore.convert(clips, tmp_path / "x.zarr", progress=False)
    check(bench(str(tmp_path / "x.zarr"), batch_size=4, seconds=0.2))


def test_a_store_by_url_is_read_in_blocks(make_store: Any, s3_options: Any) -> None:
    store = make_store("s3://bucket/bench", "zarr-fixed", storage_options=s3_options)
    found = bench(store.url, batch_size=8, workers=2, seconds=0.2, storage_options=s3_options)
    check(found)
    assert not found.local and found.shuffle == "block"


def test_what_is_refused(store: Any) -> None:
    for options, said in [
        ({"seconds": 0}, "seconds is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"output": "x"}, "'x'"),
    ]:
        with pytest.raises(ArgumentError, match=said):
            bench(store.url, **{"seconds": 0.1, **options})  # type: ignore[arg-type]


def test_the_command(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", store.url, "--batch-size", "8", "--seconds", "0.2", "--workers", "1", "--shuffle", "block"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "samples/s" in printed and "shuffle='block', num_workers=1" in printed
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["advice"] and check(Bench(**{k: v for k, v in found.items() if k != "advice"})) is None
    assert main(["bench", "nowhere.zarr"]) == 1


GOOD = Bench(
    store="x.zarr", samples=9, channels=12, all_channels=48, batch_size=4, workers=2, shuffle=True, output="codes",
    local=True, cores=2, open_seconds=0.1, first_batch_seconds=0.1, samples_per_second=900.0, stored_mb_per_second=1.0,
    latent_mb_per_second=9.0, limit_samples_per_second=1000.0, of_limit=0.9, fetch=0.1, decode=0.8, collate=0.1,
    one_thread_samples_per_second=500.0, measured_samples=90, passes=10.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "near the limit"),
        ({"workers": 0}, "num_workers=2"),
        ({"channels": 48}, "fewer channels than 48"),
        ({"local": False}, 'shuffle="block"'),
        ({"local": False, "shuffle": "block", "fetch": 0.7, "decode": 0.2}, "nearer"),
        ({"fetch": 0.7, "decode": 0.2}, "faster disk"),
        ({"output": "pixels", "collate": 0.7, "decode": 0.2}, 'output="codes"'),
        ({"collate": 0.7, "decode": 0.2}, "larger batches"),
        ({"of_limit": 0.5}, "run it again"),
        ({"of_limit": 0.6, "decode": 0.6, "collate": 0.3}, "work for fields and batches"),
    ],
)
def test_advice_follows_the_figures(changed: dict[str, Any], said: str) -> None:
    found = replace(GOOD, **changed)
    assert any(said in line for line in advice(found)) and 1 <= len(advice(found)) <= 2
    if changed:
        assert advice(found) != advice(GOOD)


@pytest.mark.parametrize(("passes", "said"), [(0.253, "0.25"), (10.0, "10"), (168.2, "168"), (1234.0, "1,234")])
def test_epochs_are_written_out(passes: float, said: str) -> None:
    assert f"900, over {said} epochs" in table(replace(GOOD, passes=passes))
