"""Checks of values that come from an artifact's JSON: nothing in it is trusted."""

from __future__ import annotations

import reprlib
from typing import Any

__all__ = ["number", "numbers", "short", "whole"]


def number(value: Any, low: float, high: float) -> float | None:
    """The number if it is one from low to high."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return float(value)


def numbers(value: Any, count: int | None) -> list[float] | None:
    """The list if it holds `count` numbers (None: 1 to 64) from 1e-6 to 1e6, as steps and sizes are."""
    if not isinstance(value, list) or len(value) not in (range(1, 65) if count is None else (count,)):
        return None
    found = [number(one, 1e-6, 1e6) for one in value]
    return None if None in found else [one for one in found if one is not None]


def whole(value: Any, low: int, high: int) -> bool:
    """Whether it is a whole number from low to high."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def short(value: Any) -> str:
    """A value of the file, or an error about it, as a message can hold it."""
    text = value if isinstance(value, Exception) else reprlib.repr(value)
    return str(text)[:200]
