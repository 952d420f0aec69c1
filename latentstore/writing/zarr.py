"""Writing a Zarr store, shard by shard. The layout is in `loaders.zarr.layout`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.columns import Column
from latentstore.loaders.manifest import seal
from latentstore.loaders.remote.location import Location
from latentstore.loaders.zarr import layout
from latentstore.writing.spec import Sample, ShardSummary
from latentstore.writing.staged import StagedWriter

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\- ]*")
_TAKEN = {layout.LATENT, "key", "artifact", "offset", "height", "width", "c"}


class ZarrWriter(StagedWriter):
    """Where sizes are the same, a task writes a shard of the store itself. Where they differ, the blobs of a
    group must lie end to end, so tasks write parts of the same shape beside the store and `finish` strings
    them together."""

    manifest = layout.ROOT

    @classmethod
    def settings_at(cls, target: Location) -> str | None:
        """See `StagedWriter.settings_at`."""
        if not target.exists(layout.ROOT):
            return None
        try:
            attributes = json.loads(target.read(layout.ROOT)).get("attributes", {})
        except ValueError:
            return None
        if "latentstore" not in attributes:
            return None
        settings = attributes["latentstore"].get("settings")
        return json.dumps(settings, sort_keys=True, ensure_ascii=False) if settings else ""

    # ---- shards

    def _write(self, index: int, samples: Sequence[Sample], columns: dict[str, Column]) -> dict[str, np.ndarray]:
        rows = self.spec.shard_samples if self.spec.size else len(samples)
        parts = layout.encode_shard([list(s.groups) for s in samples], rows, self.spec.groups)
        if self.spec.size:
            self.staging.store.write(layout.shard_name(index), parts)
        else:
            self.staging.partial.write(_part(index), parts)
        return {"object_bytes": np.array([sum(len(p) for p in parts)], np.int64)}

    def _objects(self, index: int, summary: ShardSummary, arrays: dict[str, np.ndarray]) -> list[tuple[str, int]]:
        return [(_part(index), int(arrays["object_bytes"][0]))]

    def _sizes(self) -> dict[str, int]:
        direct = self.staging.store.list(layout.LATENT) if self.spec.size else {}
        found = {_part(int(name.split("/")[2])): size for name, size in direct.items() if "/c/" in name}
        return {**found, **self.staging.partial.list("shards")}

    # ---- the whole

    def _complete(
        self, summaries: list[ShardSummary], columns: dict[str, Column], arrays: dict[str, np.ndarray]
    ) -> None:
        spec, store = self.spec, self.staging.store
        count = sum(s.count for s in summaries)
        if spec.plane is not None:
            self._close_gaps(summaries)
            shape = (count, spec.channels, *spec.plane)
            codec = layout.latent_codec(spec.codec, spec.sha256)
            store.write(
                f"{layout.LATENT}/zarr.json",
                layout.latent_metadata(shape, spec.shard_samples, spec.group_channels, codec),
            )
        else:
            self._string_together(summaries)
            self._write_array("height", arrays["height"].astype(np.int32), layout.SAMPLE)
            self._write_array("width", arrays["width"].astype(np.int32), layout.SAMPLE)
        artifact = np.frombuffer(self._artifact(), np.uint8)
        self._write_array("artifact", artifact, layout.byte_axis("artifact"))
        names = array_names(columns)
        for name, column in columns.items():
            array = names[name]
            if column.offsets is None:
                self._write_array(array, column.data, layout.SAMPLE)
            elif column.kind == "str":
                self._write_chunks(array, *layout.text(column.data, column.offsets))
            else:
                self._write_array(array, column.data, layout.byte_axis(array))
                self._write_array(f"{array}_offset", column.offsets, layout.EDGE)

    def _manifest(self, attributes: dict[str, Any], summaries: list[ShardSummary]) -> bytes:
        names = array_names(attributes["fields"])
        fields = {name: {"kind": kind, "array": names[name]} for name, kind in attributes["fields"].items()}
        return layout.root_metadata(seal({**attributes, "fields": fields, "install": layout.INSTALL}))

    def _write_array(self, name: str, values: np.ndarray, *axes: str) -> None:
        self._write_chunks(name, *layout.numbers(values, axes))

    def _write_chunks(self, name: str, metadata: bytes, chunks: dict[str, bytes]) -> None:
        for chunk, data in chunks.items():
            self.staging.store.write(f"{name}/{chunk}", data)
        self.staging.store.write(f"{name}/zarr.json", metadata)

    # ---- one size: gaps

    def _close_gaps(self, summaries: list[ShardSummary]) -> None:
        """Make every shard but the last full, if images that could not be read left gaps.

        From the first short shard on, shards are first moved out of the store, all of them, and then written
        anew from there: cut off anywhere, every sample is still in one place, and the next try does the rest.
        """
        rows, store, partial = self.spec.shard_samples, self.staging.store, self.staging.partial
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
                store.write(layout.shard_name(target), layout.encode_shard(pending, rows, self.spec.groups))
                target, pending = target + 1, []
        if pending:
            store.write(layout.shard_name(target), layout.encode_shard(pending, rows, self.spec.groups))
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
        """(bytes, start, length per sample and group) of a staged shard."""
        name = _part(summary.index)
        data = self.staging.partial.read(name)
        rows = self.spec.shard_samples if self.spec.size else summary.count
        size = layout.index_bytes(rows, self.spec.groups)
        where = self.staging.partial.at(name)
        start, length = layout.decode_index(data[-size:], rows, self.spec.groups, where)
        if int(length.sum()) + size != len(data):
            raise CorruptError(f"{where}: its index and its size do not agree")
        return data, start.tolist(), length.tolist()

    # ---- many sizes: blobs end to end

    def _string_together(self, summaries: list[ShardSummary]) -> None:
        groups, store = self.spec.groups, self.staging.store
        lengths = []
        for summary in summaries:
            size = layout.index_bytes(summary.count, groups)
            tail = self.staging.partial.read_ranges([(_part(summary.index), -size, None)])[0]
            where = self.staging.partial.at(_part(summary.index))
            lengths.append(layout.decode_index(tail, summary.count, groups, where)[1])
        offset = np.zeros((sum(s.count for s in summaries) + 1, groups), np.int64)
        np.cumsum(np.concatenate(lengths), axis=0, out=offset[1:])
        totals = offset[-1].tolist()
        chunk = [layout.flat_chunk_bytes(total) for total in totals]
        waiting = [bytearray() for _ in range(groups)]
        written = [0] * groups
        for i, summary in enumerate(summaries):
            data, _, _ = self._staged(summary)
            at = 0
            for g, size in enumerate(lengths[i].sum(axis=0).tolist()):
                waiting[g] += memoryview(data)[at : at + size]
                at += size
                last = i == len(summaries) - 1
                while len(waiting[g]) >= chunk[g] or (last and waiting[g]):
                    block = bytes(waiting[g][: chunk[g]]).ljust(chunk[g], b"\0")
                    store.write(f"{layout.blob_name(g)}/c/{written[g]}", block)
                    del waiting[g][: chunk[g]]
                    written[g] += 1
        for g, total in enumerate(totals):
            store.write(f"{layout.blob_name(g)}/zarr.json", layout.flat_metadata(layout.blob_name(g), total, chunk[g]))
        self._write_array("offset", offset, layout.EDGE, "group")


def array_names(fields: Any) -> dict[str, str]:
    """The array in which each field is kept: its own name where Zarr and the layout allow it."""
    names: dict[str, str] = {"key": "key"}
    for i, name in enumerate(sorted(set(fields) - {"key"})):
        taken = name in _TAKEN or name.startswith("blob_g") or name.endswith("_offset")
        names[name] = f"field_{i}" if taken or not _PLAIN_NAME.fullmatch(name) else name
    return names


def _part(index: int) -> str:
    return f"shards/{index:06d}"
