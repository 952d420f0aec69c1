"""What a conversion reports: the sentence on the screen, advice, and the report of a store that is there already."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import latentstore
from latentstore.codecs.modality import AUDIO
from latentstore.conversion.quarantine import Failure
from latentstore.conversion.report import Report, report_name
from latentstore.sources.remarks import Remark, Told, merged, tally

REPORT = Report(
    url="x.zarr", codec="rgb-f8c48", stored=2000, failures=(), shards=1, resumed=0,
    bytes_in=5_000_000, bytes_out=200_000, extent=1_600_000, seconds=61,
)  # fmt: skip


def test_one_sentence() -> None:
    assert str(REPORT) == "x.zarr: 2,000 images in 1 shard, 5.0 MB in, 0.2 MB out (1.000 bits per pixel), 1:01"
    assert str(replace(REPORT, resumed=2)).endswith("; 2 shards from an earlier run")
    assert (
        str(replace(REPORT, bytes_in=0, bytes_out=0, extent=0))
        == "x.zarr: 2,000 images in 1 shard, nothing encoded, 1:01"
    )


def test_nouns_are_those_of_the_modality() -> None:
    whole = replace(REPORT, stored=1, modality=AUDIO, nouns=AUDIO.nouns)
    assert "1 recording in" in str(whole) and "bits per sample frame" in str(whole)
    assert "3 windows in" in str(replace(whole, stored=3, nouns=AUDIO.window_nouns))


def test_nothing_stored_has_no_rate() -> None:
    assert replace(REPORT, extent=0).bits_per_pixel == 0


TOLD = Told("color-profile", 12, (("a.png", "Display P3"), ("b\x1b.png", "")))
FAILURES = (
    Failure("k", "k.png", "cut short"),
    Failure("l", "l.png", "the file is empty"),
    Failure("m", "m", "cut short"),
)
FULL = replace(
    REPORT, failures=FAILURES, passed_over={"hidden or system file": 2}, remarks=(TOLD,), classes=("cat", "dog"),
    labels={0: 1500, 1: 400, -1: 100},
)  # fmt: skip


def test_the_page_of_clean_data_is_one_sentence() -> None:
    assert REPORT.page() == str(REPORT)


def test_the_page_adds_up_and_tells_everything() -> None:
    assert FULL.found == 2000 + 3 + 2
    lines = FULL.page().splitlines()
    assert lines[0] == str(FULL)
    counts = [line.split() for line in lines[1:8]]
    assert counts[0] == ["entries", "found", "2,005"]
    assert counts[1] == ["stored", "2,000"]
    assert counts[2] == ["left", "out", "3"]
    assert counts[3] == ["2", "cut", "short"]
    assert counts[4] == ["1", "the", "file", "is", "empty"]
    assert counts[5] == ["passed", "over", "2"]
    assert counts[6] == ["2", "hidden", "or", "system", "file"]
    assert lines[8] == "label: 2 classes: 0 cat, 1 dog"
    assert lines[9].strip() == "100 images without a class (label -1)"
    assert lines[10] == (
        "12 images have a colour profile other than sRGB, which was not applied; color='srgb' converts such colours: "
        "a.png (Display P3), b\\x1b.png, ..."
    )
    spelled = FULL.page(lambda name, value: f"--{name} {value}")
    assert "--color srgb converts" in spelled
    assert FULL.page(lambda name, value: "").count("\x1b") == 0


def test_many_classes_and_reasons_are_cut() -> None:
    many = tuple(f"c{i}" for i in range(100))
    failures = tuple(Failure(str(i), str(i), f"reason {i}" + "x" * 500) for i in range(20))
    page = replace(REPORT, classes=many, failures=failures).page()
    assert "label: 100 classes: 0 c0, 1 c1" in page and "and 88 more" in page
    assert "12  for other reasons" in page and max(map(len, page.splitlines())) < 200


def test_the_json_adds_up() -> None:
    said = json.loads(FULL.as_json())
    assert said["found"] == said["stored"] + said["left_out"] + sum(said["passed_over"].values()) == 2005
    assert said["labels"] == [
        {"label": -1, "name": None, "count": 100},
        {"label": 0, "name": "cat", "count": 1500},
        {"label": 1, "name": "dog", "count": 400},
    ]
    assert said["reasons"][0] == {"reason": "cut short", "count": 2}
    assert Told.from_json(said["remarks"][0]) == TOLD
    numbers = dict.fromkeys(range(2000), 1)
    assert json.loads(replace(FULL, classes=None, labels=numbers).as_json())["labels"] == []


def test_remarks_are_counted_by_kind() -> None:
    said = [(f"{i}.png", Remark("color-profile", str(i))) for i in range(9)]
    first, second = tally(said[:4]), tally([*said[4:], ("x", Remark("coefficients"))])
    coefficients, profile = merged([*first, *second])
    assert (coefficients.kind, coefficients.count, coefficients.examples) == ("coefficients", 1, (("x", ""),))
    assert (profile.count, profile.examples) == (9, (("0.png", "0"), ("1.png", "1"), ("2.png", "2")))


def test_a_store_that_is_there_already(tmp_path: Path) -> None:
    for i in range(3):
        path = tmp_path / "source" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), 40 * i, np.uint8)).save(path)
    (tmp_path / "source" / "bad.png").write_bytes(b"no image")
    first = latentstore.convert(tmp_path / "source", tmp_path / "x.zarr", size=16, progress=False)
    again = latentstore.convert(tmp_path / "source", tmp_path / "x.zarr", size=16, progress=False, resume=True)
    assert again == replace(first, resumed=1, seconds=again.seconds, nouns=again.nouns)
    said = json.loads((tmp_path / "x.zarr" / report_name("zarr")).read_bytes())
    assert (said["found"], said["stored"], said["left_out"]) == (4, 3, 1)
    assert str(again).startswith(f"{tmp_path / 'x.zarr'}: 3 images in 1 shard, ")
