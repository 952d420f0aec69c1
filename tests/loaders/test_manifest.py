"""The manifest: every key is checked, and damage is named."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentstore.codecs.errors import CorruptError, UnsupportedVersionError
from latentstore.codecs.modality import AUDIO, IMAGE
from latentstore.loaders.manifest import StoreMeta, read_json, seal, seal_holds
from latentstore.loaders.remote.location import Location

IMAGES: dict[str, Any] = {
    "format_version": 1,
    "codec": "x-f8c4",
    "artifact_sha256": "ab" * 32,
    "modality": "image",
    "count": 3,
    "size": [8, 16],
    "extent": 384,
    "blob_bytes": 77,
    "quality": 60,
    "channels": 4,
    "group_channels": 2,
    "shard_samples": 2,
    "source": "photos",
    "classes": ["é", "b"],
    "stats": {"mean": [0, 1, 2, 3], "std": [1, 1, 1, 1]},
    "fields": {"label": {"kind": "int", "array": "label"}},
}
AUDIO_SIZE = {"modality": "audio", "size": [1, 9]}
KINDS = {"rate": {"kind": "int"}, "step": {"kind": "int"}}


def test_what_it_says() -> None:
    meta = StoreMeta.of(IMAGES, "here")
    assert (meta.codec, meta.sha256, meta.modality) == ("x-f8c4", "ab" * 32, IMAGE)
    assert (meta.count, meta.size, meta.quality, meta.shard_samples) == (3, (8, 16), 60, 2)
    assert (meta.extent, meta.blob_bytes, meta.source) == (384, 77, "photos")
    assert (meta.channels, meta.group_channels, meta.groups, meta.classes) == (4, 2, 2, ["é", "b"])
    assert meta.mean.dtype == meta.std.dtype == np.float32 and meta.mean.tolist() == [0, 1, 2, 3]
    assert meta.kinds == {"label": "int"} and meta.attributes == IMAGES
    assert StoreMeta.of({**IMAGES, "modality": "audio", "size": [1, 16], "fields": KINDS}, "here").modality is AUDIO
    assert StoreMeta.of({**IMAGES, "size": None}, "here").size is None


def test_it_travels_to_other_processes() -> None:
    again = pickle.loads(pickle.dumps(StoreMeta.of(IMAGES, "here")))
    assert again.modality is IMAGE and again.attributes == IMAGES


@pytest.mark.parametrize("key", sorted(set(IMAGES) - {"format_version"}))
def test_no_key_may_be_missing(key: str) -> None:
    with pytest.raises(CorruptError, match=f"here: the manifest is damaged: a key is missing.*{key}"):
        StoreMeta.of({name: value for name, value in IMAGES.items() if name != key}, "here")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"count": "x"}, "a key is missing or wrong"),
        ({"count": -1}, "count is -1, expected 1 or more"),
        ({"extent": 0}, "extent is 0, expected 1 or more"),
        ({"shard_samples": 0}, "shard_samples is 0, expected 1 or more"),
        ({"size": [8, 0]}, r"size is \[8, 0\]"),
        ({"channels": 5}, "5 channels cannot be divided into groups of 2"),
        ({"group_channels": 0}, "group_channels is 0, expected 1 or more"),
        ({"stats": {"mean": [1], "std": [1]}}, r"mean has shape \(1,\), expected one value for each of 4 channels"),
        ({"stats": {"mean": [1] * 4, "std": [1]}}, r"std has shape \(1,\)"),
        ({"modality": "smell"}, "smell"),
        ({"fields": {"x": {"kind": "object", "array": "x"}}}, "field 'x' is of kind 'object', expected one of int"),
        ({"fields": {"x": {"kind": "str", "array": "../x"}}}, "the array '../x', outside of the store"),
        ({"fields": {"x": {}}}, "kind"),
        ({"fields": ["x"]}, "a key is missing or wrong"),
        (
            {**AUDIO_SIZE, "fields": {"rate": {"kind": "int"}}},
            "recordings need the field 'step', of kind int",
        ),
        (
            {**AUDIO_SIZE, "fields": {**KINDS, "rate": {"kind": "float"}}},
            "need the field 'rate', of kind int",
        ),
    ],
)
def test_damage_is_named(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(CorruptError, match=f"here: the manifest is damaged.*{problem}"):
        StoreMeta.of({**IMAGES, **change}, "here")


@pytest.mark.parametrize("version", [2, None, "1"])
def test_other_versions_are_refused(version: Any) -> None:
    with pytest.raises(UnsupportedVersionError, match=r"here: the store has format version .* latentstore reads 1"):
        StoreMeta.of({**IMAGES, "format_version": version}, "here")


def test_the_seal_holds_until_something_changes() -> None:
    sealed = json.loads(json.dumps(seal(IMAGES)))
    assert seal_holds(sealed) and not seal_holds(IMAGES)
    assert seal_holds(dict(reversed(sealed.items())))  # the order of keys means nothing
    for key in IMAGES:
        assert not seal_holds({**sealed, key: "changed"}), key


def test_only_json_objects_are_read(tmp_path: Path) -> None:
    place = Location(tmp_path)
    place.write("good", b'{"a": [1]}')
    assert read_json(place, "good") == {"a": [1]}
    for content, said in ((b"{", "not JSON"), (b"[1]", "not a JSON object"), (b"\xff", "not JSON")):
        place.write("bad", content)
        with pytest.raises(CorruptError, match=f"{tmp_path}/bad: {said}"):
            read_json(place, "bad")
