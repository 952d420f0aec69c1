"""Which column of a table names the entries, and what a cell may call an entry."""

from __future__ import annotations

from pathlib import Path

import pytest
from class_folders import fill

from latentstore.codecs.errors import ArgumentError
from latentstore.sources import BadItem, Source, open_source
from latentstore.sources.labels import Labels


def labelled(folder: Path, text: str, name: str = "t.csv", **asked: str) -> Source:
    table = folder.parent / name
    table.write_text(text, encoding="utf-8")
    return open_source(folder, Labels(str(table), **asked))


def labels(source: Source) -> dict[str, object]:
    return {item.path: item.fields.get("label") for item in source if not isinstance(item, BadItem)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "pics", "cat/a.PNG", "dog/b.png", "dog/é.png", "0.png")


WANTED = {"cat/a.PNG": 1, "dog/b.png": 2, "dog/é.png": 3, "0.png": 4}


@pytest.mark.parametrize(
    "cells",
    [
        ("cat/a.PNG", "dog/b.png", "dog/é.png", "0.png"),
        ("cat/a", "dog/b", "dog/é", "0"),
        ("cat/a.png", "dog/b.PNG", "dog/é.Png", "0.png"),
        ("./cat/a.PNG", "./dog/b.png", "././dog/é.png", "./0.png"),
        ("cat\\a.PNG", "dog\\b.png", ".\\dog\\é.png", "0.png"),
        ("a.PNG", "b.png", "é.png", "0.png"),
        ("a", "b", "é", "0"),
        ("{}/cat/a.PNG", "{}/dog/b.png", "file://{}/dog/é.png", "{}/0.png"),
        ("pics/cat/a.PNG", "pics/dog/b.png", "pics/dog/é.png", "pics/0.png"),
        ("/home/x/pics/cat/a.PNG", "/y/pics/dog/b.png", "C:\\pics\\dog\\é.png", "/z/pics/0.png"),
    ],
)
def test_what_a_cell_may_call_an_entry(folder: Path, cells: tuple[str, ...]) -> None:
    rows = [f"{cell.format(folder.resolve())},{i}" for i, cell in enumerate(cells, 1)]
    source = labelled(folder, "\n".join(["what is it,label", *rows]))
    assert labels(source) == WANTED
    assert len(source) == 4 and source.classes is None


def test_another_composition_is_the_same_and_told(folder: Path) -> None:
    source = labelled(folder, "f,label\ndog/e\u0301.png,5\n")
    assert labels(source) == {"dog/é.png": 5}
    (told,) = source.remarks
    assert (told.kind, told.count, told.examples[0][0]) == ("composition", 1, "dog/é.png")


def test_folders_that_are_not_the_source_name_nothing(folder: Path) -> None:
    with pytest.raises(
        ArgumentError, match=r"no column names entries.*'f' \('val/cat/a.PNG'\).*the source has '0.png'"
    ):
        labelled(folder, "f,label\nval/cat/a.PNG,5\n")


def test_a_name_that_several_have_names_none(tmp_path: Path) -> None:
    folder = fill(tmp_path / "p", "x/1.png", "y/1.png", "y/2.png")
    source = labelled(folder, "f,label\n1.png,5\n2.png,6\n")
    assert labels(source) == {"y/2.png": 6}
    assert "several entries have that name" in next(item for item in source if item.path == "1.png").reason  # type: ignore[attr-defined]


def test_a_name_that_several_have_is_the_reason_where_no_cell_names_one(tmp_path: Path) -> None:
    folder = fill(tmp_path / "p", "x/1.png", "y/1.png")
    with pytest.raises(ArgumentError, match=r"column 'f' has '1\.png' in line 2, and several entries have that name"):
        labelled(folder, "f,label\n1.png,5\n")


def test_a_column_may_be_called_as_an_entry_is(tmp_path: Path) -> None:
    folder = fill(tmp_path / "p", "file.png", "pic.png")
    assert labels(labelled(folder, "pic,label\nfile.png,5\npic.png,6\n")) == {"file.png": 5, "pic.png": 6}
    assert labels(labelled(folder, "file,label\npic.png,6\n")) == {"pic.png": 6}


def test_two_columns_that_name_different_entries(tmp_path: Path) -> None:
    folder = fill(tmp_path / "p", "0.png", "1.png", "2.png", "3.png")
    text = "id,picture,label\n0,3.png,three\n1,2.png,two\n2,1.png,one\n3,0.png,zero\n"
    with pytest.raises(
        ArgumentError, match=r"line 2 column .*'0', which names 0.png.*'3.png', which names 3.png"
    ) as caught:
        labelled(folder, text)
    assert caught.value.option == "key_column"
    source = labelled(folder, text, key_column="picture")
    assert source.classes == ("one", "three", "two", "zero")
    assert labels(source) == {"3.png": 1, "2.png": 2, "1.png": 0, "0.png": 3}
    assert source[0].fields["id"] == 3
    for name in ("nowhere", "label"):
        with pytest.raises(ArgumentError, match=f"no column '{name}' that names entries; its columns are 'id', "):
            labelled(folder, text, key_column=name)


