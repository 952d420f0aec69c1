"""The manifest: what a store says about itself, in Zarr's root attributes or in ``latentstore.json``.

`docs/stores.md` lists its keys. Here are also the other names that whoever writes a store and whoever reads it share
in every layout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import CorruptError, UnsupportedVersionError
from latentstore.codecs.modality import MODALITIES, Modality
from latentstore.loaders.columns import KINDS, RESERVED
from latentstore.loaders.remote.location import Location

FORMAT_VERSION = 1
"""The version of the store format that is written, and the only one that is read."""
ARTIFACT = "artifact.safetensors"
"""The file that holds the artifact, where the artifact is a file."""
PARTIAL = ".partial"
"""A store that is being written lies beside its final place, under the same name with this ending."""

_NOT_CONTENT = {"classes", "source", "conversion", "install", "crc32c"}
"""Keys of a manifest that say nothing of the samples: a store stays the same one when somebody corrects them."""

_MODALITIES = {modality.name: modality for modality in MODALITIES}


def seal(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """`attributes` with a checksum over them, so that `verify` notices damage in them."""
    return {**attributes, "crc32c": _checksum(attributes)}


def seal_holds(attributes: Mapping[str, Any]) -> bool:
    """Whether attributes are as `seal` made them."""
    return attributes.get("crc32c") == _checksum({k: v for k, v in attributes.items() if k != "crc32c"})


def _checksum(attributes: Mapping[str, Any]) -> int:
    return int(crc32c(json.dumps(attributes, sort_keys=True, ensure_ascii=False).encode()))


def read_json(location: Location, name: str) -> dict[str, Any]:
    """The JSON object in the file `name`; CorruptError naming the file if there is something else in it."""
    try:
        value = json.loads(location.read(name))
    except ValueError as error:
        raise CorruptError(f"{location.at(name)}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise CorruptError(f"{location.at(name)}: not a JSON object")
    return value


@dataclass(frozen=True)
class StoreMeta:
    """A manifest that has been checked.

    codec, sha256: name and SHA-256 of the artifact. count: samples. size: (height, width) of every image, (1, samples)
    of every recording, or None where sizes differ. extent: size of all signals together, in pixels of images or samples
    of audio. blob_bytes: of all group blobs. shard_samples: samples of a full shard. source: what was converted, for
    people. classes: names of the values of the field ``label``, or None. mean, std: float32 (channels,), of dequantised
    latents. fields: by name, what the manifest says of each field. attributes: the whole manifest.
    """

    codec: str
    sha256: str
    modality: Modality
    count: int
    size: tuple[int, int] | None
    extent: int
    blob_bytes: int
    quality: int
    channels: int
    group_channels: int
    shard_samples: int
    source: str
    classes: list[str] | None
    mean: np.ndarray
    std: np.ndarray
    fields: dict[str, dict[str, str]]
    attributes: dict[str, Any]

    @property
    def groups(self) -> int:
        """Group blobs of a sample."""
        return self.channels // self.group_channels

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each field by its name, see `loaders.columns.KINDS`."""
        return {name: field["kind"] for name, field in self.fields.items()}

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that stand for the content of the store, wherever it lies: codec, sizes, statistics."""
        content = {key: value for key, value in self.attributes.items() if key not in _NOT_CONTENT}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    @classmethod
    def of(cls, attributes: dict[str, Any], where: str) -> StoreMeta:
        """From the manifest's object. CorruptError or UnsupportedVersionError name `where`."""
        version = attributes.get("format_version")
        if version != FORMAT_VERSION:
            raise UnsupportedVersionError(
                f"{where}: the store has format version {version!r}, and this version of latentstore reads "
                f"{FORMAT_VERSION}"
            )
        try:
            size, stats = attributes["size"], attributes["stats"]
            meta = cls(
                codec=str(attributes["codec"]),
                sha256=str(attributes["artifact_sha256"]),
                modality=_MODALITIES[attributes["modality"]],
                count=int(attributes["count"]),
                size=None if size is None else (int(size[0]), int(size[1])),
                extent=int(attributes["extent"]),
                blob_bytes=int(attributes["blob_bytes"]),
                quality=int(attributes["quality"]),
                channels=int(attributes["channels"]),
                group_channels=int(attributes["group_channels"]),
                shard_samples=int(attributes["shard_samples"]),
                source=str(attributes["source"]),
                classes=attributes["classes"],
                mean=np.array(stats["mean"], np.float32),
                std=np.array(stats["std"], np.float32),
                fields={str(name): dict(field) for name, field in attributes["fields"].items()},
                attributes=attributes,
            )
            problem = meta._problem()
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise CorruptError(f"{where}: the manifest is damaged: a key is missing or wrong ({error!r})") from error
        if problem:
            raise CorruptError(f"{where}: the manifest is damaged: {problem}")
        return meta

    def _problem(self) -> str | None:
        """The first thing that cannot be, in words."""
        for name in ("count", "extent", "blob_bytes", "shard_samples", "channels", "group_channels"):
            if getattr(self, name) < 1:
                return f"{name} is {getattr(self, name)}, expected 1 or more"
        if self.size is not None and min(self.size) < 1:
            return f"size is {list(self.size)}, expected 1 or more"
        if self.channels % self.group_channels:
            return f"{self.channels} channels cannot be divided into groups of {self.group_channels}"
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values.shape != (self.channels,):
                return f"{name} has shape {values.shape}, expected one value for each of {self.channels} channels"
        for name, kind in self.kinds.items():
            if name in RESERVED:
                return f"a field is called {name!r}, which is the name of something else that every sample has"
            if kind not in KINDS:
                return f"field {name!r} is of kind {kind!r}, expected one of {', '.join(KINDS)}"
            if "/" in self.fields[name].get("array", ""):
                return f"field {name!r} is said to be in the array {self.fields[name]['array']!r}, outside of the store"
        for name in self.modality.fields:
            if self.kinds.get(name) != "int":
                return f"{self.modality.nouns.many} need the field {name!r}, of kind int"
        return None
