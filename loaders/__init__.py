"""Stores to batches: `LatentLoader` makes batches of torch tensors from what `latentstore.open` gives, which is a
`LatentDataset` or, of tensors of other encoders, a `TensorDataset`. Nothing here writes.

Each name is looked up when it is first used, so that reading a store loads neither torch nor zarr.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Augment": "training.augment",
    "LatentDataset": "dataset",
    "LatentLoader": "loader",
    "TensorDataset": "tensors.dataset",
    "ReadyBatches": "training.dataloader",
    "as_dataloader": "training.dataloader",
    "wds_handler": "webdataset.decode",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
