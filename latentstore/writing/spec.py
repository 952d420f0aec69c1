"""How a store is written: the one interface behind which Zarr and WebDataset look the same.

    spec = StoreSpec.of(codec, quality=60, size=(256, 256), shard_samples=1024, source="folder", job={...})
    with open_writer(target, spec, resume=resume, overwrite=overwrite) as writer:   # driver
        if not writer.published:                     # resume found the store complete: nothing to do
            todo = set(range(n_shards)) - set(writer.done())
            ...  writer.write_shard(i, samples, notes)   # any thread, process or machine; the writer pickles
            writer.finish(n_shards)                  # driver, once

One task owns one whole shard and writes all of it in one call. A call is atomic and idempotent: the shard,
then its summary, are written under a temporary name and renamed (object stores: put whole), so a task that
dies half-way or runs twice does no harm. Nothing is visible at the target before `finish`, which publishes
last.

A shard may hold fewer than ``spec.shard_samples`` samples, even none, where images could not be read;
`finish` closes such gaps where the layout cannot have them. Keys must be unique over the store; `finish`
checks it.

While it grows, a store lives beside its target, in ``TARGET.partial``, and a lock there keeps a second run
out (`writing.staging`, `writing.lock`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.stats import Moments

if TYPE_CHECKING:
    from latentstore.codecs import Codec
    from latentstore.writing.staged import StagedWriter

Field = int | float | str | bytes

# Aimed at by `default_shard_samples`: large enough that a shard's round trips and index are nothing beside
# its bytes, small enough that a few fit in a worker's memory.
SHARD_BYTES = 32 << 20
# A coarse guess for the default quality; only the number of samples in a shard hangs on it.
BITS_PER_PIXEL = 0.6


@dataclass(frozen=True)
class Sample:
    """One encoded image or piece of audio.

    groups: the codec's group blobs, in order (`Codec.compress_groups`). width, height: of the image, in
    pixels; of audio, its samples and 1.

    fields: what else belongs to the sample. Every sample of a store has the same names, and under one
    name values of one type (int and float may mix). ``label`` (int) is the class; str and bytes are kept as
    they are. Audio has ``rate`` (int), in hertz, and ``step`` (int), the step code of its blobs.
    """

    key: str
    groups: Sequence[bytes]
    width: int
    height: int
    fields: dict[str, Field] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreSpec:
    """What is settled before the first shard is written. Stored while the store grows; resuming needs it
    equal.

    size: (height, width) of every image, (1, samples) of all audio, or None where sizes differ ("native").
    shard_samples: samples of a full shard. job: whatever else a resumed run must agree on, JSON (the digest of
    the source list, ...).
    """

    codec: str
    sha256: str
    mode: str
    channels: int
    group_channels: int
    reduction: int
    quality: int
    size: tuple[int, int] | None
    shard_samples: int
    source: str
    classes: tuple[str, ...] | None = None
    job: dict[str, Any] = field(default_factory=dict)
    artifact: bytes = field(default=b"", repr=False, compare=False)

    @classmethod
    def of(
        cls, codec: Codec, *, quality: int | None = None, size: tuple[int, int] | None, shard_samples: int,
        source: str, classes: Sequence[str] | None = None, job: dict[str, Any] | None = None,
    ) -> StoreSpec:  # fmt: skip
        """The spec of a store coded by `codec`; quality None is the codec's default."""
        if shard_samples < 1:
            raise ArgumentError(f"shard_samples is {shard_samples}; a shard holds at least one sample")
        return cls(
            codec.name, codec.sha256, codec.mode, codec.channels, codec.group_channels, codec.reduction,
            codec.default_quality if quality is None else int(quality),
            None if size is None else (int(size[0]), int(size[1])), int(shard_samples), source,
            None if classes is None else tuple(classes), dict(job or {}), codec.artifact_bytes,
        )  # fmt: skip

    @property
    def groups(self) -> int:
        return self.channels // self.group_channels

    @property
    def plane(self) -> tuple[int, int] | None:
        """(h, w) of every latent plane, or None where sizes differ."""
        if self.size is None:
            return None
        return -(-self.size[0] // self.reduction), -(-self.size[1] // self.reduction)

    def to_json(self) -> str:
        """Everything but the artifact, which is stored as a file of its own."""
        values = asdict(self)
        del values["artifact"]
        return json.dumps(values, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, artifact: bytes = b"") -> StoreSpec:
        values = json.loads(text)
        values["size"] = None if values["size"] is None else tuple(values["size"])
        values["classes"] = None if values["classes"] is None else tuple(values["classes"])
        return cls(**values, artifact=artifact)


@dataclass(frozen=True)
class ShardSummary:
    """What a written shard reports; small, picklable.

    bytes: of all group blobs. pixels: of the images as stored, or samples of audio. moments: of the latents.
    notes: as given to `write_shard` (for a resumed run's report).
    """

    index: int
    count: int
    bytes: int
    pixels: int
    moments: Moments
    notes: list[dict[str, Any]]


@dataclass(frozen=True)
class StoreSummary:
    """What a finished store holds: its URL, samples, shards, bytes of blobs, and pixels of the images."""

    url: str
    count: int
    shards: int
    bytes: int
    pixels: int


def default_shard_samples(count: int, size: tuple[int, int] | None, bits_per_pixel: float = BITS_PER_PIXEL) -> int:
    """Samples of a full shard for `count` images of `size` (None: taken as one megapixel each): about 32
    MB."""
    pixels = 1 << 20 if size is None else max(1, size[0] * size[1])
    return max(1, min(count, int(SHARD_BYTES * 8 / bits_per_pixel / pixels), 8192))


def store_format(target: str, format: str | None = None) -> str:
    """ "zarr" or "wds": what `format` says, else what the target's name says (``*.zarr``; ``*.tar``
    patterns)."""
    name = str(target).rstrip("/")
    guess = "zarr" if name.endswith(".zarr") else "wds" if name.endswith(".tar") else None
    chosen = format or guess
    if chosen is None:
        raise ArgumentError(f"cannot tell the format of {target!r}: name it *.zarr, or say --format zarr or wds")
    if chosen not in ("zarr", "wds"):
        raise ArgumentError(f"unknown store format {chosen!r}; there are zarr and wds")
    if format and guess and format != guess:
        raise ArgumentError(f"{target!r} is named as {guess}, but the format asked for is {format}")
    return chosen


def open_writer(
    target: str, spec: StoreSpec, *, format: str | None = None, resume: bool = False, overwrite: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> StagedWriter:  # fmt: skip
    """Begin (or, with `resume`, go on with) the store `target`.

    StoreError: the target exists and neither `resume` nor `overwrite` is given; an interrupted run of other
    settings lies there; another run is writing it. `overwrite` replaces only what is a latentstore store, and
    only when the new one is complete.
    """
    if store_format(target, format) == "zarr":
        from latentstore.writing.zarr import ZarrWriter

        return ZarrWriter.begin(target, spec, resume=resume, overwrite=overwrite, storage_options=storage_options)
    from latentstore.writing.webdataset import WdsWriter

    return WdsWriter.begin(target, spec, resume=resume, overwrite=overwrite, storage_options=storage_options)
