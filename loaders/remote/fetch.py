"""From sample numbers to bytes: mapped files, blocks held in memory, or merged ranges of remote objects.

Nothing here runs per sample in Python but where a blob lies across two objects (at most one blob per object).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.errors import StoreError
from latentstore.loaders.reader import Reader
from latentstore.loaders.remote.location import MERGE_GAP_BYTES, Location


@dataclass(frozen=True)
class Fetched:
    """Group blobs, as `Codec.read_groups` wants them: blob i is ``buffers[source[i]][start[i]:start[i] +
    length[i]]``.

    buffers: uint8 arrays. source int32, start and length int64, each (n * groups,): sample-major, groups in
    order.
    """

    buffers: list[np.ndarray]
    source: np.ndarray
    start: np.ndarray
    length: np.ndarray


class Fetcher:
    """Bytes of the samples of one store, for its first `groups` groups. Thread-safe."""

    def __init__(self, reader: Reader, groups: int) -> None:
        self.reader = reader
        self.groups = groups
        self._maps: dict[int, np.ndarray] = {}
        self._held: dict[int, list[np.ndarray]] = {}
        self._lock = threading.Lock()

    def fetch(self, indices: np.ndarray) -> Fetched:
        """The blobs of samples `indices`, int64 (n,)."""
        start, length = self.reader.locate(indices, self.groups)
        if self._held:
            blocks = self.reader.blocks(indices)
            needed = np.unique(blocks).tolist()
            held = self._held
            if all(b in held for b in needed):
                return self._from_held(blocks, needed, held, start, length)
        obj, offset, whole = (a.reshape(-1) for a in self.reader.objects(indices, start, length))
        length = length.reshape(-1)
        place = self._mapped if self.reader.location.local is not None else self._ranged
        if whole.all():
            return place(obj, offset, length)
        got = place(obj[whole], offset[whole], length[whole])
        return self._with_split(got, obj, offset, length, whole)

    # ---- blocks held in memory

    def hold(self, blocks: list[int]) -> None:
        """Read whole blocks (their first groups) and keep them until `drop`: one range a shard, all at
        once."""
        wanted = [b for b in blocks if b not in self._held]
        ranges, shape = [], []
        for block in wanted:
            for pieces in self.reader.block_ranges(block, self.groups):
                shape.append((block, len(pieces)))
                ranges += pieces
        data = iter(self.reader.location.read_ranges(ranges))
        fresh: dict[int, list[np.ndarray]] = {b: [] for b in wanted}
        for block, count in shape:
            parts = [next(data) for _ in range(count)]
            fresh[block].append(np.frombuffer(parts[0] if count == 1 else b"".join(parts), np.uint8))
        with self._lock:
            self._held = {**self._held, **fresh}

    def drop(self, blocks: list[int]) -> None:
        """Let go of blocks that `hold` read."""
        with self._lock:
            self._held = {b: v for b, v in self._held.items() if b not in set(blocks)}

    def _from_held(
        self, blocks: np.ndarray, needed: list[int], held: dict[int, list[np.ndarray]],
        start: np.ndarray, length: np.ndarray,
    ) -> Fetched:  # fmt: skip
        buffers: list[np.ndarray] = []
        source = np.empty((len(needed), self.groups), np.int32)
        base = np.empty((len(needed), self.groups), np.int64)
        for row, block in enumerate(needed):
            for g, (which, begins) in enumerate(self.reader.block_bases(block, self.groups)):
                source[row, g] = len(buffers) + which
                base[row, g] = begins
            buffers += held[block]
        rows = np.searchsorted(np.array(needed), blocks)
        got = Fetched(buffers, source[rows].reshape(-1), (start - base[rows]).reshape(-1), length.reshape(-1))
        sizes = np.array([b.size for b in buffers])
        if ((got.start < 0) | (got.start + got.length > sizes[got.source])).any():
            raise StoreError(f"{self.reader.location.url}: a shard's index points outside of it")
        return got

    # ---- local files

    def _mapped(self, obj: np.ndarray, offset: np.ndarray, length: np.ndarray) -> Fetched:
        numbers, source = np.unique(obj, return_inverse=True)
        buffers = [self._map(n) for n in numbers.tolist()]
        sizes = np.array([b.size for b in buffers], np.int64)
        beyond = offset + length > sizes[source]
        if beyond.any():
            at = int(np.flatnonzero(beyond)[0])
            name = self.reader.object_name(int(obj[at]))
            raise StoreError(
                f"{self.reader.location.at(name)} is cut short: it has {sizes[source[at]]} bytes, "
                f"and bytes {offset[at]} to {offset[at] + length[at]} are asked for"
            )
        return Fetched(buffers, source.astype(np.int32), offset, length)

    def _map(self, number: int) -> np.ndarray:
        found = self._maps.get(number)
        if found is None:
            # Two threads may map the same file; either map serves.
            found = self._maps[number] = self.reader.location.map(self.reader.object_name(number))
        return found

    # ---- remote objects

    def _ranged(self, obj: np.ndarray, offset: np.ndarray, length: np.ndarray) -> Fetched:
        order = np.lexsort((offset, obj))
        o, a = obj[order], offset[order]
        b = a + length[order]
        # A new range begins where the object changes or the gap is too wide. Blobs of one object do not
        # overlap, except that one sample may be asked for twice: the running end covers that.
        shift = o.astype(np.int64) << 44
        ends = np.maximum.accumulate(b + shift)
        fresh = np.ones(len(o), bool)
        fresh[1:] = (o[1:] != o[:-1]) | (a[1:] + shift[1:] > ends[:-1] + MERGE_GAP_BYTES)
        first = np.flatnonzero(fresh)
        run = np.cumsum(fresh) - 1
        begin, end = a[first], np.maximum.reduceat(b, first) if len(first) else a
        names = [self.reader.object_name(n) for n in o[first].tolist()]
        ranges: list[tuple[str, int, int | None]] = list(zip(names, begin.tolist(), end.tolist(), strict=True))
        buffers = [np.frombuffer(d, np.uint8) for d in self.reader.location.read_ranges(ranges)]
        source, start = np.empty(len(o), np.int32), np.empty(len(o), np.int64)
        source[order] = run
        start[order] = a - begin[run]
        return Fetched(buffers, source, start, length)

    # ---- blobs across two objects

    def _with_split(
        self, got: Fetched, obj: np.ndarray, offset: np.ndarray, length: np.ndarray, whole: np.ndarray
    ) -> Fetched:
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
                    raise StoreError(f"{location.at(name)} is cut short")
                pieces += location.read_ranges([(name, begin, begin + take)])
                left, number, begin = left - take, number + 1, 0
            source[at] = len(buffers)
            buffers.append(np.frombuffer(b"".join(pieces), np.uint8))
        return Fetched(buffers, source, start, length)

    def __getstate__(self) -> dict[str, Any]:
        return {"reader": self.reader, "groups": self.groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["reader"], state["groups"])  # type: ignore[misc]
