"""Tables of labels through the command line: what the store holds, what is printed, and that the numbers add up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from class_folders import classes, converted, fill, report, told, write

import latentstore
from latentstore.cli.main import main


@pytest.mark.parametrize("format", ["zarr", "wds"])
@pytest.mark.parametrize(
    ("images", "table", "labels", "names", "printed"),
    [
        (
            ("cat/1.png", "dog/1.png"), "file,label\ncat/1.png,1\ndog/1.png,0\n", {"cat/1": 1, "dog/1": 0}, None,
            "label: whole numbers from 0 to 1, 2 values",
        ),
        (
            ("a.png", "b.png", "c.png", "d.png"), "file,label\na.png,3.0\nb.png,10.0\nc.png,2.0\nd.png,7.0\n",
            {"a": 3, "b": 10, "c": 2, "d": 7}, None, "label: whole numbers from 2 to 10, 4 values",
        ),
        (
            ("x/a.png", "y/b.png"), "file,Label\nx/a.png,7\ny/b.png,9\n", {"x/a": 7, "y/b": 9}, None,
            "label: whole numbers from 7 to 9, 2 values",
        ),
        (
            ("x/a.png", "y/b.png"), "file,LABEL\nx/a.png,owl\ny/b.png,\n", {"x/a": 0, "y/b": -1}, ["owl"],
            "label: 1 class: 0 owl",
        ),
    ],
)  # fmt: skip
def test_labels_of_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str, images: tuple[str, ...], table: str,
    labels: dict[str, int], names: list[str] | None, printed: str,
) -> None:  # fmt: skip
    source = fill(tmp_path / "s", *images)
    write(tmp_path / "t.csv", table.encode())
    found = converted(source, tmp_path / "x", "--format", format, "--labels", tmp_path / "t.csv")
    assert (found, classes(tmp_path / "x")) == (labels, names)
    assert printed in capsys.readouterr().out.splitlines()


def test_what_lacks_a_partner_is_left_out_and_counted(tmp_path: Path) -> None:
    source = fill(tmp_path / "s", "a.png", "b.png", **{"notes.txt": b"", "cut.png": b"\x89PNG"})
    write(tmp_path / "t.csv", b"file,label\na.png,4\ngone.png,5\ncut.png,\n")
    assert converted(source, tmp_path / "x.zarr", "--labels", tmp_path / "t.csv", status=3) == {"a": 4}
    said = report(tmp_path / "x.zarr")
    # four files and a row that names none
    assert (said["found"], said["left_out"], sum(said["passed_over"].values())) == (5, 3, 1)
    assert told(tmp_path / "x.zarr") == {"no-label": 1}


def test_ambiguous_tables_name_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = fill(tmp_path / "s", *(f"{i}.png" for i in range(4)))
    rows = "".join(f"{i},{3 - i}.png,{name}\n" for i, name in enumerate(("three", "two", "one", "zero")))
    write(tmp_path / "t.csv", f"id,picture,label\n{rows}".encode())
    given = ["convert", str(source), str(tmp_path / "x.zarr"), "--labels", str(tmp_path / "t.csv")]
    assert main(given) == 2
    err = capsys.readouterr().err
    assert "'0', which names 0.png" in err and "'3.png', which names 3.png" in err and "--key-column decides it" in err
    assert not (tmp_path / "x.zarr").exists()
    found = converted(source, tmp_path / "x.zarr", "--labels", tmp_path / "t.csv", "--key-column", "picture")
    assert {key: classes(tmp_path / "x.zarr")[label] for key, label in found.items()} == {  # type: ignore[index]
        "0": "zero", "1": "one", "2": "two", "3": "three",
    }  # fmt: skip


def test_sentences_of_a_tsv(tmp_path: Path) -> None:
    audio_made = pytest.importorskip("audio_made")
    clips = {f"cv_{i}": (audio_made.chirp(i, 900), 16000) for i in range(6)}
    sentences = ["plain", '"never closed, he said', "next", 'also "odd"', '"closes" here', "last"]
    rows = [f"c{i // 3}\tcv_{i}.wav\t{sentence}" for i, sentence in enumerate(sentences)]
    (tmp_path / "t.tsv").write_text("\n".join(["client_id\tpath\tsentence", *rows]) + "\n")
    source = audio_made.write(tmp_path / "s", **clips)
    assert main(["convert", str(source), str(tmp_path / "x.zarr"), "--labels", str(tmp_path / "t.tsv")]) == 0
    store = latentstore.open(tmp_path / "x.zarr")
    assert list(store.fields()["sentence"]) == sentences
    assert list(store.fields()["client_id"]) == ["c0"] * 3 + ["c1"] * 3
    assert set(np.asarray(store.fields()["rate"]).tolist()) == {16000}
    assert told(tmp_path / "x.zarr") == {"no-label-column": 1}
