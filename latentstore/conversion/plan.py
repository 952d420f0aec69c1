"""Plans a conversion: which entries make which shard, and what a resumed run must agree on.

The plan depends on the source and the options only, never on workers, so the bytes of a store do not depend on workers
either. An entry that cannot be read makes its own shard shorter; the other shards stay as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from latentstore.codecs.errors import LatentstoreError
from latentstore.conversion.classes import keep_numbers, settle_folders
from latentstore.sources import Item, Source
from latentstore.sources.keys import check_keys
from latentstore.sources.labels import Labels
from latentstore.sources.remarks import Told, merged
from latentstore.sources.signals.front_ends import front_end_of
from latentstore.sources.signals.settings import Settings
from latentstore.version import __version__
from latentstore.writing.spec import FEWEST_SAMPLES, StoreSpec, default_shard_samples

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["Plan", "listing_digest", "make_plan", "shard_bounds", "shard_samples"]

# A small data set gets this many shards, to keep many workers busy, where they have `FEWEST_SAMPLES` then.
WANTED_SHARDS = 64
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

    def only(self, items: Sequence[Item]) -> Plan:
        """The plan of some of its entries."""
        return replace(self, items=items, bounds=shard_bounds(items, self.spec.shard_samples, self.spec.size))


def make_plan(
    listed: Source, labels: Labels, member: str | None, codec: Codec, settings: Settings,
    stored: Collection[str] = (), classes_before: Sequence[str] | None = None,
) -> Plan:  # fmt: skip
    """Plans the shards of a source. LatentstoreError where there is nothing to convert.

    labels: where the labels of `listed` come from. member: extension of the members of tars that are signals. stored:
    keys of entries that a store holds already, so that they can be read. classes_before: of that store; these keep
    their numbers.
    """
    if not listed.items:
        raise LatentstoreError(
            f"the source {listed.url} has no entries that could be {settings.modality.nouns.many}{_passed(listed)}"
        )
    front_end, size = front_end_of(codec.modality), settings.fixed_size
    items, told = check_keys(front_end.entries(listed.items, settings))
    settled, classes, of_classes = settle_folders(listed, items, settings, codec, stored)
    if classes is not None and classes_before is not None and listed.fixed is None:
        settled, classes = keep_numbers(settled, classes, classes_before)
    samples = shard_samples(len(items), size)
    spec = StoreSpec.of(
        codec,
        quality=settings.quality,
        size=size,
        shard_samples=samples,
        source=listed.url.encode("utf-8", "backslashreplace").decode("utf-8"),
        classes=classes,
        conversion={
            "effort": settings.effort,
            **labels.facts(),
            "member": member,
            "listing_sha256": listing_digest(settled),
            "latentstore": __version__,
            **front_end.facts(settings, len(items)),
        },
    )
    bounds = shard_bounds(settled, samples, size)
    return Plan(settled, bounds, spec, settings, listed.passed_over, merged([*listed.remarks, *told, *of_classes]))


def _passed(listed: Source) -> str:
    """What was passed over, in words."""
    said = ", ".join(f"{count:,} {kind}" for kind, count in sorted(listed.passed_over.items()))
    return f"; passed over: {said}" if said else ""


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


def listing_digest(items: Iterable[Item]) -> str:
    """SHA-256 (hex) over key, path, content stamp and fields of every item, in order.

    It changes when a file is added, removed, renamed, written anew, or gets another label.
    """
    digest = hashlib.sha256()
    for item in items:
        fields = {name: value.hex() if isinstance(value, bytes) else value for name, value in item.fields.items()}
        digest.update(json.dumps([item.key, item.path, item.stamp, fields], sort_keys=True).encode("ascii"))
        digest.update(b"\n")
    return digest.hexdigest()
