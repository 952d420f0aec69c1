"""Amounts of bytes, as people write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.remote.amounts import require_bytes, said_bytes


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (1, 1), (np.int64(7), 7), ("1", 1), ("500MB", 500_000_000), ("2GB", 2 * 10**9), (" 1.5 gb ", 1_500_000_000),
        ("3 kB", 3000), ("1TB", 10**12), ("10b", 10),
    ],
)  # fmt: skip
def test_amounts(written: Any, meant: int) -> None:
    assert require_bytes(written, "memory") == meant


@pytest.mark.parametrize("written", [0, -1, 1.5, True, None, "", "GB", "-1GB", "1 GiB", "0", "1e9", "9" * 40, "0.1b"])
def test_what_is_no_amount(written: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^memory is .*; it is a number of bytes, such as 500000000, '500MB'"):
        require_bytes(written, "memory")


def test_said() -> None:
    said = [said_bytes(n) for n in (5, 1500, 2_340_000, 2 * 10**9, 123_456 * 10**10)]
    assert said == ["5 bytes", "1.5 kB", "2.34 MB", "2 GB", "1235 TB"]
    assert require_bytes(said[3], "memory") == 2 * 10**9
