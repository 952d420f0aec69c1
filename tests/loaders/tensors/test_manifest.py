"""The manifest of a store of tensors: every key is checked, and damage is named."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from tensor_stores import ENCODER

from latentstore import Tensor
from latentstore.codecs.errors import ArgumentError, CorruptError, UnsupportedVersionError
from latentstore.loaders.tensors.latent_reader import latent_meta
from latentstore.loaders.tensors.latents import LatentField
from latentstore.loaders.tensors.manifest import Shard, TensorMeta, require_fields

FIELDS = {"latent": Tensor("float16"), "tokens": Tensor("uint8"), "label": "int"}
SHARDS = (Shard("a-0", 3, 300, 100, (120, 80)), Shard("a-1", 2, 250, 90, (100, 60)))
ABOUT = {
    "modality": "audio", "codec": "x", "quality": 60, "channels": 4, "group_channels": 2, "size": [1, 64],
    "extent": 320, "stats": {"mean": [0.0] * 4, "std": [1.0] * 4}, "rate": 8000,
}  # fmt: skip
BESIDE = {"text": Tensor("float16"), "audio": LatentField(ABOUT), "label": "int"}
"""Latents of two groups beside a tensor: three parts of a sample."""


def made(**changes: Any) -> TensorMeta:
    values: dict[str, Any] = {
        "version": 2, "fields": FIELDS, "coders": {"latent": "ab" * 32, "tokens": "cd" * 32},
        "encoders": {"latent": ENCODER}, "shards": SHARDS, "source": "here", "session": "a",
    }  # fmt: skip
    return TensorMeta.make(**{**values, **changes})


def beside(fields: Any = BESIDE, parts: int = 3) -> TensorMeta:
    return made(
        fields=fields, coders=dict.fromkeys(fields, "ab" * 32), encoders={},
        shards=(Shard("a-0", 5, 20 * parts + 20_000, 20_000, (20,) * parts),),
    )  # fmt: skip


def test_what_it_says() -> None:
    meta = TensorMeta.of(json.loads(json.dumps(made().attributes)), "here")
    assert (meta.version, meta.count, meta.source, meta.session) == (2, 5, "here", "a")
    assert meta.fields == FIELDS and list(meta.tensors) == ["latent", "tokens"] and meta.kinds == {"label": "int"}
    assert meta.coders["latent"] == "ab" * 32 and meta.encoders == {"latent": ENCODER} and meta.shards == SHARDS
    assert meta.starts.tolist() == [0, 3, 5]


def test_the_digest_is_of_the_content() -> None:
    digest = made().digest
    assert made(source="elsewhere", version=7).digest == digest
    assert made(shards=SHARDS[:1]).digest != digest and made(encoders={}).digest != digest


KEYS = sorted(set(made().attributes) - {"format_version", "crc32c"})
ODD = (..., None, "x", -1, [], [3], {"x": 3})
FINE = {("source", "x"), ("session", "x")}


@pytest.mark.parametrize(
    ("key", "value"), [(k, v) for k in KEYS for v in ODD if not (isinstance(v, str) and (k, v) in FINE)]
)
def test_every_key_is_checked(key: str, value: Any) -> None:
    attributes = copy.deepcopy(made().attributes)
    if value is ...:
        del attributes[key]
    else:
        attributes[key] = value
    with pytest.raises(CorruptError, match="here"):
        TensorMeta.of(attributes, "here")


@pytest.mark.parametrize(("name", "value"), [
    ("name", "../x"), ("name", ""), ("count", 0), ("count", 1 << 40), ("bytes", 299), ("tail", 3), ("fields", [120]),
    ("fields", [120, -80]), ("fields", [1 << 50, 80]),
])  # fmt: skip
def test_every_entry_of_a_shard_is_checked(name: str, value: Any) -> None:
    attributes = copy.deepcopy(made().attributes)
    attributes["shards"][0][name] = value
    with pytest.raises(CorruptError, match="here: the manifest is damaged"):
        TensorMeta.of(attributes, "here")


def test_latents_beside_tensors() -> None:
    meta = beside()
    assert meta.coded == ["text", "audio"] and meta.alone is None and list(meta.latents) == ["audio"]
    assert meta.parts == ["text", "audio/0", "audio/1"] and meta.parts_of("audio") == range(1, 3)
    assert meta.asked["audio"] == {"codec": "x", "artifact_sha256": "ab" * 32, "quality": 60}
    own = latent_meta(meta, "audio", "here")
    assert (own.size, own.quality, own.blob_bytes, own.kinds) == ((1, 64), 60, 40, {"rate": "int", "step": "int"})
    with pytest.raises(CorruptError, match="it was a store with the latents 'image'"):
        latent_meta(meta, "image", "here")


FINE_OF_LATENTS = {("codec", "x"), ("size", None), ("rate", ...)}


@pytest.mark.parametrize(("key", "value"), [
    (k, v) for k in ABOUT for v in ODD if not ((isinstance(v, str | None) or v is ...) and (k, v) in FINE_OF_LATENTS)
])  # fmt: skip
def test_every_key_of_latents_is_checked(key: str, value: Any) -> None:
    attributes = copy.deepcopy(beside().attributes)
    about = attributes["fields"][1]["latents"]
    if value is ...:
        del about[key]
    else:
        about[key] = value
    with pytest.raises(CorruptError, match="here"):
        latent_meta(TensorMeta.of(attributes, "here"), "audio", "here")


@pytest.mark.parametrize("fields", [
    {"latent": LatentField({**ABOUT, "shard_samples": 3}), "text": Tensor("float16")},
    {"audio": LatentField({**ABOUT, "shard_samples": 3})},
    {f"a{n}": LatentField({**ABOUT, "channels": 1000, "group_channels": 1}) for n in range(2)},
    {f"a{n}": LatentField({**ABOUT, "channels": 1000, "group_channels": 3}) for n in range(2)},
])  # fmt: skip
def test_fields_that_no_store_has(fields: Any) -> None:
    parts = sum(field.groups if isinstance(field, LatentField) else 1 for field in fields.values())
    with pytest.raises(CorruptError, match="the manifest is damaged"):
        beside(fields, parts)


def test_another_version_of_the_format() -> None:
    with pytest.raises(UnsupportedVersionError, match="here: the store of tensors has format version 2"):
        TensorMeta.of({**made().attributes, "format_version": 2}, "here")


def test_fields_as_users_give_them() -> None:
    assert require_fields({"a": Tensor("int8"), "b": int, "c": str}) == {"a": Tensor("int8"), "b": "int", "c": "str"}


@pytest.mark.parametrize(("fields", "said"), [
    ({}, "it is a dict of 1 to"), (None, "it is a dict"), ({"a": int}, "hold no tensor"),
    ({"key": Tensor("int8")}, "is not 'key'"), ({"a b": Tensor("int8")}, "a field is called 'a b'"),
    ({"a": Tensor("int8"), "b": list}, "the field 'b' is"), ({"a": "float16"}, "the field 'a' is 'float16'"),
])  # fmt: skip
def test_fields_that_cannot_be_meant(fields: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        require_fields(fields)
