"""Stores and what reads them: writers and readers of Zarr and WebDataset, the order of samples, batches.

Names are looked up on first use, so that reading a store loads no torch and no zarr.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "LatentDataset": "dataset",
    "LatentLoader": "loader",
    "Sample": "writer",
    "StoreSpec": "writer",
    "open_writer": "writer",
    "wds_handler": "wds_decode",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
