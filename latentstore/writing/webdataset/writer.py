"""Writing a WebDataset, tar by tar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import CorruptError
from latentstore.loaders.columns import Column
from latentstore.loaders.manifest import ARTIFACT, read_json, seal
from latentstore.loaders.remote.location import Location
from latentstore.loaders.webdataset import layout
from latentstore.writing.sharded import Arrays
from latentstore.writing.spec import Sample, ShardSummary, StoreSpec
from latentstore.writing.staged import StagedWriter
from latentstore.writing.staging import Staging
from latentstore.writing.webdataset import encode


class WdsWriter(StagedWriter):
    """A task writes one tar and its index. A shard without samples has no tar. The manifest lists the tars."""

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
        """See `writing.open.open_writer`. The folder of the target belongs to this store alone."""
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
    def manifest_at(cls, target: Location) -> dict[str, Any] | None:
        """See `StagedWriter.manifest_at`."""
        if not target.exists(layout.MANIFEST):
            return None
        try:
            return read_json(target, layout.MANIFEST)
        except CorruptError:
            return None

    def _write(self, index: int, samples: Sequence[Sample], columns: dict[str, Column]) -> Arrays:
        if not samples:
            return {"object_bytes": np.zeros((1, 2), np.int64), "object_crc32c": np.zeros((1, 2), np.int64)}
        data, table = encode.encode_tar(samples, self.codec, columns)
        encoded = encode.encode_index(table)
        tar = layout.tar_name(self.prefix, index)
        self.staging.store.write(tar, data)
        self.staging.store.write(layout.index_name(tar), encoded)
        return {
            "object_bytes": np.array([[len(data), len(encoded)]], np.int64),
            "object_crc32c": np.array([[crc32c(data), crc32c(encoded)]], np.int64),
        }

    def _objects(self, index: int, summary: ShardSummary, arrays: Arrays) -> list[tuple[str, int]]:
        if not summary.count:
            return []
        tar = layout.tar_name(self.prefix, index)
        return list(zip((tar, layout.index_name(tar)), arrays["object_bytes"][0].tolist(), strict=True))

    def _sizes(self) -> dict[str, int]:
        return self.staging.store.list()

    def _complete(self, summaries: list[ShardSummary], columns: dict[str, Column], arrays: Arrays) -> None:
        self.staging.store.write(ARTIFACT, self.artifact())

    def _manifest(
        self, about: dict[str, Any], kinds: dict[str, str], summaries: list[ShardSummary], arrays: Arrays
    ) -> bytes:
        sizes, checksums = arrays["object_bytes"].tolist(), arrays["object_crc32c"].tolist()
        shards = [
            {
                "name": layout.tar_name(self.prefix, summary.index),
                "count": summary.count,
                "bytes": size,
                "crc32c": tar_crc32c,
                "index_crc32c": index_crc32c,
            }
            for summary, (size, _), (tar_crc32c, index_crc32c) in zip(summaries, sizes, checksums, strict=True)
        ]
        fields = {name: {"kind": kind} for name, kind in kinds.items()}
        manifest = seal({**about, "fields": fields, "shards": shards})
        return (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode()
