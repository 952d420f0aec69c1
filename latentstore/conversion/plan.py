"""Which source items make which shard, and what tells one conversion from another.

Both depend on the source and the options only, never on workers: so bytes do not depend on them either, and a
bad entry leaves its own shard shorter without moving what the others hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from latentstore.writing.spec import default_shard_samples

__all__ = ["listing_digest", "shard_bounds", "shard_samples"]

# Enough shards to keep many workers busy on a small data set, but none so small that shards are mere files
# again.
WANTED_SHARDS = 64
FEWEST_SAMPLES = 32
# Signals kept at their own size may be large: a shard ends after this much of the source, which bounds what
# a worker holds (the blobs of a shard take a fraction of its source).
NATIVE_SOURCE_BYTES = 128 << 20


def shard_samples(count: int, size: tuple[int, int] | None) -> int:
    """Samples of a full shard for `count` signals of that size (None: their own sizes)."""
    most = default_shard_samples(count, size)
    return min(most, max(FEWEST_SAMPLES, -(-count // WANTED_SHARDS)))


def shard_bounds(items: Sequence[Any], samples: int, size: tuple[int, int] | None) -> list[tuple[int, int]]:
    """(start, stop) of each shard's items: at most `samples`, and bounded bytes where sizes differ."""
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


def listing_digest(items: Sequence[Any]) -> str:
    """SHA-256 (hex) over every item's key, place, content stamp and fields, in order.

    It changes when a file is added, removed, renamed, written anew or labelled otherwise.
    """
    digest = hashlib.sha256()
    for item in items:
        fields = {name: value.hex() if isinstance(value, bytes) else value for name, value in item.fields.items()}
        digest.update(json.dumps([item.key, item.path, item.stamp, fields], sort_keys=True).encode("ascii"))
        digest.update(b"\n")
    return digest.hexdigest()
