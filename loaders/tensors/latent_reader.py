"""Reading the latents of a store with versions: what the reader of every layout of latents answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.faults.changed import still_there
from latentstore.loaders.manifest import FORMAT_VERSION, StoreMeta
from latentstore.loaders.reader import Reader
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.latents import FIELD
from latentstore.loaders.tensors.manifest import TensorMeta
from latentstore.loaders.tensors.read import VersionReader, read_coder, read_manifest


class LatentReader(Reader):
    """Reads the latents of one field of a version of a store. Where the store gets a new one, this stays as it was.

    of: reads the version; it must have this field. name: of the field.
    """

    def __init__(self, of: VersionReader, name: str = FIELD) -> None:
        self.of, self.name = of, name
        self.location, self.starts = of.location, of.starts
        self.meta = latent_meta(of.meta, name, of.location.at(layout.MANIFEST))
        self.is_alone = of.meta.latents[name].is_alone
        self.field_said = "" if self.is_alone else f", field {name!r}"
        self._first = of.columns[name].start

    def __getstate__(self) -> dict[str, Any]:
        return {"of": self.of, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["of"], state["name"])  # type: ignore[misc]

    @property
    def cached_as(self) -> str:
        """See `BlockReader.cached_as`."""
        return self.of.cached_as

    def manifest_now(self) -> StoreMeta:
        """See `Reader.manifest_now`."""
        origin = self.location.origin
        return latent_meta(read_manifest(origin), self.name, origin.at(layout.MANIFEST))

    def artifact(self) -> bytes:
        """See `Reader.artifact`."""
        with still_there(self):
            return read_coder(self.location, self.meta.sha256)

    # ---- blobs: those of this field stand together among those that are read of a sample

    def _columns(self, groups: int) -> range:
        return range(self._first, self._first + groups)

    def locate(self, indices: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """See `BlockReader.locate`."""
        start, length = self.of.locate(indices, self._first + groups)
        return start[:, self._first :], length[:, self._first :]

    def object_name(self, number: int) -> str:
        """See `BlockReader.object_name`."""
        return self.of.object_name(number)

    def block_ranges(self, block: int, groups: int) -> list[list[tuple[str, int, int]]]:
        """See `BlockReader.block_ranges`."""
        return self.of.ranges_of(block, self._columns(groups))

    def block_bases(self, block: int, groups: int) -> list[tuple[int, int]]:
        """See `BlockReader.block_bases`."""
        return self.of.bases_of(block, self._columns(groups))

    # ---- keys, fields, sizes

    def keys(self, indices: np.ndarray) -> list[str]:
        """See `BlockReader.keys`."""
        return self.of.keys(indices)

    def fields(self, indices: np.ndarray) -> dict[str, Any]:
        """See `BlockReader.fields`. Of latents beside other fields, those that their modality needs."""
        if self.is_alone:
            return self.of.fields(indices)
        found = {}
        if "rate" in self.meta.kinds:
            found["rate"] = self._rates(indices)
        if "step" in self.meta.kinds:
            found["step"] = self.of.column(layout.STEP + self.name, indices)
        return found

    def _rates(self, indices: np.ndarray) -> np.ndarray:
        """Those of the field of that name, if there is one, else that of the codec."""
        if self.of.meta.kinds.get("rate") == "int":
            return np.asarray(self.of.column("rate", indices))
        return np.full(len(indices), self.meta.attributes.get("rate", 1), np.int64)

    def sizes(self, indices: np.ndarray) -> np.ndarray:
        """See `Reader.sizes`."""
        if self.meta.size is not None:
            return np.broadcast_to(np.array(self.meta.size, np.int64), (len(indices), 2))
        if not self.is_alone:
            return self.of.sizes_of(self.name, indices)
        return np.stack([self.of.column(name, indices) for name in (layout.HEIGHT, layout.WIDTH)], axis=1)


def latent_meta(version: TensorMeta, name: str, where: str) -> StoreMeta:
    """What a version says of the latents of a field, as the manifests of all layouts of latents say it. CorruptError
    names `where`."""
    field = version.latents.get(name)
    if field is None:
        raise CorruptError(f"{where}: it was a store with the latents {name!r}, and has none of that name now")
    parts = version.parts_of(name)
    about = {
        **field.about,
        "format_version": FORMAT_VERSION,
        "version": version.version,
        "artifact_sha256": version.coders[name],
        "count": version.count,
        "blob_bytes": sum(sum(shard.fields[parts.start : parts.stop]) for shard in version.shards),
        "source": version.source,
        "fields": {column: {"kind": kind} for column, kind in version.kinds.items()},
    }
    if not field.is_alone:
        about |= {"shard_samples": max((shard.count for shard in version.shards), default=1), "classes": None}
        about["fields"] = {column: {"kind": "int"} for column in field.modality.fields}
    return StoreMeta.of(about, where)
