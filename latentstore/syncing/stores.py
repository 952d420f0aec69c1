"""What kind of store is to be brought up to date."""

from __future__ import annotations

from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.read import read_manifest

__all__ = ["holds_tensors"]


def holds_tensors(url: str) -> bool:
    """Whether there is a store of tensors; False where there is one of latents alone, or none."""
    location = Location(url)
    return location.exists(layout.MANIFEST) and read_manifest(location).alone is None
