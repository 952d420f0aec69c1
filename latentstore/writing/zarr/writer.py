"""Writing a Zarr store, shard by shard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.columns import Column
from latentstore.loaders.manifest import read_json, seal
from latentstore.loaders.remote.location import Location
from latentstore.loaders.zarr import layout
from latentstore.writing.sharded import Arrays
from latentstore.writing.spec import Sample, ShardSummary
from latentstore.writing.staged import StagedWriter
from latentstore.writing.zarr import encode, flat

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\- ]*")
_TAKEN = {layout.LATENT, "key", "artifact", "offset", "height", "width", "c"}


class ZarrWriter(StagedWriter):
    """Where all sizes are the same, a task writes a shard of the store itself.

    Where sizes differ, the blobs of a group must lie end to end in the store. There, tasks write parts beside the
    store, which have the form of a shard, and `finish` joins them (`writing.zarr.flat`).
    """

    manifest = layout.ROOT

    @classmethod
    def manifest_at(cls, target: Location) -> dict[str, Any] | None:
        """See `StagedWriter.manifest_at`."""
        if not target.exists(layout.ROOT):
            return None
        try:
            found = read_json(target, layout.ROOT).get("attributes", {}).get("latentstore")
        except CorruptError:
            return None
        return found if isinstance(found, dict) else None

    # ---- shards

    def _write(self, index: int, samples: Sequence[Sample], columns: dict[str, Column]) -> Arrays:
        rows = self.spec.shard_samples if self.spec.size else len(samples)
        parts = encode.encode_shard([s.groups for s in samples], rows, self.codec.groups)
        if self.spec.size:
            self.staging.store.write(layout.shard_name(index), parts)
        else:
            self.staging.partial.write(_part(index), parts)
        return {"object_bytes": np.array([sum(len(p) for p in parts)], np.int64)}

    def _objects(self, index: int, summary: ShardSummary, arrays: Arrays) -> list[tuple[str, int]]:
        return [(_part(index), int(arrays["object_bytes"][0]))]

    def _sizes(self) -> dict[str, int]:
        direct = self.staging.store.list(layout.LATENT) if self.spec.size else {}
        found = {_part(int(name.split("/")[2])): size for name, size in direct.items() if "/c/" in name}
        return {**found, **self.staging.partial.list("shards")}

    # ---- the whole

    def _complete(self, summaries: list[ShardSummary], columns: dict[str, Column], arrays: Arrays) -> None:
        if self.spec.size is not None:
            self._latent(summaries, self.spec.size)
        else:
            parts = [(_part(s.index), s.count) for s in summaries if s.count]
            offset = flat.join_parts(self.staging.partial, parts, self.codec.groups, self.staging.store)
            self._write_array("offset", offset, layout.EDGE, "group")
            self._write_array("height", arrays["height"].astype(np.int32), layout.SAMPLE)
            self._write_array("width", arrays["width"].astype(np.int32), layout.SAMPLE)
        self._write_array("artifact", np.frombuffer(self.artifact(), np.uint8), layout.byte_axis("artifact"))
        names = array_names(columns)
        for name, column in columns.items():
            array = names[name]
            if column.offsets is None:
                self._write_array(array, column.data, layout.SAMPLE)
            elif column.kind == "str":
                self._write_chunks(array, *encode.text(column.data, column.offsets))
            else:
                self._write_array(array, column.data, layout.byte_axis(array))
                self._write_array(f"{array}_offset", column.offsets, layout.EDGE)

    def _latent(self, summaries: list[ShardSummary], size: tuple[int, int]) -> None:
        self._close_gaps(summaries)
        codec, rows = self.codec, self.spec.shard_samples
        shape = (sum(s.count for s in summaries), *codec.latent_shape(*size))
        serializer = layout.latent_codec(self.spec.codec, self.spec.sha256)
        metadata = layout.latent_metadata(shape, rows, codec.group_channels, serializer)
        self.staging.store.write(f"{layout.LATENT}/zarr.json", metadata)

    def _manifest(
        self, about: dict[str, Any], kinds: dict[str, str], summaries: list[ShardSummary], arrays: Arrays
    ) -> bytes:
        names = array_names(kinds)
        fields = {name: {"kind": kind, "array": names[name]} for name, kind in kinds.items()}
        return encode.root_metadata(seal({**about, "fields": fields, "install": encode.INSTALL}))

    def _write_array(self, name: str, values: np.ndarray, *axes: str) -> None:
        self._write_chunks(name, *encode.numbers(values, axes))

    def _write_chunks(self, name: str, metadata: bytes, chunks: dict[str, bytes]) -> None:
        for chunk, data in chunks.items():
            self.staging.store.write(f"{name}/{chunk}", data)
        self.staging.store.write(f"{name}/zarr.json", metadata)

    # ---- one size: gaps

    def _close_gaps(self, summaries: list[ShardSummary]) -> None:
        """Make every shard but the last full, where entries that could not be read have left gaps.

        From the first short shard on, all shards are first moved out of the store, and then written again from there.
        If this is cut off anywhere, every sample is still in one place, and the next try does the rest.
        """
        rows, groups = self.spec.shard_samples, self.codec.groups
        store, partial = self.staging.store, self.staging.partial
        counts = [s.count for s in summaries]
        short = next((i for i, n in enumerate(counts) if n < rows), len(counts))
        if short >= len(counts) - 1 and counts[-1]:
            return
        moved = partial.list("shards")
        for i in range(short, len(counts)):
            if _part(i) not in moved:
                store.move(layout.shard_name(i), partial, _part(i))
        target, pending = short, []
        for blobs in self._samples(summaries[short:]):
            pending.append(blobs)
            if len(pending) == rows:
                store.write(layout.shard_name(target), encode.encode_shard(pending, rows, groups))
                target, pending = target + 1, []
        if pending:
            store.write(layout.shard_name(target), encode.encode_shard(pending, rows, groups))
            target += 1
        for i in range(target, len(counts)):
            store.remove(layout.shard_folder(i))  # locally, the empty folders of shards that were moved

    def _samples(self, summaries: list[ShardSummary]) -> Iterator[list[bytes]]:
        """The group blobs of every sample of staged shards, in order."""
        for summary in summaries:
            data, start, length = self._staged(summary)
            for row in range(summary.count):
                yield [data[a : a + n] for a, n in zip(start[row], length[row], strict=True)]

    def _staged(self, summary: ShardSummary) -> tuple[bytes, list[list[int]], list[list[int]]]:
        """(bytes, start, length per sample and group) of a shard that was moved out of the store."""
        name, rows, groups = _part(summary.index), self.spec.shard_samples, self.codec.groups
        data, where = self.staging.partial.read(name), self.staging.partial.at(name)
        size = layout.index_bytes(rows, groups)
        start, length = layout.decode_index(data[-size:], rows, groups, where)
        if int(length.sum()) + size != len(data):
            raise CorruptError(f"{where}: its index and its size do not agree")
        return data, start.tolist(), length.tolist()


def array_names(fields: Iterable[str]) -> dict[str, str]:
    """The array in which each field is kept: it has the field's name where Zarr and the layout allow that."""
    names: dict[str, str] = {"key": "key"}
    for i, name in enumerate(sorted(set(fields) - {"key"})):
        taken = name in _TAKEN or name.startswith("blob_g") or name.endswith("_offset")
        names[name] = f"field_{i}" if taken or not _PLAIN_NAME.fullmatch(name) else name
    return names


def _part(index: int) -> str:
    return f"shards/{index:06d}"
