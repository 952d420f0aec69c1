"""What a conversion reports: the sentence on the screen, advice, and the report of a store that is there already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import latentstore
from latentstore.codecs.modality import AUDIO
from latentstore.conversion.report import Limited, Report

REPORT = Report(
    url="x.zarr", codec="rgb-f8c48", stored=2000, failures=(), limited=(), shards=1, resumed=0,
    bytes_in=5_000_000, bytes_out=200_000, extent=1_600_000, seconds=61,
)  # fmt: skip


def test_one_sentence() -> None:
    assert str(REPORT) == "x.zarr: 2,000 images in 1 shard, 5.0 MB in, 0.2 MB out (1.000 bits per pixel), 1:01"
    assert str(replace(REPORT, resumed=2)).endswith("; 2 shards from an earlier run")


def test_nouns_are_those_of_the_modality() -> None:
    whole = replace(REPORT, stored=1, modality=AUDIO, nouns=AUDIO.nouns)
    assert "1 recording in" in str(whole) and "bits per sample frame" in str(whole)
    assert "3 windows in" in str(replace(whole, stored=3, nouns=AUDIO.window_nouns))


def test_nothing_stored_has_no_rate() -> None:
    assert replace(REPORT, extent=0).bits_per_pixel == 0


def test_advice_names_the_worst() -> None:
    assert REPORT.advice() == ""
    said = replace(REPORT, limited=(Limited("a", 3), Limited("b\x1b", 70), Limited("c", 1))).advice()
    assert said.startswith("3 images ") and "a lower quality" in said
    assert said.endswith("the worst is 'b\\x1b', with 70 coefficients")
    audio = replace(REPORT, limited=(Limited("a", 1),), modality=AUDIO, nouns=AUDIO.nouns)
    assert "1 recording" in audio.advice() and AUDIO.weak in audio.advice()


def test_limited_samples_survive_as_notes() -> None:
    assert Limited.from_note(Limited("a/b", 7).note()) == Limited("a/b", 7)


def test_a_store_that_is_there_already(tmp_path: Path) -> None:
    for i in range(3):
        path = tmp_path / "source" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), 40 * i, np.uint8)).save(path)
    (tmp_path / "source" / "bad.png").write_bytes(b"no image")
    first = latentstore.convert(tmp_path / "source", tmp_path / "x.zarr", size=16, progress=False)
    again = latentstore.convert(tmp_path / "source", tmp_path / "x.zarr", size=16, progress=False, resume=True)
    assert again == replace(first, bytes_in=0, resumed=1, seconds=again.seconds, nouns=again.nouns)
    assert str(again).startswith(f"{tmp_path / 'x.zarr'}: 3 images in 1 shard, ")
