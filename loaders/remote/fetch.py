"""From sample numbers to bytes: of mapped files, of blocks in memory, or of merged ranges of objects.

No Python code runs for each sample, except where a blob lies across two objects; an object has at most one such blob.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import StoreError
from latentstore.loaders.reader import BlockReader
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.maps import Maps
from latentstore.loaders.remote.ranges import MERGE_GAP_BYTES, Range, merge_blobs

# Of local files that cannot be mapped: copying so many bytes takes about as long as another read.
LOCAL_GAP_BYTES = 32 << 10


class Fetcher:
    """Reads the first `groups` group blobs of the samples of one store. Thread-safe; it can be pickled."""

    def __init__(self, reader: BlockReader, groups: int) -> None:
        self.reader = reader
        self.groups = groups
        self._maps = Maps(reader.location)
        self._loaded: dict[int, list[np.ndarray]] = {}
        self._lock = threading.Lock()

    def fetch(self, indices: np.ndarray, picked: Sequence[int] | None = None) -> Blobs:
        """The blobs of samples `indices`, int64 (n,). StoreError if they cannot be read, or an object is cut short.

        picked: of the groups those that are fetched, where they are fields of tensors; None for all.
        """
        start, length = self.reader.locate(indices, self.groups)
        if picked is not None:
            start, length = start[:, picked], length[:, picked]
        loaded = self._loaded  # `load` and `drop` put another dict in its place
        if loaded:
            blocks = self.reader.blocks(indices)
            needed = np.unique(blocks).tolist()
            there = [b for b in needed if b in loaded]
            if len(there) == len(needed):
                return self._from_loaded(blocks, needed, loaded, start, length, picked)
            if there:
                held = np.isin(blocks, there)
                first = self._from_loaded(blocks[held], there, loaded, start[held], length[held], picked)
                rest = self._elsewhere(indices[~held], start[~held], length[~held])
                return _joined(np.repeat(held, start.shape[1]), first, rest)
        return self._elsewhere(indices, start, length)

    def _elsewhere(self, indices: np.ndarray, start: np.ndarray, length: np.ndarray) -> Blobs:
        """Blobs of samples whose blocks are not in memory."""
        obj, offset, whole = (a.reshape(-1) for a in self.reader.objects(indices, start, length))
        length = length.reshape(-1)
        place = self._mapped if self.reader.location.local is not None else self._ranged
        if whole.all():
            return place(obj, offset, length)
        got = place(obj[whole], offset[whole], length[whole])
        return self._with_split(got, obj, offset, length, whole)

    # ---- blocks in memory

    def block_bytes(self, blocks: list[int]) -> list[int]:
        """What `load` reads of each of these blocks. Their indexes are read, all at once."""
        self.reader.locate(self.reader.starts[blocks], self.groups)
        ranges = [self.reader.block_ranges(block, self.groups) for block in blocks]
        return [sum(end - begin for pieces in some for _, begin, end in pieces) for some in ranges]

    def load(self, blocks: list[int]) -> None:
        """Read the first groups of whole blocks, each shard in one range, and keep them until `drop`."""
        wanted = [b for b in blocks if b not in self._loaded]
        self.reader.locate(self.reader.starts[wanted], self.groups)  # so that indexes are read together
        ranges, shape = [], []
        for block in wanted:
            for pieces in self.reader.block_ranges(block, self.groups):
                shape.append((block, len(pieces)))
                ranges += pieces
        data = iter(self.reader.location.read_parts(ranges))
        fresh: dict[int, list[np.ndarray]] = {b: [] for b in wanted}
        for block, count in shape:
            parts = [next(data) for _ in range(count)]
            fresh[block].append(np.frombuffer(parts[0] if count == 1 else b"".join(parts), np.uint8))
        with self._lock:
            self._loaded = {**self._loaded, **fresh}

    @property
    def holds_blocks(self) -> bool:
        """Whether blocks are in memory, which `load` has read."""
        return bool(self._loaded)

    def drop(self, blocks: list[int]) -> None:
        """Forget blocks that `load` read."""
        with self._lock:
            self._loaded = {b: v for b, v in self._loaded.items() if b not in set(blocks)}

    def _from_loaded(
        self, blocks: np.ndarray, needed: list[int], loaded: dict[int, list[np.ndarray]],
        start: np.ndarray, length: np.ndarray, picked: Sequence[int] | None,
    ) -> Blobs:  # fmt: skip
        buffers: list[np.ndarray] = []
        source = np.empty((len(needed), self.groups), np.int32)
        base = np.empty((len(needed), self.groups), np.int64)
        for row, block in enumerate(needed):
            for g, (which, begins) in enumerate(self.reader.block_bases(block, self.groups)):
                source[row, g] = len(buffers) + which
                base[row, g] = begins
            buffers += loaded[block]
        if picked is not None:
            source, base = source[:, picked], base[:, picked]
        rows = np.searchsorted(np.array(needed), blocks)
        got = Blobs(buffers, source[rows].reshape(-1), (start - base[rows]).reshape(-1), length.reshape(-1))
        sizes = np.array([b.size for b in buffers])
        if ((got.start < 0) | (got.start + got.length > sizes[got.source])).any():
            raise StoreError(
                f"{self.reader.location.url}: an index points outside of its shard: the store is damaged; copy or "
                "convert it again"
            )
        return got

    # ---- local files

    def _mapped(self, obj: np.ndarray, offset: np.ndarray, length: np.ndarray) -> Blobs:
        numbers, source = np.unique(obj, return_inverse=True)
        found = self._maps.found
        buffers = [found.get(n) for n in numbers.tolist()]
        if any(buffer is None for buffer in buffers):
            for at, number in enumerate(numbers.tolist()):
                if buffers[at] is None:
                    buffers[at] = self._maps.map(number, self.reader.object_name(number))
        mapped = [buffer for buffer in buffers if buffer is not None]
        if len(mapped) < len(buffers):
            return self._partly_mapped(buffers, source, obj, offset, length)
        self._check_inside(mapped, source, obj, offset, length)
        return Blobs(mapped, source.astype(np.int32), offset, length)

    def _partly_mapped(
        self, buffers: list[np.ndarray | None], source: np.ndarray,
        obj: np.ndarray, offset: np.ndarray, length: np.ndarray,
    ) -> Blobs:  # fmt: skip
        """More files than there may be maps: blobs of the others are read."""
        mapped = [buffer for buffer in buffers if buffer is not None]
        there = np.array([buffer is not None for buffer in buffers])
        here = there[source]
        place = (np.cumsum(there) - 1)[source]
        self._check_inside(mapped, place[here], obj[here], offset[here], length[here])
        rest = self._ranged(obj[~here], offset[~here], length[~here], LOCAL_GAP_BYTES)
        place[~here] = rest.source + len(mapped)
        start = offset.copy()
        start[~here] = rest.start
        return Blobs([*mapped, *rest.buffers], place.astype(np.int32), start, length)

    def _check_inside(
        self, buffers: list[np.ndarray], source: np.ndarray, obj: np.ndarray, offset: np.ndarray, length: np.ndarray
    ) -> None:
        sizes = np.array([b.size for b in buffers], np.int64)
        beyond = offset + length > sizes[source]
        if beyond.any():
            at = int(np.flatnonzero(beyond)[0])
            name = self.reader.object_name(int(obj[at]))
            raise StoreError(
                f"{self.reader.location.at(name)} is cut short: it has {sizes[source[at]]} bytes, "
                f"and bytes {offset[at]} to {offset[at] + length[at]} are asked for"
            )

    # ---- remote objects

    def _ranged(self, obj: np.ndarray, offset: np.ndarray, length: np.ndarray, gap: int = MERGE_GAP_BYTES) -> Blobs:
        objects, begin, end, source, start = merge_blobs(obj, offset, length, gap)
        names = [self.reader.object_name(n) for n in objects.tolist()]
        ranges: list[Range] = list(zip(names, begin.tolist(), end.tolist(), strict=True))
        buffers = [np.frombuffer(d, np.uint8) for d in self.reader.location.read_ranges(ranges)]
        return Blobs(buffers, source, start, length)

    # ---- blobs across two objects

    def _with_split(
        self, got: Blobs, obj: np.ndarray, offset: np.ndarray, length: np.ndarray, whole: np.ndarray
    ) -> Blobs:
        location: Location = self.reader.location
        buffers = list(got.buffers)
        source, start = np.empty(len(obj), np.int32), np.zeros(len(obj), np.int64)
        source[whole], start[whole] = got.source, got.start
        for at in np.flatnonzero(~whole).tolist():
            pieces, left = [], int(length[at])
            number, begin = int(obj[at]), int(offset[at])
            while left > 0:
                name = self.reader.object_name(number)
                take = min(left, location.size(name) - begin)
                if take <= 0:
                    raise StoreError(
                        f"{location.at(name)} is cut short: a blob should go on at byte {begin}, where the file ends"
                    )
                pieces += location.read_ranges([(name, begin, begin + take)])
                left, number, begin = left - take, number + 1, 0
            source[at] = len(buffers)
            buffers.append(np.frombuffer(b"".join(pieces), np.uint8))
        return Blobs(buffers, source, start, length)

    def __getstate__(self) -> dict[str, Any]:
        return {"reader": self.reader, "groups": self.groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["reader"], state["groups"])  # type: ignore[misc]


class FetchedPart:
    """What a `Fetcher` fetches, of some of its groups: for what reads a part of a sample. Blocks that the whole has in
    memory are used.

    groups: the positions of these groups.
    """

    def __init__(self, whole: Fetcher, groups: Sequence[int]) -> None:
        self._whole, self._groups = whole, groups

    def fetch(self, indices: np.ndarray) -> Blobs:
        """See `Fetcher.fetch`."""
        return self._whole.fetch(indices, self._groups)


def _joined(held: np.ndarray, first: Blobs, rest: Blobs) -> Blobs:
    """The blobs of `first` where `held`, bool (n,), is True, and those of `rest` where it is not."""
    source, start, length = np.empty(len(held), np.int32), np.empty(len(held), np.int64), np.empty(len(held), np.int64)
    source[held], start[held], length[held] = first.source, first.start, first.length
    source[~held] = rest.source + len(first.buffers)
    start[~held], length[~held] = rest.start, rest.length
    return Blobs([*first.buffers, *rest.buffers], source, start, length)
