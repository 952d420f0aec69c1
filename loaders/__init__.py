"""Stores to batches: what reads a store, in which order, into tensors. Nothing here writes.

Names are looked up on first use, so that reading a store loads no torch and no zarr.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "LatentDataset": "dataset",
    "LatentLoader": "loader",
    "wds_handler": "webdataset.decode",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
