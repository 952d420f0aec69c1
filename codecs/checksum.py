"""CRC-32C (Castagnoli), reflected, as in RFC 3720: from the kernel where there is one."""

from __future__ import annotations

from functools import lru_cache

from .native import kernel


@lru_cache(maxsize=1)
def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def crc32c(data: bytes | memoryview, seed: int = 0) -> int:
    """The CRC-32C of `data`, going on from the CRC `seed` of what came before it."""
    if kernel is not None:
        return int(kernel.crc32c(data, seed))
    crc, table = ~seed & 0xFFFFFFFF, _table()
    for byte in bytes(data):
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return ~crc & 0xFFFFFFFF