def test_two_columns_that_name_the_same_entries(folder: Path) -> None:
    source = labelled(folder, "n,key,path,label\n1,cat/a,cat/a.PNG,1\n2,dog/b,dog/b.png,2\n")
    assert labels(source) == {"cat/a.PNG": 1, "dog/b.png": 2}


def test_numbers_beside_names_are_no_names(tmp_path: Path) -> None:
    folder = fill(tmp_path / "p", *(f"{i}.png" for i in range(6)))
    rows = [f"{i}.png,{i % 3},{i % 2},{5 - i}" for i in range(6)]
    # ages and labels repeat, so they name no entries; the label never does
    assert labels(labelled(folder, "\n".join(["file,age,x,label", *rows])))["1.png"] == 4


def test_two_rows_of_one_entry(folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"two rows name the same entry cat/a.PNG: .*in line 2 and 'a' in line 4"):
        labelled(folder, "f,label\ncat/a.PNG,1\nb.png,2\na,3\n")


@pytest.mark.parametrize("name", ["label", "Label", "LABEL", " label "])
def test_the_label_by_any_case(folder: Path, name: str) -> None:
    assert labels(labelled(folder, f"f,{name}\ncat/a.PNG,7\n")) == {"cat/a.PNG": 7}


def test_the_column_of_labels(folder: Path) -> None:
    rows = "cat/a.PNG,7,x\ndog/b.png,8,y\n"
    source = labelled(folder, "f,label,class\n" + rows, label_column="class")
    assert (source.classes, labels(source)) == (("x", "y"), {"cat/a.PNG": 0, "dog/b.png": 1})
    assert [told.kind for told in source.remarks] == ["replaced-column"]
    source = labelled(folder, "f,species,class\n" + rows)
    assert source.classes == ("cat", "dog") and source.by_folder
    assert [told.kind for told in source.remarks] == ["no-label-column"]
    with pytest.raises(ArgumentError, match="'label', 'LABEL' may all be the label"):
        labelled(folder, "f,label,LABEL\n" + rows, label_column="Label")
    with pytest.raises(ArgumentError, match="no column 'kind'; its columns are 'f', 'label', 'class'"):
        labelled(folder, "f,label,class\n" + rows, label_column="kind")


def test_one_source_of_class_names(folder: Path) -> None:
    source = labelled(folder, "f,label\ncat/a.PNG,1\ndog/b.png,0\n")
    assert (source.classes, source.by_folder) == (None, False)
    assert labels(source) == {"cat/a.PNG": 1, "dog/b.png": 0}


def test_a_tsv_has_no_quotes(folder: Path) -> None:
    text = 'f\tlabel\ttext\ncat/a.PNG\t1\t"never closed\ndog/b.png\t2\talso "odd"\n0.png\t3\t"closes" here\n'
    source = labelled(folder, text, "t.tsv")
    texts = {item.path: item.fields.get("text") for item in source if not isinstance(item, BadItem)}
    assert texts == {"cat/a.PNG": '"never closed', "dog/b.png": 'also "odd"', "0.png": '"closes" here'}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('f,label\na.PNG,"cat\nb.png,dog\n', "the row that begins at line 2 cannot be read"),
        ('f,label\na.PNG,"cat" x\n', "line 2"),
        ("f;label\na.PNG;cat\n", "has ';' and no ','"),
        ("f\tlabel\na.PNG\tcat\n", r"has '\\t' and no ','"),
        ("sep=;\nf;label\na.PNG;cat\n", r"says the separator \(sep=;\)"),
        ('[{"f": "a.PNG", "label": "cat"}]', "is JSON; a table is a CSV file"),
        ("a.PNG,1\nb.png,2\n", "its first line names the entry cat/a.PNG"),
    ],
)
def test_quotes_and_separators_of_a_csv(folder: Path, text: str, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        labelled(folder, text)


def test_a_line_break_in_a_cell_is_told(folder: Path) -> None:
    source = labelled(folder, 'f,label,text\na.PNG,1,"two\nlines"\nb.png,2,x\n\n,,\n')
    assert [(told.kind, told.count) for told in source.remarks] == [("line-break", 1)]
    assert labels(source) == {"cat/a.PNG": 1, "dog/b.png": 2}
