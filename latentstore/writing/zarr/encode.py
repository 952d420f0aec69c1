"""The bytes of a Zarr store's objects: shards, arrays of numbers and of strings, the root."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.loaders.zarr import layout

INSTALL = "the latent arrays need: pip install latentstore"
"""For people who open the store with Zarr alone; a key of the manifest."""


def encode_shard(samples: Sequence[Sequence[bytes]], rows: int, groups: int) -> list[bytes]:
    """The parts, in order, of a shard object that has room for `rows` samples.

    samples: ``samples[i][g]`` is the blob of group g of sample i.
    """
    entries = np.full((rows, groups, 2), layout.EMPTY, "<u8")
    if samples:
        lengths = np.array([[len(blob) for blob in blobs] for blobs in samples], np.uint64)
        ends = np.cumsum(lengths.T).reshape(groups, len(samples)).T
        entries[: len(samples), :, 0] = ends - lengths
        entries[: len(samples), :, 1] = lengths
    index = entries.tobytes()
    payload = [blobs[g] for g in range(groups) for blobs in samples]
    return [*payload, index, struct.pack("<I", crc32c(index))]


def numbers(values: np.ndarray, axes: Sequence[str]) -> tuple[bytes, dict[str, bytes]]:
    """(zarr.json, chunks by name) of an array of numbers."""
    rows, chunks = layout.chunk_rows(len(values), layout.NUMBER_ROWS), {}
    for i, first in enumerate(range(0, len(values), rows)):
        block = np.zeros((rows, *values.shape[1:]), values.dtype.newbyteorder("<"))
        part = values[first : first + rows]
        block[: len(part)] = part
        chunks[f"c/{i}" + "/0" * (values.ndim - 1)] = with_crc(block.tobytes())
    return layout.numbers_metadata(values.shape, values.dtype.name, axes), chunks


def text(data: np.ndarray, offsets: np.ndarray) -> tuple[bytes, dict[str, bytes]]:
    """(zarr.json, chunks by name) of an array of strings, from UTF-8 bytes and offsets (n+1,)."""
    count = len(offsets) - 1
    rows, chunks = layout.chunk_rows(count, layout.TEXT_ROWS), {}
    for i, first in enumerate(range(0, count, rows)):
        bounds = offsets[first : min(count, first + rows) + 1].tolist()
        parts = [struct.pack("<I", rows)]
        for a, b in pairwise(bounds):
            parts += (struct.pack("<I", b - a), data[a:b].tobytes())
        parts.append(bytes(4 * (rows - len(bounds) + 1)))  # the last chunk is full-size too: empty strings
        chunks[f"c/{i}"] = with_crc(b"".join(parts))
    return layout.text_metadata(count), chunks


def root_metadata(attributes: dict[str, Any]) -> bytes:
    """The root ``zarr.json``: what makes the store one."""
    return layout.json_bytes({"zarr_format": 3, "node_type": "group", "attributes": {"latentstore": attributes}})


def with_crc(data: bytes) -> bytes:
    """`data` and its CRC-32C; `loaders.zarr.layout.check_crc` takes it off again."""
    return data + struct.pack("<I", crc32c(data))
