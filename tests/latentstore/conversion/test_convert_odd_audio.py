"""Conversion of recordings that are odd: each is stored, stored and told of, or left out; the numbers add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import odd_lengths
import pytest
from audio_made import chirp, encoded, write

import latentstore
from latentstore.conversion.quarantine import read_lines
from latentstore.sources.audio.reader import read_audio, resampled_length
from latentstore.stores.verify import verify

RATE = 8000


def convert(source: Path, target: Path, **options: Any) -> dict[str, Any]:
    """`report.json` of a conversion; its numbers add up, and the store is sound."""
    report = latentstore.convert(source, target, **{"codec": "mono-f32c32", "progress": False, **options})
    said: dict[str, Any] = json.loads((target / "key" / "report.json").read_bytes())
    assert said["found"] == said["stored"] + said["left_out"] + sum(said["passed_over"].values()) == report.found
    assert verify(report.url).problems == []
    said["told"] = {one["kind"]: one["count"] for one in said["remarks"]}
    said["first"] = {one["kind"]: one["examples"][0] for one in said["remarks"]}
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every odd file there is."""
    folder = tmp_path_factory.mktemp("odd")
    for i, data in enumerate(odd_lengths.READ.values()):
        (folder / f"read_{i:02d}").write_bytes(data)
    for i, (data, _) in enumerate(odd_lengths.REFUSED.values()):
        (folder / f"refused_{i:02d}").write_bytes(data)
    (folder / ".hidden").write_bytes(b"")
    return folder


def test_every_odd_file_is_stored_or_named(folder: Path, tmp_path: Path) -> None:
    said = convert(folder, tmp_path / "x.zarr")
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    left_out = {one.key for one in read_lines((tmp_path / "x.zarr" / "key" / "quarantine.jsonl").read_bytes())}
    ds = latentstore.open(tmp_path / "x.zarr")
    assert (said["found"], said["passed_over"]) == (len(names) + 1, {"hidden or system file": 1})
    assert set(ds.keys()) | left_out == names and set(ds.keys()) & left_out == set()
    assert left_out == {name for name in names if name.startswith("refused")}
    assert set(ds.sizes()[:, 1]) == {len(odd_lengths.WHOLE)}
    latents = [ds[i]["latent"] for i in range(len(ds))]
    assert all(np.array_equal(latent, latents[0]) for latent in latents)


def test_windows_agree_with_whole_recordings(folder: Path, tmp_path: Path) -> None:
    said = convert(folder, tmp_path / "x.zarr", seconds=0.25)
    ds = latentstore.open(tmp_path / "x.zarr")
    each = resampled_length(len(odd_lengths.WHOLE), 16000, RATE) // 2000  # the rest is less than half a window
    keys = [f"read_{i:02d}_{window:05d}" for i in range(len(odd_lengths.READ)) for window in range(each)]
    assert ds.keys() == keys and said["stored"] == len(keys)
    assert said["left_out"] == len(odd_lengths.REFUSED)
    assert said["told"] == {"down-sampled": len(keys)}
    assert said["first"]["down-sampled"] == ["read_00 [0 s]", "16,000 to 8,000 Hz"]


def test_what_is_told(tmp_path: Path) -> None:
    left = chirp(1, 8000)
    clips = {
        "plain": left, "silent": 0 * left, "faint": left * 1e-5, "loud": left * 4,
        "phase": np.hstack([left, -left]), "one": left[:1],
    }  # fmt: skip
    source = tmp_path / "s"
    source.mkdir()
    for name, audio in clips.items():
        (source / f"{name}.wav").write_bytes(encoded(audio, 16000, subtype="FLOAT"))
    whole = convert(source, tmp_path / "x.zarr")
    assert whole["stored"] == len(clips)
    told = {kind: one[0] for kind, one in whole["first"].items() if kind != "coefficients"}
    wanted = {"silent": "silent.wav", "faint": "faint.wav", "beyond-full-scale": "loud.wav", "cancelled": "phase.wav"}
    assert wanted.items() <= told.items() and "down-sampled" not in told
    cut = convert(source, tmp_path / "y.zarr", seconds=0.25)
    assert cut["told"]["down-sampled"] == cut["stored"] == 11
    assert cut["told"]["silent"] >= 2 and cut["told"]["cancelled"] == 2
    kept = convert(source, tmp_path / "z.zarr", seconds=0.25, rate=16000)
    assert "down-sampled" not in kept["told"]


