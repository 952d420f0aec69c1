"""Writing a WebDataset, tar by tar. The layout is in `loaders.webdataset.layout`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.loaders.columns import Column
from latentstore.loaders.manifest import seal
from latentstore.loaders.remote.location import Location
from latentstore.loaders.webdataset import layout
from latentstore.writing.spec import Sample, ShardSummary, StoreSpec
from latentstore.writing.staged import StagedWriter
from latentstore.writing.staging import Staging


class WdsWriter(StagedWriter):
    """A task writes one tar and its index. Shards without samples have no tar; the manifest lists those there
    are."""

    manifest = layout.MANIFEST

    def __init__(self, staging: Staging, spec: StoreSpec, published: bool = False) -> None:
        super().__init__(staging, spec, published)
        self.prefix = layout.PREFIX

    @classmethod
    def begin(
        cls,
        url: str,
        spec: StoreSpec,
        *,
        resume: bool,
        overwrite: bool,
        storage_options: dict[str, Any] | None,
    ) -> WdsWriter:
        """See `writing.spec.open_writer`. The pattern's folder belongs to this store alone."""
        folder, prefix = layout.split_target(url)
        writer = super().begin(folder, spec, resume=resume, overwrite=overwrite, storage_options=storage_options)
        writer.prefix = prefix
        return writer

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "prefix": self.prefix}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.prefix = state["prefix"]

    @classmethod
    def settings_at(cls, target: Location) -> str | None:
        """See `StagedWriter.settings_at`."""
        if not target.exists(layout.MANIFEST):
            return None
        try:
            manifest = json.loads(target.read(layout.MANIFEST))
        except ValueError:
            return None
        settings = manifest.get("settings")
        return json.dumps(settings, sort_keys=True, ensure_ascii=False) if settings else ""

    def _write(self, index: int, samples: Sequence[Sample], columns: dict[str, Column]) -> dict[str, np.ndarray]:
        if not samples:
            return {"object_bytes": np.zeros(2, np.int64), "object_crc32c": np.zeros(2, np.int64)}
        data, table = layout.encode_tar(samples, self.spec.mode, self.spec.sha256, columns)
        encoded = layout.encode_index(table)
        tar = layout.tar_name(self.prefix, index)
        self.staging.store.write(tar, data)
        self.staging.store.write(layout.index_name(tar), encoded)
        return {
            "object_bytes": np.array([len(data), len(encoded)], np.int64),
            "object_crc32c": np.array([crc32c(data), crc32c(encoded)], np.int64),
        }

    def _objects(self, index: int, summary: ShardSummary, arrays: dict[str, np.ndarray]) -> list[tuple[str, int]]:
        tar = layout.tar_name(self.prefix, index)
        names = (tar, layout.index_name(tar)) if summary.count else ()
        return list(zip(names, arrays["object_bytes"].tolist(), strict=False))

    def _sizes(self) -> dict[str, int]:
        return self.staging.store.list()

    def _complete(
        self, summaries: list[ShardSummary], columns: dict[str, Column], arrays: dict[str, np.ndarray]
    ) -> None:
        self.staging.store.write(layout.ARTIFACT, self._artifact())

    def _manifest(self, attributes: dict[str, Any], summaries: list[ShardSummary]) -> bytes:
        shards = []
        for summary in summaries:
            if summary.count:
                size, _, tar_crc, index_crc = self._object_facts(summary.index)
                name = layout.tar_name(self.prefix, summary.index)
                facts = {"bytes": size, "crc32c": tar_crc, "index_crc32c": index_crc}
                shards.append({"name": name, "count": summary.count, **facts})
        fields = {name: {"kind": kind} for name, kind in attributes["fields"].items()}
        manifest = {**attributes, "fields": fields, "shards": shards}
        return (json.dumps(seal(manifest), ensure_ascii=False, indent=1) + "\n").encode()

    def _object_facts(self, index: int) -> list[int]:
        """Sizes of a shard's tar and index, then their checksums."""
        arrays = self.staging.read_summary(index)[2]
        return [*arrays["object_bytes"].tolist(), *arrays["object_crc32c"].tolist()]
