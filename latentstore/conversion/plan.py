"""Plans a conversion: which entries make which shard, and what a resumed run must agree on.

The plan depends on the source and the options only, never on workers, so the bytes of a store do not depend on workers
either. An entry that cannot be read makes its own shard shorter; the other shards stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentstore.codecs.errors import LatentstoreError
from latentstore.conversion.digest import listing_digest
from latentstore.progress import Progress
from latentstore.sources import Item, open_source
from latentstore.sources.labels import Labels
from latentstore.sources.remarks import Told
from latentstore.sources.signals.front_ends import front_end_of
from latentstore.sources.signals.settings import Settings
from latentstore.version import __version__
from latentstore.writing.spec import StoreSpec, default_shard_samples

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["Plan", "make_plan", "shard_bounds", "shard_samples"]

# A small data set gets this many shards, to keep many workers busy; but no shard is so small that a file for each
# sample would do as well.
WANTED_SHARDS = 64
FEWEST_SAMPLES = 32
# Signals that keep their size may be large: a shard ends after so many bytes of the source. This bounds the memory of
# a worker, since the blobs of a shard take a fraction of its source.
NATIVE_SOURCE_BYTES = 128 << 20


@dataclass(frozen=True)
class Plan:
    """What is converted, and how.

    bounds: (start, stop) of each shard in `items`. passed_over, remarks: as the source says them.
    """

    items: Sequence[Item]
    bounds: Sequence[tuple[int, int]]
    spec: StoreSpec
    settings: Settings
    passed_over: Mapping[str, int]
    remarks: tuple[Told, ...]


def make_plan(
    source: str,
    labels: Labels,
    member: str | None,
    rate: int | None,
    codec: Codec,
    settings: Settings,
    storage_options: dict[str, Any],
    shown: Progress,
) -> Plan:
    """Lists the source and plans its shards. LatentstoreError where there is nothing to convert.

    source: as `convert` takes it. labels: where the labels come from. member: extension of the members of tars that are
    signals. rate: as `convert` takes it, for waveforms in Zarr that do not say theirs.
    """
    shown.begin(f"listing {source}")
    listed = open_source(source, labels, storage_options, codec.modality, rate, member)
    if not listed.items:
        raise LatentstoreError(f"the source {source} has no entries that could be {settings.modality.nouns.many}")
    front_end, size = front_end_of(codec.modality), settings.fixed_size
    items = front_end.entries(listed.items, settings)
    samples = shard_samples(len(items), size)
    spec = StoreSpec.of(
        codec,
        quality=settings.quality,
        size=size,
        shard_samples=samples,
        source=source.encode("utf-8", "backslashreplace").decode("utf-8"),
        classes=listed.classes,
        conversion={
            "effort": settings.effort,
            **labels.facts(),
            "member": member,
            "listing_sha256": listing_digest(items),
            "latentstore": __version__,
            **front_end.facts(settings, len(items)),
        },
    )
    bounds = shard_bounds(items, samples, size)
    return Plan(items, bounds, spec, settings, listed.passed_over, listed.remarks)


def shard_samples(count: int, size: tuple[int, int] | None) -> int:
    """Samples of a full shard for `count` signals of (height, width) `size`; None where sizes differ."""
    most = default_shard_samples(count, size)
    return min(most, max(FEWEST_SAMPLES, -(-count // WANTED_SHARDS)))


def shard_bounds(items: Sequence[Any], samples: int, size: tuple[int, int] | None) -> list[tuple[int, int]]:
    """(start, stop) of each shard's items: at most `samples` of them, and bounded bytes where sizes differ."""
    if size is not None:
        return [(start, min(start + samples, len(items))) for start in range(0, len(items), samples)]
    bounds, start, held = [], 0, 0
    for i, item in enumerate(items):
        item_bytes = item.size_bytes or 0
        if i > start and (i - start == samples or held + item_bytes > NATIVE_SOURCE_BYTES):
            bounds.append((start, i))
            start, held = i, 0
        held += item_bytes
    if start < len(items):
        bounds.append((start, len(items)))
    return bounds
