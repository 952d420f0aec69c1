"""Amounts of bytes as people write them: a whole number, or text such as "2GB"."""

from __future__ import annotations

import re
from typing import Any

from latentstore.codecs.arguments import whole_number
from latentstore.codecs.errors import ArgumentError

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
MOST = 1 << 62
_WRITTEN = re.compile(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([a-z]*)\s*", re.IGNORECASE)


def require_bytes(value: Any, name: str) -> int:
    """How many bytes `value` means: a whole number of bytes, or text such as "300MB" or "1.5 GB", of 1 or more bytes.

    The units are those of storage: kB, MB, GB and TB are 10^3, 10^6, 10^9 and 10^12 bytes. name: of the argument, for
    the message of the ArgumentError.
    """
    if isinstance(value, str):
        match = _WRITTEN.fullmatch(value)
        unit = UNITS.get(match[2].lower()) if match else None
        found = None if match is None or unit is None else int(float(match[1]) * unit)
    else:
        found = whole_number(value)
    if found is None or not 1 <= found <= MOST:
        raise ArgumentError(f"{name} is {value!r}; it is a number of bytes, such as 500000000, '500MB' or '2GB'.")
    return found


def said_bytes(count: int) -> str:
    """A number of bytes for people, in the units that `require_bytes` reads."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:.0f} {unit}"
    return f"{count} bytes"
