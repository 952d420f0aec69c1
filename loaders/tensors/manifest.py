"""The manifest of a store with versions, of tensors, latents or both: one version of it, checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.codec import Codec
from latentstore.codecs.errors import ArgumentError, CorruptError, UnsupportedVersionError
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.loaders.columns import KINDS, RESERVED
from latentstore.loaders.manifest import MOST, MOST_SHARDS, seal
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.encoder import Encoder
from latentstore.loaders.tensors.latents import FIELD, LatentField, Latents

FORMAT_VERSION = 1
"""The version of this layout that is written, and the only one that is read."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}")
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
_SHA = re.compile(r"[0-9a-f]{64}")
Declared = Tensor | Latents | str
"""A field as a user declares it; a kind of `loaders.columns.KINDS` for one that is not coded."""
_TYPES: dict[Any, str] = {int: "int", float: "float", str: "str", bytes: "bytes"}


def require_fields(fields: Any) -> dict[str, Declared]:
    """The declaration of a store's fields, by name.

    fields: as a user gives them: a `Tensor`, a codec or `Latents`, or one of the types int, float, str, bytes, by name.
    ArgumentError names the field that cannot be meant.
    """
    if not isinstance(fields, Mapping) or not 0 < len(fields) <= layout.MOST_FIELDS:
        raise ArgumentError(
            f"fields is {short(fields)}; it is a dict of 1 to {layout.MOST_FIELDS} names, such as "
            "{'latent': Tensor('float16'), 'label': int}"
        )
    found: dict[str, Declared] = {}
    for name, value in fields.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in RESERVED - {"latent"}:
            raise ArgumentError(
                f"a field is called {short(name)}; a name is letters, digits, '_', '.' and '-', begins with a letter, "
                "and is not 'key'"
            )
        if isinstance(value, Tensor | Latents):
            found[name] = value
        elif isinstance(value, Codec):
            found[name] = Latents(value)
        elif isinstance(value, type) and value in _TYPES:
            found[name] = _TYPES[value]
        else:
            raise ArgumentError(
                f"the field {name!r} is {short(value)}; it is a Tensor, a codec of this package, or int, float, str or "
                "bytes"
            )
    if all(isinstance(value, str) for value in found.values()):
        raise ArgumentError(f"the fields {', '.join(found)} hold no tensor: at least one is to be a Tensor or a codec")
    return found


@dataclass(frozen=True)
class Shard:
    """What the manifest says of a shard. name: of its object, in the folder of shards. count: its samples. bytes: of
    the object. tail: bytes of its tail. fields: bytes of the blobs of each part, in their order."""

    name: str
    count: int
    bytes: int
    tail: int
    fields: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """What the manifest says."""
        return {**vars(self), "fields": list(self.fields)}


@dataclass(frozen=True)
class TensorMeta:
    """A manifest that has been checked.

    version: from 1 on, one more with each change of the store. fields: in order. coders: SHA-256 of the coder of each
    tensor field, and of the codec's artifact of each field of latents. encoders: of the tensor fields that have one.
    source: for people. session: of the writer that made this version. attributes: the whole manifest.
    """

    version: int
    fields: dict[str, Tensor | LatentField | str]
    coders: dict[str, str]
    encoders: dict[str, Encoder]
    shards: tuple[Shard, ...]
    source: str
    session: str
    attributes: dict[str, Any]

    @property
    def count(self) -> int:
        """Samples."""
        return sum(shard.count for shard in self.shards)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensor fields, in order."""
        return {name: value for name, value in self.fields.items() if isinstance(value, Tensor)}

    @property
    def latents(self) -> dict[str, LatentField]:
        """The fields of latents, in order."""
        return {name: value for name, value in self.fields.items() if isinstance(value, LatentField)}

    @property
    def alone(self) -> LatentField | None:
        """What a store of latents alone says of them; None where it is another."""
        return next((value for value in self.latents.values() if value.is_alone), None)

    @property
    def coded(self) -> list[str]:
        """The fields that have blobs: tensors and latents, in order."""
        return [name for name, value in self.fields.items() if not isinstance(value, str)]

    @property
    def parts(self) -> list[str]:
        """The parts of a sample, in order: its tensors, and the groups of its latents."""
        return [part for name in self.coded for part in _parts(name, self.fields[name])]

    def parts_of(self, name: str) -> range:
        """The numbers of the parts of a field that is coded."""
        first = 0
        for other in self.coded:
            count = len(_parts(other, self.fields[other]))
            if other == name:
                return range(first, first + count)
            first += count
        raise KeyError(name)

    @property
    def declared(self) -> dict[str, Tensor | str]:
        """All fields but latents, as `require_fields` gives them."""
        return {name: value for name, value in self.fields.items() if not isinstance(value, LatentField)}

    @property
    def asked(self) -> dict[str, Any]:
        """What each field was declared as: see `asked_of`."""
        return {
            name: value.asked(self.coders[name]) if isinstance(value, LatentField) else _asked(value)
            for name, value in self.fields.items()
        }

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each other field."""
        return {name: value for name, value in self.fields.items() if isinstance(value, str)}

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that stand for the content of this version, wherever it lies."""
        names = ("fields", "coders", "encoders", "shards")
        content = json.dumps({name: self.attributes[name] for name in names}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    @property
    def starts(self) -> np.ndarray:
        """int64 (shards + 1,): the first sample of each shard, then the number of samples."""
        return np.cumsum([0, *(shard.count for shard in self.shards)], dtype=np.int64)

    @classmethod
    def make(
        cls, *, version: int, fields: Mapping[str, Tensor | LatentField | str], coders: Mapping[str, str],
        encoders: Mapping[str, Encoder], shards: tuple[Shard, ...], source: str, session: str,
    ) -> TensorMeta:  # fmt: skip
        """The manifest that says this."""
        attributes = seal({
            "format_version": FORMAT_VERSION,
            "version": version,
            "count": sum(shard.count for shard in shards),
            "fields": [_field(name, value) for name, value in fields.items()],
            "coders": dict(coders),
            "encoders": {name: encoder.to_json() for name, encoder in encoders.items()},
            "source": source,
            "session": session,
            "shards": [shard.to_json() for shard in shards],
        })  # fmt: skip
        return cls.of(json.loads(json.dumps(attributes)), "the new manifest")

    @classmethod
    def of(cls, attributes: dict[str, Any], where: str) -> TensorMeta:
        """From the manifest's object. CorruptError or UnsupportedVersionError name `where`."""
        version = attributes.get("format_version")
        if version != FORMAT_VERSION:
            raise UnsupportedVersionError(
                f"{where}: the store of tensors has format version {version!r}, and this version of latentstore reads "
                f"{FORMAT_VERSION}"
            )
        try:
            meta = cls._of(attributes, where)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptError(
                f"{where}: the manifest is damaged: a key is missing or wrong ({repr(error)[:300]})"
            ) from error
        if meta.count != attributes.get("count"):
            raise CorruptError(f"{where}: the manifest is damaged: its shards have {meta.count} samples together")
        return meta

    @classmethod
    def _of(cls, attributes: dict[str, Any], where: str) -> TensorMeta:
        fields = {_known(one["name"], _NAME): _value(one, where) for one in attributes["fields"]}
        coded = [name for name, value in fields.items() if not isinstance(value, str)]
        latents = [value for value in fields.values() if isinstance(value, LatentField)]
        coders = {name: _known(attributes["coders"][name], _SHA) for name in coded}
        encoders = {
            name: Encoder.of_json(value, f"{where}, field {name!r}") for name, value in attributes["encoders"].items()
        }
        if len(fields) != len(attributes["fields"]) or not 0 < len(coded) <= layout.MOST_FIELDS:
            raise ValueError("its fields")
        if any(value.is_alone for value in latents) and coded != [FIELD]:
            raise ValueError("its fields beside the latents")
        if encoders.keys() - set(coded) or len(attributes["shards"]) > MOST_SHARDS:
            raise ValueError("its encoders or shards")
        parts = sum(len(_parts(name, fields[name])) for name in coded)
        if parts > layout.MOST_PARTS:
            raise ValueError(f"{parts} parts of a sample")
        return cls(
            version=_whole(attributes["version"], 1, MOST),
            fields=fields,
            coders=coders,
            encoders=encoders,
            shards=tuple(_shard(one, parts) for one in attributes["shards"]),
            source=_text(attributes["source"]),
            session=_text(attributes["session"]),
            attributes=attributes,
        )


