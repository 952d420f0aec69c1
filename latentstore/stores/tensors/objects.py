"""Checks the objects of a store with versions, whatever its fields are."""

from __future__ import annotations

from collections.abc import Mapping

from latentstore.loaders.manifest import read_json
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.read import VersionReader, read_manifest

__all__ = ["check_copy", "check_size", "explained"]


def check_copy(reader: VersionReader) -> list[str]:
    """The manifest is kept by its version too."""
    location, name = reader.location, layout.version_name(reader.meta.version)
    try:
        same = read_json(location, name) == reader.meta.attributes  # the manifest may be that of a newer version now
    except MissingError as error:
        return [str(error)]
    return [] if same else [f"{location.at(name)}: it is not the same as {layout.MANIFEST}"]


def check_size(reader: VersionReader, block: int, sizes: Mapping[str, int]) -> list[str]:
    """A shard is there, in the size that the manifest says. sizes: of all shards, by name."""
    name, expected = reader.object_name(block), reader.meta.shards[block].bytes
    size, where = sizes.get(name), reader.location.at(name)
    if size is None:
        if not reader.location.exists(name):  # a listing may lack what was written a moment ago
            return [f"{where} is missing"]
        size = reader.location.size(name)
    return [] if size == expected else [f"{where}: it has {size} bytes, and the manifest says {expected}"]


def explained(reader: VersionReader, problems: list[str]) -> list[str]:
    """These problems, each once; or the one that all of them come from, where the version was collected meanwhile."""
    if problems and not reader.location.exists(layout.version_name(reader.meta.version)):
        now = read_manifest(reader.location.origin).version
        if now > reader.meta.version:
            was = reader.meta.version
            return [
                f"{reader.location.url}: version {was} was removed while it was being checked, and there is version "
                f"{now} now: verify it again"
            ]
    return list(dict.fromkeys(problems))
