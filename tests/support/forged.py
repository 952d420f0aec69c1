"""Blobs that lie, with checksums that match: what a forger would send."""

from __future__ import annotations

from typing import Any

from random_models import SHA256

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.bitstream.varint import varint
from latentstore.codecs.modality import IMAGE, Modality


def reseal(blob: bytes, sha256: bytes = SHA256, modality: Modality = IMAGE, **changes: Any) -> bytes:
    """The group blob with fields of its header changed, and a checksum that matches."""
    info = group_info(blob, modality=modality)
    old = {
        "version": 1, "flags": blob[0] & 15, "model": info.model, "quality": info.quality,
        "height": info.height, "width": info.width, "escapes": info.escapes,
        "payload": blob[info.header_bytes :],
    }  # fmt: skip
    new = {**old, **changes}
    if "escapes" in changes and "flags" not in changes:
        new["flags"] = blob[0] & 2 | (1 if new["escapes"] else 0)
    head = bytes([new["version"] << 4 | new["flags"], new["model"], new["quality"]])
    head += varint(new["height"]) + varint(new["width"])
    if new["flags"] & 1:
        head += varint(new["escapes"])
    return head + crc32c(new["payload"], crc32c(head, crc32c(sha256))).to_bytes(4, "little") + new["payload"]
