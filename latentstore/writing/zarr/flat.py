"""Samples of many sizes: the blobs of each group, end to end, in one flat array.

Tasks have written parts, each with the form of a shard: all blobs of the first group, then all of the second, and so
on, then an index. The flat array of a group is made chunk by chunk, and each chunk is read from the parts that hold its
bytes. So no more than one chunk of a flat array is in memory, however large the store is, and a run that was cut off
simply writes the chunks again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.zarr import layout

Range = tuple[str, int, int | None]


def join_parts(partial: Location, parts: Sequence[tuple[str, int]], groups: int, store: Location) -> np.ndarray:
    """Write the flat arrays ``blob_gK`` of a store; where the blobs lie in them, int64 (samples + 1, groups).

    parts: name in `partial`, and number of samples (1 or more), of each part. CorruptError if a part is damaged.
    """
    lengths = _lengths(partial, parts, groups)
    offset = np.zeros((sum(count for _, count in parts) + 1, groups), np.int64)
    np.cumsum(np.concatenate(lengths), axis=0, out=offset[1:])
    for group in range(groups):
        begins = [int(part[:, :group].sum()) for part in lengths]  # of the group's blobs, in each part
        sizes = [int(part[:, group].sum()) for part in lengths]
        _write_flat(partial, [name for name, _ in parts], begins, sizes, layout.blob_name(group), store)
    return offset


def _lengths(partial: Location, parts: Sequence[tuple[str, int]], groups: int) -> list[np.ndarray]:
    """Bytes of every blob, int64 (samples, groups) for each part, from the indexes of the parts."""
    there = partial.list("shards")
    sizes = [layout.index_bytes(count, groups) for _, count in parts]
    tails = partial.read_ranges([(name, -size, None) for (name, _), size in zip(parts, sizes, strict=True)])
    found = []
    for (name, count), size, tail in zip(parts, sizes, tails, strict=True):
        length = layout.decode_index(tail, count, groups, partial.at(name))[1]
        if there.get(name) != size + int(length.sum()):
            raise CorruptError(f"{partial.at(name)}: its index and its size do not agree")
        found.append(length)
    return found


def _write_flat(
    partial: Location, names: Sequence[str], begins: Sequence[int], sizes: Sequence[int], array: str, store: Location
) -> None:
    """One flat array: of each part in `names`, the bytes from begins[i] on, sizes[i] of them."""
    edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    total = int(edges[-1])
    chunk = layout.flat_chunk_bytes(total)
    for number, start in enumerate(range(0, total, chunk)):
        stop = min(start + chunk, total)
        ranges: list[Range] = []
        for i in range(int(np.searchsorted(edges, start, side="right")) - 1, len(names)):
            first, last = int(edges[i]), int(edges[i + 1])
            if first >= stop:
                break
            shift = begins[i] - first
            ranges.append((names[i], max(start, first) + shift, min(stop, last) + shift))
        padding = bytes(start + chunk - stop)  # the last chunk of a Zarr array is as long as the others
        store.write(f"{array}/c/{number}", [*partial.read_ranges(ranges), padding])
    store.write(f"{array}/zarr.json", layout.flat_metadata(array, total, chunk))
