"""The layout of a latentstore Zarr v3 store: names, metadata, shards. Known here and nowhere else.

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
from itertools import pairwise
from typing import Any

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import CorruptError

FORMAT_VERSION = 1
CODEC_NAME = "latentstore.latent"
CODEC_VERSION = 1
ROOT = "zarr.json"
LATENT = "latent"
INSTALL = "the latent arrays need: pip install latentstore"
SAMPLE, EDGE = "sample", "sample_edge"  # axes: one per sample; one per sample, and one more for the end
EMPTY = np.iinfo(np.uint64).max

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


def encode_shard(samples: list[list[bytes]], rows: int, groups: int) -> list[bytes]:
    """The parts, in order, of a shard object with room for `rows` samples; ``samples[i][g]`` are the
    blobs."""
    entries = np.full((rows, groups, 2), EMPTY, "<u8")
    if samples:
        lengths = np.array([[len(blob) for blob in blobs] for blobs in samples], np.uint64)
        ends = np.cumsum(lengths.T).reshape(groups, len(samples)).T
        entries[: len(samples), :, 0] = ends - lengths
        entries[: len(samples), :, 1] = lengths
    index = entries.tobytes()
    payload = [blobs[g] for g in range(groups) for blobs in samples]
    return [*payload, index, struct.pack("<I", crc32c(index))]


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
    return _json(
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
    """The serializer's metadata, as `codecs.arrays.zarr_codec.LatentCodec.to_dict` gives it."""
    return {
        "name": CODEC_NAME,
        "configuration": {"version": CODEC_VERSION, "artifact": {"name": name, "sha256": sha256}},
    }


def numbers_metadata(shape: tuple[int, ...], dtype: str, axes: Sequence[str]) -> bytes:
    """zarr.json of an array of numbers, chunked along its first axis, with a CRC-32C per chunk.

    axes: a name for each axis; xarray opens only groups whose arrays all have them.
    """
    codecs = [_little() if np.dtype(dtype).itemsize > 1 else {"name": "bytes"}, *_CRC]
    fill = 0.0 if np.dtype(dtype).kind == "f" else 0
    return _array(shape, (_rows(shape[0], NUMBER_ROWS), *shape[1:]), dtype, fill, codecs, axes)


def numbers(values: np.ndarray, axes: Sequence[str]) -> tuple[bytes, dict[str, bytes]]:
    """(zarr.json, chunks by name) of an array of numbers."""
    rows, chunks = _rows(len(values), NUMBER_ROWS), {}
    for i, first in enumerate(range(0, len(values), rows)):
        block = np.zeros((rows, *values.shape[1:]), values.dtype.newbyteorder("<"))
        part = values[first : first + rows]
        block[: len(part)] = part
        chunks[f"c/{i}" + "/0" * (values.ndim - 1)] = _checked(block.tobytes())
    return numbers_metadata(values.shape, values.dtype.name, axes), chunks


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
    return _array((count,), (_rows(count, TEXT_ROWS),), "string", "", [{"name": "vlen-utf8"}, *_CRC], [SAMPLE])


def text(data: np.ndarray, offsets: np.ndarray) -> tuple[bytes, dict[str, bytes]]:
    """(zarr.json, chunks by name) of an array of strings, from UTF-8 bytes and offsets (n+1,)."""
    count = len(offsets) - 1
    rows, chunks = _rows(count, TEXT_ROWS), {}
    for i, first in enumerate(range(0, count, rows)):
        bounds = offsets[first : min(count, first + rows) + 1].tolist()
        parts = [struct.pack("<I", rows)]
        for a, b in pairwise(bounds):
            parts += (struct.pack("<I", b - a), data[a:b].tobytes())
        parts.append(bytes(4 * (rows - len(bounds) + 1)))  # the last chunk is full-size too: empty strings
        chunks[f"c/{i}"] = _checked(b"".join(parts))
    return text_metadata(count), chunks


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


def _rows(count: int, most: int) -> int:
    return max(1, min(count, most))


def _checked(data: bytes) -> bytes:
    return data + struct.pack("<I", crc32c(data))


def check_crc(data: bytes, where: str) -> bytes:
    """`data` without the CRC-32C at its end; CorruptError naming `where` if it does not hold."""
    if len(data) < 4 or crc32c(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise CorruptError(f"{where}: damaged or cut short (its checksum does not hold)")
    return data[:-4]


def root_metadata(attributes: dict[str, Any]) -> bytes:
    """The root ``zarr.json``: what makes the store one."""
    return _json({"zarr_format": 3, "node_type": "group", "attributes": {"latentstore": attributes}})


def _little() -> dict[str, Any]:
    return {"name": "bytes", "configuration": {"endian": "little"}}


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
