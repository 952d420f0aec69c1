"""What goes into a store, and what a resumed conversion must have the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from latentstore.codecs.errors import ArgumentError
from latentstore.writing.spec import StoreSpec, default_shard_samples, differences, settings_of


def spec(codec: Any, **changes: Any) -> StoreSpec:
    given = {"size": (40, 56), "shard_samples": 8, "source": "made", "classes": ["é", "b"], "conversion": {"n": 1}}
    return StoreSpec.of(codec, **{**given, **changes})


def test_settings_are_those_of_the_manifest(codec: Any) -> None:
    settings = spec(codec).settings()
    assert settings == json.loads(json.dumps(settings))
    assert settings_of({**settings, "count": 3}) == settings
    assert settings["artifact_sha256"] == codec.sha256 and settings["size"] == [40, 56]
    assert differences(settings, settings) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"quality": 33}, ("quality", 33)),
        ({"size": None}, ("size", None)),
        ({"shard_samples": 9}, ("shard_samples", 9)),
        ({"source": "other"}, ("source", "other")),
        ({"classes": None}, ("classes", None)),
        ({"conversion": {"n": 2}}, ("n", 2)),
        ({"conversion": {"n": 1, "more": "x"}}, ("more", "x")),
        ({"conversion": {}}, ("n", None)),
    ],
)
def test_every_difference_is_named(codec: Any, change: dict[str, Any], expected: tuple[str, Any]) -> None:
    before = spec(codec).settings()
    ((name, old, new),) = differences(before, spec(codec, **change).settings())
    assert (name, new) == expected
    assert old == {**before, **before["conversion"]}.get(name)


def test_a_manifest_that_does_not_say_how_it_was_made(codec: Any) -> None:
    after = spec(codec).settings()
    assert [name for name, _, _ in differences(settings_of({}), after)] == [*list(after)[:-1], "n"]


def test_a_shard_holds_something(codec: Any) -> None:
    with pytest.raises(ArgumentError, match="shard_samples is 0"):
        spec(codec, shard_samples=0)


def test_shards_are_some_tens_of_megabytes() -> None:
    assert default_shard_samples(20, (256, 256)) == 20
    samples = default_shard_samples(10**6, (256, 256))
    assert 20e6 < samples * 256 * 256 * 0.5 / 8 < 60e6
    assert default_shard_samples(10**6, (8, 8)) <= 8192
