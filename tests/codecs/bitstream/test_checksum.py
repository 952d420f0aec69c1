"""The CRC-32C: the kernel, which takes three parts of long data side by side, and the reference."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.reference import header as reference


def test_known_sums() -> None:
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


@pytest.mark.parametrize("size", [1, 8, 3071, 3072, 3073, 3085, 6144, 9999])
def test_the_kernel_and_the_reference_agree(size: int) -> None:
    data = np.random.default_rng(size).bytes(size + 3)
    for first in range(3):  # also where it is not aligned
        for seed in (0, 1, 0xFFFFFFFF):
            part = data[first : first + size]
            assert crc32c(part, seed) == reference.crc32c(part, seed)
    assert crc32c(data[size:], crc32c(data[:size])) == crc32c(data)
