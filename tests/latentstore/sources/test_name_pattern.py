"""latentstore/sources/name_pattern.py: fields from the names of files."""

from __future__ import annotations

import pytest

from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.sources.item import BadItem, Item
from latentstore.sources.name_pattern import is_pattern, match_names


def items(*paths: str) -> list[Item]:
    return [Item(path.replace(".", "_"), path, fields={"beside": 1}) for path in paths]


def test_what_is_a_pattern() -> None:
    assert is_pattern("{label}_{n}.wav") and not is_pattern("labels.csv")


def test_numbers_stay_numbers_and_text_becomes_classes() -> None:
    found, classes = match_names(items("7_theo_12.wav", "x/3_jackson_0.wav"), "{label}_{speaker}_{n}.wav")
    assert classes is None
    assert [item.fields for item in found] == [
        {"beside": 1, "label": 7, "speaker": "theo", "n": 12},
        {"beside": 1, "label": 3, "speaker": "jackson", "n": 0},
    ]
    found, classes = match_names(items("dog-1.wav", "cat-2.wav", "dog-03.wav"), "{label}-{take}.wav")
    assert classes == ("cat", "dog")
    assert [item.fields["label"] for item in found] == [1, 0, 1]
    assert [item.fields["take"] for item in found] == ["1", "2", "03"]  # 03 is a name, so all are


def test_folders_extensions_and_what_is_passed_over() -> None:
    found, _ = match_names(items("set/ann/1_x.FLAC", "set/bob/2_y.flac"), "{speaker}/{label}_{_}.flac")
    assert [item.fields["speaker"] for item in found] == ["ann", "bob"]
    found, _ = match_names(items("x.tar/7_theo_12"), "{label}_{speaker}_{n}.wav")
    assert found[0].fields["label"] == 7
    found, _ = match_names(items("1_a_b.wav"), "{label}_{rest}")
    assert found[0].fields["rest"] == "a_b"


def test_names_that_do_not_fit_are_reported() -> None:
    found, _ = match_names(items("1_a.wav", "notes.txt", "2_b.mp3"), "{label}_{who}.wav")
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
