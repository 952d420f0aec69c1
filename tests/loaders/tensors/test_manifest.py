"""The manifest of a store of tensors: every key is checked, and damage is named."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from tensor_stores import ENCODER

from latentstore import Tensor
from latentstore.codecs.errors import ArgumentError, CorruptError, UnsupportedVersionError
from latentstore.loaders.tensors.manifest import Shard, TensorMeta, require_fields

FIELDS = {"latent": Tensor("float16"), "tokens": Tensor("uint8"), "label": "int"}
SHARDS = (Shard("a-0", 3, 300, 100, (120, 80)), Shard("a-1", 2, 250, 90, (100, 60)))


def made(**changes: Any) -> TensorMeta:
    values: dict[str, Any] = {
        "version": 2, "fields": FIELDS, "coders": {"latent": "ab" * 32, "tokens": "cd" * 32},
        "encoders": {"latent": ENCODER}, "shards": SHARDS, "source": "here", "session": "a",
    }  # fmt: skip
    return TensorMeta.make(**{**values, **changes})


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
