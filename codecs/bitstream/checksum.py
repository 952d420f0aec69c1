"""CRC-32C (Castagnoli), reflected, as in RFC 3720."""

from __future__ import annotations

from latentstore.codecs.native import backend

__all__ = ["crc32c"]


def crc32c(data: bytes | memoryview, seed: int = 0) -> int:
    """The CRC-32C of `data`, going on from the CRC `seed` of what came before it."""
    return int(backend().crc32c(data, seed))
