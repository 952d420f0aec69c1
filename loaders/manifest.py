"""What a store says of itself: the object in Zarr's root attributes or in ``latentstore.json``.

Its keys: format_version, codec, artifact_sha256, count, size, mode, quality, channels, group_channels,
blob_bytes, pixels, source, classes, fields, stats, settings (what a resumed conversion compares), and what a
layout adds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import CorruptError, UnsupportedVersionError
from latentstore.codecs.modality import modality_of
from latentstore.loaders.columns import KINDS

FORMAT_VERSION = 1


def seal(attributes: dict[str, Any]) -> dict[str, Any]:
    """`attributes` with a checksum over them, so that `verify` sees damage in what is only text."""
    return {**attributes, "crc32c": _checksum(attributes)}


def seal_holds(attributes: dict[str, Any]) -> bool:
    """Whether attributes are as `seal` left them."""
    return attributes.get("crc32c") == _checksum({k: v for k, v in attributes.items() if k != "crc32c"})


def _checksum(attributes: dict[str, Any]) -> int:
    return int(crc32c(json.dumps(attributes, sort_keys=True, ensure_ascii=False).encode()))


@dataclass(frozen=True)
class StoreMeta:
    """The manifest, checked. size: (height, width) or None. fields: kind by name. attributes: all that it
    says."""

    codec: str
    sha256: str
    count: int
    size: tuple[int, int] | None
    quality: int
    channels: int
    group_channels: int
    shard_samples: int
    reduction: int
    classes: list[str] | None
    mean: np.ndarray
    std: np.ndarray
    attributes: dict[str, Any]

    @property
    def groups(self) -> int:
        return self.channels // self.group_channels

    @classmethod
    def of(cls, attributes: dict[str, Any], where: str) -> StoreMeta:
        """From the manifest's object; CorruptError or UnsupportedVersionError naming `where`."""
        version = attributes.get("format_version")
        if version != FORMAT_VERSION:
            raise UnsupportedVersionError(
                f"{where}: store format {version!r}; this version of latentstore reads {FORMAT_VERSION}"
            )
        try:
            size, stats = attributes["size"], attributes["stats"]
            meta = cls(
                codec=str(attributes["codec"]),
                sha256=str(attributes["artifact_sha256"]),
                count=int(attributes["count"]),
                size=None if size is None else (int(size[0]), int(size[1])),
                quality=int(attributes["quality"]),
                channels=int(attributes["channels"]),
                group_channels=int(attributes["group_channels"]),
                shard_samples=int(attributes["settings"]["shard_samples"]),
                reduction=int(attributes["settings"]["reduction"]),
                classes=attributes["classes"],
                mean=np.array(stats["mean"], np.float32),
                std=np.array(stats["std"], np.float32),
                attributes=attributes,
            )
            kinds = {str(field["kind"]) for field in attributes["fields"].values()}
            arrays = [str(field.get("array", "")) for field in attributes["fields"].values()]
            needed = modality_of(str(attributes["mode"])).fields
            lacking = [name for name in needed if attributes["fields"].get(name, {}).get("kind") != "int"]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise CorruptError(f"{where}: the description of the store is damaged ({error!r})") from error
        if not (
            meta.count > 0
            and meta.shard_samples > 0
            and meta.reduction > 0
            and meta.channels > 0
            and meta.group_channels > 0
            and meta.channels % meta.group_channels == 0
            and kinds <= set(KINDS)
            and not lacking
            and not any("/" in name for name in arrays)
            and meta.mean.shape == meta.std.shape == (meta.channels,)
        ):
            raise CorruptError(f"{where}: the description of the store contradicts itself")
        return meta
