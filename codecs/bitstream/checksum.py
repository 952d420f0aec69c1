"""CRC-32C (Castagnoli), reflected, as in RFC 3720: from the kernel where there is one."""

from __future__ import annotations

from latentstore.codecs.native import kernel


def crc32c(data: bytes | memoryview, seed: int = 0) -> int:
    """The CRC-32C of `data`, going on from the CRC `seed` of what came before it."""
    if kernel is not None:
        return int(kernel.crc32c(data, seed))
    from latentstore.codecs.reference.header import crc32c as in_python

    return in_python(data, seed)
