"""Reading the latents of a store with versions: what the reader of every layout of latents answers."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.manifest import FORMAT_VERSION, StoreMeta
from latentstore.loaders.reader import Reader
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.latents import FIELD
from latentstore.loaders.tensors.manifest import TensorMeta
from latentstore.loaders.tensors.read import VersionReader, read_coder, read_manifest


class LatentReader(VersionReader, Reader):
    """Reads the latents of one version of a store. Where the store gets a new version, this stays the one it was."""

    def __init__(self, location: Location, version: TensorMeta) -> None:
        super().__init__(location, version, range(len(version.parts)))
        self.meta = latent_meta(version, location.at(layout.MANIFEST))

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "version": self.version}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["location"], state["version"])  # type: ignore[misc]

    @property
    def cached_as(self) -> str:
        """See `BlockReader.cached_as`. No two versions have shards of one name that differ, so what did not change is
        not fetched again after a sync."""
        return hashlib.sha256(f"versions {self.meta.sha256}".encode()).hexdigest()[:32]

    def manifest_now(self) -> StoreMeta:
        """See `Reader.manifest_now`."""
        origin = self.location.origin
        return latent_meta(read_manifest(origin), origin.at(layout.MANIFEST))

    def artifact(self) -> bytes:
        """See `Reader.artifact`."""
        return read_coder(self.location, self.meta.sha256)

    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """See `Reader.sizes`."""
        if self.meta.size is not None:
            return np.broadcast_to(np.array(self.meta.size, np.int64), (len(indices), 2))
        return np.stack([self._column(name, indices) for name in (layout.HEIGHT, layout.WIDTH)], axis=1)

    def _own_columns(self) -> dict[str, str]:
        return {} if self.meta.size is not None else {layout.HEIGHT: "int", layout.WIDTH: "int"}


def latent_meta(version: TensorMeta, where: str) -> StoreMeta:
    """What a version says of its latents, as the manifests of all layouts of latents say it. CorruptError names
    `where`."""
    if version.latents is None:
        raise CorruptError(f"{where}: it was a store of latents, and is one of tensors now")
    return StoreMeta.of(
        {
            **version.latents.about,
            "format_version": FORMAT_VERSION,
            "version": version.version,
            "artifact_sha256": version.coders[FIELD],
            "count": version.count,
            "blob_bytes": sum(sum(shard.fields) for shard in version.shards),
            "source": version.source,
            "fields": {name: {"kind": kind} for name, kind in version.kinds.items()},
        },
        where,
    )
