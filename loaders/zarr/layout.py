"""The layout of a latentstore Zarr v3 store: names, metadata, and how shards are read.

What only writing needs is in `latentstore.writing.zarr.encode`.

    TARGET/zarr.json                    root group; attribute "latentstore" describes the store; written last
    TARGET/latent/c/I/0/0/0             one size: int8 (N, c, h, w), one shard for S samples
    TARGET/blob_gK/c/I, offset, height, width        many sizes: the blobs of group K end to end
    TARGET/key, label, ...              ordinary arrays, one value per sample
    TARGET/artifact/c/0                 uint8 (bytes,): the codec's artifact

A shard of ``latent`` is a Zarr ``sharding_indexed`` object whose inner chunks, one group of one sample each,
are written group-major: every sample's first group, then every sample's second, ... Zarr fixes no order in a
shard, and this one makes the first k groups of all samples one contiguous range. Its index stands at the end:
for every inner chunk, in C order, offset and nbytes as little-endian uint64 (all ones: no chunk), then their
CRC-32C.

In a store of many sizes, group K of sample i is ``blob_gK[offset[i, K]:offset[i + 1, K]]``.

The metadata is written by hand: it is a dozen lines that the Zarr v3 specification fixes, writers and loaders
need no zarr, and the order of writing (root last) stays ours. It is not consolidated: consolidated metadata
is not part of the v3 specification, and where the codec plugin is missing it would keep the whole group from
opening.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from latentstore.codecs.arrays import options
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import CorruptError

ROOT = "zarr.json"
LATENT = "latent"
SAMPLE, EDGE = "sample", "sample_edge"  # axes: one entry per sample; one per sample, and one more for the end
EMPTY = np.iinfo(np.uint64).max  # offset and size, in the index of a shard, of a chunk that is not there

# Rows per chunk of ordinary arrays: whole columns of small stores, and no chunk above some megabytes.
NUMBER_ROWS = 1 << 20
TEXT_ROWS = 1 << 16
FLAT_BYTES = 32 << 20

_CRC: list[dict[str, Any]] = [{"name": "crc32c"}]


def shard_name(index: int) -> str:
    """The object that holds shard `index` of ``latent``."""
    return f"{shard_folder(index)}/0/0/0"


def shard_folder(index: int) -> str:
    """The folder that holds shard `index` of ``latent``, and nothing else."""
    return f"{LATENT}/c/{index}"


def blob_name(group: int) -> str:
    return f"blob_g{group}"


def byte_axis(name: str) -> str:
    """The axis of an array of bytes."""
    return f"{name}_byte"


def index_bytes(rows: int, groups: int) -> int:
    """Size of the index at the end of a shard."""
    return rows * groups * 16 + 4


def decode_index(data: bytes, rows: int, groups: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """(start, length), int64 (rows, groups) each, from the last `index_bytes` of a shard; length 0: no chunk.

    CorruptError naming `where` if the checksum does not hold.
    """
    size = index_bytes(rows, groups)
    if len(data) != size or crc32c(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise CorruptError(f"{where}: the index at its end is damaged, or the file is cut short")
    entries = np.frombuffer(data, "<u8", rows * groups * 2).reshape(rows, groups, 2)
    there = entries[..., 0] != EMPTY
    if (entries[there] >= 1 << 62).any():
        raise CorruptError(f"{where}: its index holds impossible offsets")
    return (
        np.where(there, entries[..., 0], 0).astype(np.int64),
        np.where(there, entries[..., 1], 0).astype(np.int64),
    )


# ---- metadata


def _array(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: str,
    fill: Any,
    codecs: list[dict[str, Any]],
    axes: Sequence[str],
) -> bytes:
    grid = {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}
    return json_bytes(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(shape),
            "data_type": dtype,
            "chunk_grid": grid,
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": fill,
            "codecs": codecs,
            "attributes": {},
            "storage_transformers": [],
            "dimension_names": list(axes),
        }
    )


def latent_metadata(
    shape: tuple[int, int, int, int], shard_rows: int, group_channels: int, codec: dict[str, Any]
) -> bytes:
    """``latent/zarr.json`` for an int8 array of `shape` (N, c, h, w); `codec` is the serializer's
    metadata."""
    _, c, h, w = shape
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [1, group_channels, h, w],
            "codecs": [codec],
            "index_codecs": [_little(), *_CRC],
            "index_location": "end",
        },
    }
    return _array(shape, (shard_rows, c, h, w), "int8", 0, [sharding], [SAMPLE, "channel", "y", "x"])


def latent_codec(name: str, sha256: str) -> dict[str, Any]:
    """The serializer's metadata for an artifact: what `codecs.arrays.zarr_codec.LatentCodec.to_dict` gives."""
    return {"name": options.LATENT, "configuration": options.LatentOptions(name, sha256).to_json()}


