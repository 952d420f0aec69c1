"""Checks the objects of a store with versions, whatever its fields are."""

from __future__ import annotations

from collections.abc import Mapping

from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.read import VersionReader

__all__ = ["check_copy", "check_size"]


def check_copy(reader: VersionReader) -> list[str]:
    """The manifest is kept by its version too."""
    location, name = reader.location, layout.version_name(reader.meta.version)
    try:
        same = location.read(name) == location.read(layout.MANIFEST)
    except MissingError as error:
        return [str(error)]
    return [] if same else [f"{location.at(name)}: it is not the same as {layout.MANIFEST}"]


def check_size(reader: VersionReader, block: int, sizes: Mapping[str, int]) -> list[str]:
    """A shard is there, in the size that the manifest says. sizes: of all shards, by name."""
    name, expected = reader.object_name(block), reader.meta.shards[block].bytes
    size, where = sizes.get(name), reader.location.at(name)
    if size is None:
        return [f"{where} is missing"]
    return [] if size == expected else [f"{where}: it has {size} bytes, and the manifest says {expected}"]
