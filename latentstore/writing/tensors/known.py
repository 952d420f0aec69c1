"""Which samples a store has, and what each was made of, in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from latentstore.loaders.reader import by_block
from latentstore.loaders.tensors import layout
from latentstore.loaders.zarr.index import Strings


class Known:
    """The keys of samples, and what each was made of: 20 bytes a sample beside their text, where a dict takes 170.

    Keys are found by their hashes, which are sorted, and are then compared. Of samples of one key the last one counts.
    """

    def __init__(self, tails: Iterable[layout.Tail] = ()) -> None:
        """tails: of the shards that have the samples, in order."""
        self._keys: list[Strings] = []
        self._sources: list[Strings] = []
        hashes = [np.zeros(0, np.int64)]
        for tail in tails:
            keys, sources = tail.columns["key"], tail.columns[layout.SOURCE]
            assert keys.offsets is not None and sources.offsets is not None  # `decode_tail` has looked
            hashes.append(np.fromiter(map(hash, keys.values()), np.int64, len(keys)))
            self._keys.append(Strings.joined(keys.data.tobytes(), keys.offsets))
            self._sources.append(Strings.joined(sources.data.tobytes(), sources.offsets))
        self._starts = np.cumsum([0, *map(len, self._keys)], dtype=np.int64)
        every = np.concatenate(hashes)
        order = np.argsort(every, kind="stable")
        self._hashes = every[order]
        self._order = order.astype(np.uint32) if len(order) < 1 << 32 else order

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._order)

    def source(self, key: str) -> str | None:
        """What the sample of this key was made of; None where there is none."""
        if not len(self._order):
            return None
        wanted = hash(key)
        place = int(self._hashes.searchsorted(wanted, "right")) - 1
        while place >= 0 and self._hashes[place] == wanted:
            shard, row = self._at(place)
            if self._keys[shard].take(row)[0] == key:
                return self._sources[shard].take(row)[0]
            place -= 1
        return None

    def has(self, keys: Sequence[str]) -> np.ndarray:
        """Which of these keys there are samples of: bool (n,)."""
        found = np.zeros(len(keys), np.bool_)
        wanted = np.fromiter(map(hash, keys), np.int64, len(keys))
        end = self._hashes.searchsorted(wanted, "right")
        alike = np.flatnonzero(end > self._hashes.searchsorted(wanted, "left"))
        numbers = self._order[end[alike] - 1].astype(np.int64)
        for shard, here in by_block(self._starts.searchsorted(numbers, "right") - 1):
            texts = self._keys[shard].take(numbers[here] - self._starts[shard])
            at = alike[here]
            found[at] = [keys[i] == text for i, text in zip(at.tolist(), texts, strict=True)]
        for i in alike[~found[alike]].tolist():  # another key has the same hash
            found[i] = self.source(keys[i]) is not None
        return found

    def repeated(self) -> dict[str, list[tuple[int, int, str]]]:
        """The keys that several samples have: of each sample the number of its shard, its row there, and what it was
        made of."""
        same = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        found: dict[str, list[tuple[int, int, str]]] = {}
        for place in np.union1d(same, same + 1).tolist():
            shard, row = self._at(place)
            key, source = self._keys[shard].take(row)[0], self._sources[shard].take(row)[0]
            found.setdefault(key, []).append((shard, int(row[0]), source))
        return {key: places for key, places in found.items() if len(places) > 1}

    def keys_by_shard(self) -> Iterable[list[str]]:
        """The keys of all samples, shard after shard."""
        for keys in self._keys:
            yield keys.take(np.arange(len(keys)))

    def _at(self, place: int) -> tuple[int, np.ndarray]:
        """(shard, row) of the sample at a place among the sorted hashes; the row as an array, int64 (1,)."""
        number = int(self._order[place])
        shard = int(self._starts.searchsorted(number, "right")) - 1
        return shard, np.array([number - self._starts[shard]])