def numbers_metadata(shape: tuple[int, ...], dtype: str, axes: Sequence[str]) -> bytes:
    """zarr.json of an array of numbers, chunked along its first axis, with a CRC-32C per chunk.

    axes: a name for each axis; xarray opens only groups whose arrays all have them.
    """
    codecs = [_little() if np.dtype(dtype).itemsize > 1 else {"name": "bytes"}, *_CRC]
    fill = 0.0 if np.dtype(dtype).kind == "f" else 0
    return _array(shape, (chunk_rows(shape[0], NUMBER_ROWS), *shape[1:]), dtype, fill, codecs, axes)


def flat_metadata(name: str, size: int, chunk: int) -> bytes:
    """zarr.json of a uint8 array of `size` bytes in plain chunks of `chunk` bytes (blobs have their own
    CRC)."""
    return _array((size,), (chunk,), "uint8", 0, [{"name": "bytes"}], [byte_axis(name)])


def flat_chunk_bytes(size: int) -> int:
    """Chunk size for a flat array: near `FLAT_BYTES`, and so that the last chunk is full but for a few
    bytes."""
    pieces = max(1, -(-size // FLAT_BYTES))
    return max(1, -(-size // pieces))


def text_metadata(count: int) -> bytes:
    """zarr.json of an array of `count` strings, codec vlen-utf8, with a CRC-32C per chunk."""
    return _array((count,), (chunk_rows(count, TEXT_ROWS),), "string", "", [{"name": "vlen-utf8"}, *_CRC], [SAMPLE])


def decode_text(block: bytes, where: str) -> list[str]:
    """The strings of one chunk that `text` wrote, its CRC-32C already checked and removed."""
    try:
        (count,) = struct.unpack_from("<I", block, 0)
        values, at = [], 4
        for _ in range(count):
            (size,) = struct.unpack_from("<I", block, at)
            if at + 4 + size > len(block):
                raise ValueError(f"a string of {size} bytes runs over the end")
            values.append(block[at + 4 : at + 4 + size].decode())
            at += 4 + size
        return values
    except (struct.error, ValueError) as error:
        raise CorruptError(f"{where}: not a chunk of strings ({error})") from error


def chunk_rows(count: int, most: int) -> int:
    """Rows of a chunk of an ordinary array of `count` rows; most: `NUMBER_ROWS` or `TEXT_ROWS`."""
    return max(1, min(count, most))


def check_crc(data: bytes, where: str) -> bytes:
    """`data` without the CRC-32C at its end; CorruptError naming `where` if it does not hold."""
    if len(data) < 4 or crc32c(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise CorruptError(f"{where}: damaged or cut short (its checksum does not hold)")
    return data[:-4]


def _little() -> dict[str, Any]:
    return {"name": "bytes", "configuration": {"endian": "little"}}


def json_bytes(value: dict[str, Any]) -> bytes:
    """A JSON file as all stores have it: the same object gives the same bytes."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