def test_long_recordings_are_told_of_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = chirp(1, 9000)
    source = write(tmp_path / "s", a=(np.hstack([left, -left]), RATE), b=(0 * left, RATE), c=(left, 2 * RATE))
    options = {"rate": RATE}
    said = convert(source, tmp_path / "x.zarr", **options)
    assert {"cancelled": 1, "silent": 1, "down-sampled": 1}.items() <= said["told"].items()
    monkeypatch.setattr("latentstore.sources.signals.audio.LONG_SAMPLES", 999)
    monkeypatch.setattr("latentstore.sources.audio.reader.BLOCK", 512)
    assert convert(source, tmp_path / "y.zarr", **options)["told"] == said["told"]


def test_a_rate_that_would_fill_the_memory(tmp_path: Path) -> None:
    source = write(tmp_path / "s", good=(chirp(1, 9000), RATE), slow=(chirp(1, 9000), 1))
    said = convert(source, tmp_path / "x.zarr", seconds=0.5)
    assert (said["stored"], said["left_out"]) == (2, 1)
    assert "1 hertz, too far from the 8,000 hertz" in said["reasons"][0]["reason"]
    assert convert(source, tmp_path / "y.zarr")["stored"] == 2


@pytest.mark.parametrize("seconds", [None, 0.5])
def test_one_file_in_another_scale(tmp_path: Path, seconds: float | None) -> None:
    source = write(tmp_path / "s", **{f"ok_{i}": (chirp(i, 12_000), RATE) for i in range(4)})
    loud = 32768 * chirp(1, 12_000)
    loud[:8000] = 0  # a window of it that could be in any scale
    (source / "floats.wav").write_bytes(encoded(loud, RATE, subtype="FLOAT"))
    said = convert(source, tmp_path / "x.zarr", seconds=seconds)
    assert said["left_out"] == (1 if seconds is None else 3)
    named = read_lines((tmp_path / "x.zarr" / "key" / "quarantine.jsonl").read_bytes())
    assert all(one.path.startswith("floats.wav") and "16-bit integers" in one.reason for one in named)
    ds = latentstore.open(tmp_path / "x.zarr")
    assert not [key for key in ds.keys() if key.startswith("floats")]  # noqa: SIM118
    (source / "floats.wav").unlink()
    convert(source, tmp_path / "y.zarr", seconds=seconds)
    without = latentstore.open(tmp_path / "y.zarr")
    assert all(np.array_equal(ds[i]["latent"], without[i]["latent"]) for i in range(len(without)))


def test_a_far_file_that_is_longer_than_it_says(s3_server: dict[str, Any], tmp_path: Path) -> None:
    import s3fs

    fs = s3fs.S3FileSystem(**s3_server)
    fs.pipe_file("bucket/odd/good.ogg", odd_lengths.VORBIS)
    fs.pipe_file("bucket/odd/twice.ogg", odd_lengths.VORBIS * 2)
    for seconds in (None, 0.5):
        target = tmp_path / f"{seconds}.zarr"
        report = latentstore.convert(
            "s3://bucket/odd", target, codec="mono-f32c32", seconds=seconds, storage_options=s3_server, progress=False
        )
        assert {failure.path.split(" [")[0] for failure in report.failures} == {"twice.ogg"}
        assert all("chained Ogg" in failure.reason for failure in report.failures)
    assert len(read_audio(odd_lengths.VORBIS, 1)[0]) == 30_000
