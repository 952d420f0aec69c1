"""What goes into a store: its settings, its samples, and what is known of a shard that has been written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.columns import Field
from latentstore.loaders.stats import Moments

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

# Aimed at by `default_shard_samples`. Such a shard is large enough that its round trips and its index take little time
# beside its bytes, and small enough that a few fit into a worker's memory.
SHARD_BYTES = 32 << 20
# Where there are so many samples, no shard is so small that a file for each of them would do as well.
FEWEST_SAMPLES = 32
# A coarse guess for the default quality. Only the number of samples in a shard depends on it.
BITS_PER_PIXEL = 0.6

_CONVERSION = "conversion"


@dataclass(frozen=True)
class Sample:
    """One encoded image, recording, or window of a recording.

    groups: the codec's group blobs, in order (`Codec.compress_groups`). width, height: of an image, in pixels; of
    audio, its number of samples, and 1.

    fields: what else belongs to the sample. All samples of a store have the same names, and under one name values of
    one type (int and float may be mixed). ``label`` (int) is the class. Audio has ``rate`` (int), in hertz, and
    ``step`` (int), the step code of its blobs. source: what it was made of, as `latentstore.sources.identity` says it;
    only stores with versions keep it.
    """

    key: str
    groups: Sequence[bytes]
    width: int
    height: int
    fields: dict[str, Field] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class StoreSpec:
    """What is fixed before the first shard is written. A resumed conversion must have the same.

    codec, sha256: name and SHA-256 of the artifact. quality: 1 to 100. size: (height, width) of every image,
    (1, samples) of all audio, or None where sizes differ ("native"). shard_samples: samples of a full shard. source:
    what is converted, for people. classes: names of the values of the field ``label``, or None. conversion: whatever
    else a resumed conversion must have the same, a JSON object (the digest of the source's listing, ...). artifact: its
    bytes; a writer that was pickled has none, and reads them beside the growing store.
    """

    codec: str
    sha256: str
    quality: int
    size: tuple[int, int] | None
    shard_samples: int
    source: str
    classes: tuple[str, ...] | None = None
    conversion: dict[str, Any] = field(default_factory=dict)
    artifact: bytes = field(default=b"", repr=False, compare=False)

    @classmethod
    def of(
        cls, codec: Codec, *, quality: int | None = None, size: tuple[int, int] | None, shard_samples: int,
        source: str, classes: Sequence[str] | None = None, conversion: Mapping[str, Any] | None = None,
    ) -> StoreSpec:  # fmt: skip
        """The spec of a store coded by `codec`; quality None is the codec's default."""
        if shard_samples < 1:
            raise ArgumentError(f"shard_samples is {shard_samples}; a shard holds at least one sample")
        return cls(
            codec=codec.name,
            sha256=codec.sha256,
            quality=codec.default_quality if quality is None else int(quality),
            size=None if size is None else (int(size[0]), int(size[1])),
            shard_samples=int(shard_samples),
            source=source,
            classes=None if classes is None else tuple(classes),
            conversion=dict(conversion or {}),
            artifact=codec.artifact_bytes,
        )

    def settings(self) -> dict[str, Any]:
        """What a resumed conversion must have the same: keys and values as the manifest has them, JSON."""
        values = {
            "codec": self.codec,
            "artifact_sha256": self.sha256,
            "quality": self.quality,
            "size": self.size,
            "shard_samples": self.shard_samples,
            "source": self.source,
            "classes": self.classes,
            _CONVERSION: self.conversion,
        }
        return json.loads(json.dumps(values))


SETTINGS = ("codec", "artifact_sha256", "quality", "size", "shard_samples", "source", "classes", _CONVERSION)


def settings_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """`StoreSpec.settings` of the store that has this manifest; None for what the manifest does not say."""
    return {name: manifest.get(name) for name in SETTINGS}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(name, old value, new value) of all settings that differ, those inside ``conversion`` by their own names."""
    before, after = _flat(old), _flat(new)
    names = [*after, *(name for name in before if name not in after)]
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    inner = settings.get(_CONVERSION)
    return {
        **{name: value for name, value in settings.items() if name != _CONVERSION},
        **(inner if isinstance(inner, dict) else {}),
    }


@dataclass(frozen=True)
class ShardSummary:
    """What is known of a shard that has been written; small, and can be pickled.

    count: its samples. bytes: of all its group blobs. extent: size of all its signals together, in pixels of images or
    samples of audio (channels not counted). moments: of its latents. notes: as they were given to `write_shard`.
    """

    index: int
    count: int
    bytes: int
    extent: int
    moments: Moments
    notes: list[dict[str, Any]]


@dataclass(frozen=True)
class StoreSummary:
    """What a finished store holds; count, bytes and extent as in `ShardSummary`. shards: those that have samples."""

    url: str
    count: int
    shards: int
    bytes: int
    extent: int


def default_shard_samples(count: int, size: tuple[int, int] | None, bits_per_pixel: float = BITS_PER_PIXEL) -> int:
    """Samples of a full shard of about 32 MB, for `count` signals of that size (None: one megapixel each)."""
    pixels = 1 << 20 if size is None else max(1, size[0] * size[1])
    return max(1, min(count, int(SHARD_BYTES * 8 / bits_per_pixel / pixels), 8192))