def asked_of(fields: Mapping[str, Declared]) -> dict[str, Any]:
    """What all who write one store must declare the same, as JSON by field."""
    return {name: _asked(value) for name, value in fields.items()}


def _asked(value: Declared) -> Any:
    return value if isinstance(value, str) else json.loads(json.dumps(value.to_json()))


def said_of(value: Any, other: Any) -> str:
    """A field of `asked_of` in words, None for none; of a tensor in the place of another, what differs."""
    if not isinstance(value, dict):
        return value or "not there"
    if "codec" in value:
        return f"latents of {value['codec']} {str(value.get('artifact_sha256'))[:12]} at quality {value.get('quality')}"
    tensor = Tensor.of_json(value, "A field")
    if isinstance(other, dict) and "codec" not in other:
        return tensor.besides(Tensor.of_json(other, "A field"))
    return str(tensor)


def _parts(name: str, value: Tensor | LatentField | str) -> list[str]:
    """The parts of a sample that a field is coded as."""
    return value.parts(name) if isinstance(value, LatentField) else [name]


def _field(name: str, value: Tensor | LatentField | str) -> dict[str, Any]:
    """What a manifest says of a field."""
    if isinstance(value, str):
        return {"name": name, "kind": value}
    return {"name": name, ("latents" if isinstance(value, LatentField) else "tensor"): value.to_json()}


def _value(value: dict[str, Any], where: str) -> Tensor | LatentField | str:
    if "tensor" in value:
        return Tensor.of_json(value["tensor"], f"{where}, field {value['name']!r}")
    if "latents" in value:
        return LatentField.of_json(value["latents"])
    if value["kind"] not in KINDS:
        raise ValueError(f"kind is {short(value['kind'])}")
    return str(value["kind"])


def _shard(value: dict[str, Any], fields: int) -> Shard:
    sizes = tuple(_whole(size, 0, layout.MOST_SHARD_BYTES) for size in value["fields"])
    shard = Shard(
        name=_known(value["name"], _SHARD),
        count=_whole(value["count"], 1, layout.MOST_SHARD_SAMPLES),
        bytes=_whole(value["bytes"], 1, layout.MOST_SHARD_BYTES),
        tail=_whole(value["tail"], layout.END_BYTES, layout.MOST_TAIL_BYTES),
        fields=sizes,
    )
    if len(sizes) != fields or sum(sizes) + shard.tail != shard.bytes or shard.tail < 4 * fields * shard.count:
        raise ValueError(f"the sizes of the shard {shard.name}")
    return shard


def _whole(value: Any, low: int, high: int) -> int:
    if not whole(value, low, high):
        raise TypeError(f"{short(value)}, expected a whole number from {low} to {high}")
    return int(value)


def _known(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise TypeError(f"{short(value)} is no name")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{short(value)}, expected text")
    return value
