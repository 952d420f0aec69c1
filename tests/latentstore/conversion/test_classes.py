"""Classes of a conversion: what is one, its number, and that training and validation agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from class_folders import classes, converted, fill, png, report, told, write

import latentstore
from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.remote.location import Location

CUT = png()[:60]


@pytest.mark.parametrize("format", ["zarr", "wds"])
@pytest.mark.parametrize(
    "others",
    [
        {"annotations/1.xml": b"<a/>", "annotations/1.json": b"{}"},
        {"a/broken.png": CUT, "a/empty.jpg": b"", "a/page.jpg": b"<html>", "a/notes.txt": b"x"},
        {"bad/1.png": CUT, "dead/.gitkeep": b"", "labels/readme.md": b"#", "zoo/2.png": CUT},
    ],
)
def test_a_folder_without_a_stored_image_is_no_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str, others: dict[str, bytes]
) -> None:
    source, target = fill(tmp_path / "s", "cat/1.png", "dog/1.png", "emu/x/1.png", **others), tmp_path / "x"
    broken = sum(name.endswith(("png", "jpg")) for name in others)
    found = converted(source, target, "--format", format, status=3 if broken else 0)
    assert (found, classes(target)) == ({"cat/1": 0, "dog/1": 1, "emu/x/1": 2}, ["cat", "dog", "emu"])
    assert "label: 3 classes: 0 cat, 1 dog, 2 emu" in capsys.readouterr().out
    assert report(target)["found"] == 3 + len(others)


def test_a_key_that_can_name_no_file(tmp_path: Path) -> None:
    """On an object store a name may have an empty part."""
    place = Location(f"memory://keys-{tmp_path.name}")
    for name in ("cat/1.png", "dog/x//2.png", "dog/3.png"):
        place.write(name, png())
    found = latentstore.convert(place.url, tmp_path / "x.zarr", size=16, progress=False)
    assert (found.found, found.stored) == (3, 2) and classes(tmp_path / "x.zarr") == ["cat", "dog"]
    assert [failure.path for failure in found.failures] == ["dog/x//2.png"]


def test_no_class_at_all(tmp_path: Path) -> None:
    source = fill(tmp_path / "s", "1.png", "2.png", **{"old/1.png": CUT, "notes/1.txt": b""})
    assert converted(source, tmp_path / "x.zarr", status=3) == {"1": None, "2": None}
    assert classes(tmp_path / "x.zarr") is None


def test_probing_is_bounded_and_what_remains_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentstore.conversion.classes.FEWEST_READ", 2)
    source = fill(
        tmp_path / "s", "a/1.png", "a/2.png", "b/1.png", "b/2.png", **{"c/1.png": CUT, "c/2.png": CUT, "c/3": CUT}
    )
    assert converted(source, tmp_path / "x.zarr", status=3) == {"a/1": 0, "a/2": 0, "b/1": 1, "b/2": 1}
    assert (classes(tmp_path / "x.zarr"), told(tmp_path / "x.zarr")) == (["a", "b", "c"], {"empty-class": 1})


def test_training_and_validation_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "train", "cat/1.png", "dog/1.png", "emu/1.png")
    val = fill(tmp_path / "val", "cat/1.png", "emu/1.png", **{"dog/.gitkeep": b""})
    converted(tmp_path / "train", tmp_path / "train.zarr")
    (tmp_path / "names.txt").write_text("\ufeffcat\r\ndog\r\nemu\r\n\r\n")
    (tmp_path / "names.json").write_text('["cat", "dog", "emu"]')
    for i, given in enumerate(("train.zarr", "names.txt", "names.json")):
        target = tmp_path / f"val{i}.zarr"
        capsys.readouterr()
        assert converted(val, target, "--classes", tmp_path / given) == {"cat/1": 0, "emu/1": 2}
        out = capsys.readouterr().out
        assert "label: 3 classes: 0 cat, 1 dog, 2 emu" in out and "1 class has no sample: dog" in out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cat\n", "has the class 'dog', which is not in .*names.txt"),
        (b"cat\ndog\ncat\n", "'cat' twice"),
        (b"caf\xc3\xa9\ncafe\xcc\x81\n", "twice"),
        (b"cat\n\ndog\n", "line 2 is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfec\0", "UTF-8"),
        (b'["cat", 3]', "no JSON list of strings"),
        (b'["cat", ', "not JSON"),
    ],
)
def test_lists_that_cannot_be_meant(tmp_path: Path, content: bytes, words: str) -> None:
    source = fill(tmp_path / "s", "cat/1.png", "dog/1.png")
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ArgumentError, match=words):
        latentstore.convert(source, tmp_path / "x.zarr", classes=str(tmp_path / "names.txt"), size=16)


def test_stores_as_lists(tmp_path: Path) -> None:
    flat = fill(tmp_path / "flat", "1.png")
    converted(flat, tmp_path / "flat.zarr")
    for given, words in (("flat.zarr", "has no classes"), ("nowhere", "neither a file"), ("flat", "neither a file")):
        with pytest.raises(ArgumentError, match=words):
            latentstore.convert(flat, tmp_path / "x.zarr", classes=str(tmp_path / given), size=16)


def test_names_of_another_composition(tmp_path: Path) -> None:
    source = fill(tmp_path / "s", "caf\u00e9/1.png", "tea/1.png")
    (tmp_path / "names.txt").write_text("tea\ncafe\u0301\n", encoding="utf-8")
    target = tmp_path / "x.zarr"
    assert converted(source, target, "--classes", tmp_path / "names.txt") == {"caf\u00e9/1": 1, "tea/1": 0}
    assert told(target) == {"composition": 1}


def test_folders_that_are_numbers_are_told(tmp_path: Path) -> None:
    converted(fill(tmp_path / "s", "0/1.png", "1/1.png", "10/1.png", "2/1.png"), tmp_path / "x.zarr")
    assert told(tmp_path / "x.zarr") == {"class-number": 2}


def test_labels_in_tars_are_checked_against_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import io
    import tarfile

    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for name, content in {"0.png": png(), "0.cls": b"1", "1.png": png(1), "1.cls": b"5"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    (tmp_path / "n.txt").write_text("a\nb\n")
    given = ["convert", str(tmp_path / "t.tar"), str(tmp_path / "x.zarr"), "--classes", str(tmp_path / "n.txt")]
    assert main(given) == 2
    assert "'1': its label 5 is none of 2 classes, numbered from 0" in capsys.readouterr().err
    assert not (tmp_path / "x.zarr").exists()


def test_labels_of_a_zarr_array(tmp_path: Path) -> None:
    import zarr

    for i, (labels, found, names) in enumerate(
        [
            (np.array([2.0, 0.0, np.nan]), [2, 0, -1], None),
            (np.array(["dog", "cat", "dog"]), [1, 0, 1], ["cat", "dog"]),
            (np.array([0.5, 1.0, 2.0]), [0.5, 1.0, 2.0], None),
        ]
    ):
        group = zarr.open_group(str(tmp_path / f"g{i}.zarr"), mode="w")
        group.create_array("images", data=np.zeros((3, 8, 8, 3), np.uint8))
        made: Any = group.create_array(
            "labels", shape=labels.shape, dtype=str if labels.dtype.kind == "U" else labels.dtype
        )
        made[:] = labels
        target = tmp_path / f"x{i}.zarr"
        assert list(converted(tmp_path / f"g{i}.zarr", target).values()) == found
        assert classes(target) == names


@pytest.mark.parametrize("format", ["zarr", "wds"])
def test_what_lies_in_the_source_and_is_no_part_of_it(tmp_path: Path, format: str) -> None:
    source = fill(tmp_path / "s", "cat/1.png", "dog/1.png")
    write(source / "labels.csv", b"f,label\ncat/1.png,a\ndog/1.png,b\n")
    write(source / "names.txt", b"a\nb\n")
    options = ["--format", format, "--labels", source / "labels.csv", "--classes", source / "names.txt"]
    assert converted(source, source / "out", *options) == {"cat/1": 0, "dog/1": 1}
    first = report(source / "out")
    assert first["passed_over"] == {"table of labels": 1, "list of classes": 1} and first["found"] == 4
    (source / "out.partial").mkdir()
    (source / "out.partial" / "left.png").write_bytes(png())
    assert converted(source, source / "out", *options, "--overwrite") == {"cat/1": 0, "dog/1": 1}
    assert report(source / "out") == first
    # another store in the source, and one that is not finished
    converted(source, source / "b.zarr", *options[2:])
    write(source / "c.zarr.partial" / "job.json", b"{}")
    write(source / "c.zarr.partial" / "store" / "x", b"")
    said = report(source / "b.zarr")
    inside = sum(path.is_file() for path in (source / "out").rglob("*"))
    assert said["passed_over"]["file of a latentstore store"] == inside
    assert converted(source, tmp_path / "d.zarr", *options[2:]) == {"cat/1": 0, "dog/1": 1}
    assert report(tmp_path / "d.zarr")["found"] == sum(path.is_file() for path in source.rglob("*"))


def test_a_target_that_is_the_source_or_holds_it(tmp_path: Path) -> None:
    source = fill(tmp_path / "a.zarr" / "s", "1.png")
    for target in (source, tmp_path / "a.zarr", source / "x-{000000..}.tar"):
        with pytest.raises(ArgumentError, match="is the source, or holds it"):
            latentstore.convert(source, target, format=None if str(target).endswith((".zarr", "tar")) else "wds")
    assert json.dumps(sorted(path.name for path in source.iterdir())) == '["1.png"]'
