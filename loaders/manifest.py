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

from latentstore.codecs.artifact.checks import number, short, whole
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import ArgumentError, CorruptError, UnsupportedVersionError
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

MOST = (1 << 62) - 1
"""No count or size in a store is larger, so that sums of two fit 64 bits."""
MOST_SHARDS = 1 << 24
"""A store has no more shards: some arrays have an entry for each of them."""
FEW_SAMPLES = 1 << 16
"""What so many samples take in memory needs no check against the store's objects before it is taken."""

_BOUNDS = {
    "count": MOST, "extent": MOST, "blob_bytes": MOST, "shard_samples": MOST, "channels": 1024, "group_channels": 1024,
    "quality": 100,
}  # fmt: skip
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
    return parse_json(location.read(name), location.at(name))


def parse_json(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object that `content` is; CorruptError naming `where` if it is something else."""
    try:
        value = json.loads(content)
        if b"\\u" in content:
            json.dumps(value, ensure_ascii=False).encode()  # halves of surrogate pairs are no text
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{where}: not JSON ({short(error)})") from error
    if not isinstance(value, dict):
        raise CorruptError(f"{where}: not a JSON object")
    return value


def is_file_name(value: object) -> bool:
    """Whether it can be the name of a file, or of a folder, directly in a store's folder."""
    if not isinstance(value, str) or not 0 < len(value) < 256 or value in (".", ".."):
        return False
    return not set(value) & set("/\\\0")


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
            for name in _BOUNDS:
                if not whole(attributes[name], -MOST, MOST):
                    raise TypeError(f"{name} is {short(attributes[name])}, expected a whole number")
            for name in ("codec", "artifact_sha256", "source"):
                if not isinstance(attributes[name], str):
                    raise TypeError(f"{name} is {short(attributes[name])}, expected text")
            size, stats = attributes["size"], attributes["stats"]
            meta = cls(
                codec=attributes["codec"],
                sha256=attributes["artifact_sha256"],
                modality=_MODALITIES[attributes["modality"]],
                count=attributes["count"],
                size=None if size is None else _size(size),
                extent=attributes["extent"],
                blob_bytes=attributes["blob_bytes"],
                quality=attributes["quality"],
                channels=attributes["channels"],
                group_channels=attributes["group_channels"],
                shard_samples=attributes["shard_samples"],
                source=attributes["source"],
                classes=_classes(attributes["classes"]),
                mean=_numbers(stats["mean"], "mean"),
                std=_numbers(stats["std"], "std"),
                fields={str(name): dict(field) for name, field in attributes["fields"].items()},
                attributes=attributes,
            )
            problem = meta._problem()
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise CorruptError(
                f"{where}: the manifest is damaged: a key is missing or wrong ({repr(error)[:300]})"
            ) from error
        if problem:
            raise CorruptError(f"{where}: the manifest is damaged: {problem}")
        return meta

    def _problem(self) -> str | None:
        """The first thing that cannot be, in words."""
        for name, most in _BOUNDS.items():
            if not 1 <= getattr(self, name) <= most:
                expected = "1 or more" if getattr(self, name) < 1 else f"at most {most}"
                return f"{name} is {getattr(self, name)}, expected {expected}"
        if self.size is not None:
            try:
                self.modality.check(self.size[1], self.size[0], 1)
            except ArgumentError as error:
                return f"size is {list(self.size)}: {error}"
        if -(-self.count // self.shard_samples) > MOST_SHARDS:
            return f"count is {self.count} in shards of {self.shard_samples}: more than {MOST_SHARDS} shards"
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
            array = self.fields[name].get("array", name)
            if "array" in self.fields[name] and not is_file_name(array):
                return f"field {short(name)} is said to be in the array {short(array)}, outside of the store"
        for name in self.modality.fields:
            if self.kinds.get(name) != "int":
                return f"{self.modality.nouns.many} need the field {name!r}, of kind int"
        return None


def _size(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not all(whole(side, -MOST, MOST) for side in value):
        raise TypeError(f"size is {short(value)}, expected two whole numbers")
    return value[0], value[1]


def _classes(value: Any) -> list[str] | None:
    if value is not None and not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        raise TypeError(f"classes is {short(value)}, expected a list of names")
    return value


def _numbers(values: Any, name: str) -> np.ndarray:
    if not isinstance(values, list) or any(number(value, -1e30, 1e30) is None for value in values):
        raise TypeError(f"{name} is {short(values)}, expected a list of numbers")
    return np.array(values, np.float32)
