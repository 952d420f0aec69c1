"""What tells one list of entries from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from latentstore.sources.item import Item

__all__ = ["listing_digest"]


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
