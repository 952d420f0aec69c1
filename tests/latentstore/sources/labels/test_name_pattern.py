"""latentstore/sources/labels/name_pattern.py: fields from the names of files."""

from __future__ import annotations

import pytest

from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.sources.item import BadItem, Item
from latentstore.sources.labels.classes import Numbering
from latentstore.sources.labels.name_pattern import is_pattern, match_names


def items(*paths: str) -> list[Item]:
    return [Item(path.replace(".", "_"), path, fields={"beside": 1}) for path in paths]


def test_what_is_a_pattern() -> None:
    assert is_pattern("{label}_{n}.wav") and not is_pattern("labels.csv")


def test_numbers_stay_numbers_and_text_becomes_classes() -> None:
    named = match_names(items("7_theo_12.wav", "x/3_jackson_0.wav"), "{label}_{speaker}_{n}.wav")
    assert (named.labelled, named.classes) == (True, None)
    assert [item.fields for item in named.items] == [
        {"beside": 1, "label": 7, "speaker": "theo", "n": 12},
        {"beside": 1, "label": 3, "speaker": "jackson", "n": 0},
    ]
    named = match_names(items("dog-1.wav", "cat-2.wav", "dog-03.wav"), "{label}-{take}.wav")
    assert named.classes == ("cat", "dog")
    assert [item.fields["label"] for item in named.items] == [1, 0, 1]
    assert [item.fields["take"] for item in named.items] == ["1", "2", "03"]  # 03 is a name, so all are


def test_folders_extensions_and_what_is_passed_over() -> None:
    found = match_names(items("set/ann/1_x.FLAC", "set/bob/2_y.flac"), "{speaker}/{label}_{_}.flac").items
    assert [item.fields["speaker"] for item in found] == ["ann", "bob"]
    found = match_names(items("x.tar/7_theo_12"), "{label}_{speaker}_{n}.wav").items
    assert found[0].fields["label"] == 7
    found = match_names(items("1_a_b.wav"), "{label}_{rest}").items
    assert found[0].fields["rest"] == "a_b"


def test_names_that_do_not_fit_are_reported() -> None:
    found = match_names(items("1_a.wav", "notes.txt", "2_b.mp3"), "{label}_{who}.wav").items
    assert [isinstance(item, BadItem) for item in found] == [False, True, True]
    with pytest.raises(SignalError, match="does not fit the pattern"):
        found[1].read()


@pytest.mark.parametrize("pattern", ["{}_x.wav", "{label}_{label}.wav", "{key}.wav", "{a b}.wav", "{1}.wav"])
def test_patterns_that_cannot_be_meant(pattern: str) -> None:
    with pytest.raises(ArgumentError, match="not a valid field"):
        match_names(items("1_a.wav"), pattern)


def test_a_pattern_that_fits_nothing() -> None:
    with pytest.raises(ArgumentError, match=r"the first is '1_a\.wav'"):
        match_names(items("1_a.wav"), "{label}-{n}.wav")
    with pytest.raises(ArgumentError, match="the first is nothing"):
        match_names([], "{label}.wav")


def test_labels_are_numbers_or_names() -> None:
    named = match_names(items("03-a.wav", "10-b.wav"), "{label}-{who}.wav")
    assert (named.classes, [item.fields["label"] for item in named.items]) == (None, [3, 10])
    with pytest.raises(ArgumentError, match=r"numbers \('3'\) in some rows and names \('x'\) in others"):
        match_names(items("3-a.wav", "x-b.wav"), "{label}-{who}.wav")
    listed = Numbering(("dog", "ant", "cat"), "names.txt")
    named = match_names(items("cat-1.wav", "dog-2.wav"), "{label}-{n}.wav", listed)
    assert (named.classes, [item.fields["label"] for item in named.items]) == (("dog", "ant", "cat"), [2, 0])
    with pytest.raises(ArgumentError, match=r"the class 'emu', which is not in names\.txt"):
        match_names(items("emu-1.wav"), "{label}-{n}.wav", listed)
    assert not match_names(items("a-1.wav"), "{who}-{n}.wav").labelled
