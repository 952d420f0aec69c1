"""Blobs that lie, with checksums that match: what a forger would send."""

from __future__ import annotations

from typing import Any

from latentstore.codecs.bitstream import group_info, varint
from latentstore.codecs.checksum import crc32c
from random_models import SHA256


def reseal(blob: bytes, sha256: bytes = SHA256, **changes: Any) -> bytes:
    """The group blob with fields of its header changed, and a checksum that matches."""
    info = group_info(blob)
    old = {
        "version": 1, "lanes_log2": info.lanes.bit_length() - 1, "model": info.model, "quality": info.quality,
        "height": info.height, "width": info.width, "escapes": info.escapes,
        "payload": blob[info.header_bytes :],
    }  # fmt: skip
    new = {**old, **changes}
    head = bytes([new["version"] << 4 | new["lanes_log2"], new["model"], new["quality"]]) + sha256[:2]
    head += varint(new["height"]) + varint(new["width"]) + varint(new["escapes"])
    return head + crc32c(new["payload"], crc32c(head, crc32c(sha256))).to_bytes(4, "little") + new["payload"]
