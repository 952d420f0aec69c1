"""Which data set of a mixture each position of an epoch belongs to: a pure function of weights, seed, epoch, position.

Positions are dealt out by error diffusion. After any number of positions, each data set has had its weight's share of
them, up to a sample or two. It is computed at any position in a few operations per data set, so nothing is stored:
the first data set gets the positions where ``floor(p * w)`` steps, and what is left is shared by the others in the same
way. In a shuffled epoch the positions are permuted within blocks of `BLOCK`. Without that, ranks which take turns would
meet the pattern: with two data sets of equal weights, each of two ranks would get one of them alone.

Each data set is one endless row of samples: its epochs, each in an order of its own, end to end. An epoch of the
mixture takes as many from it as the one before, and goes on where that one stopped. So every sample of a data set comes
equally often, also where it is longer than the mixture's epoch, and shorter data sets begin their next epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.epoch.order import EpochOrder, SampleOrder, permute, round_keys

STOPS = ("first", "longest")
# Weights are whole numbers that add up to this, so that no rounding decides which data set a position belongs to.
PARTS = 1 << 20
BLOCK = 4096
_BLOCKS, _STREAM = 5, 6


def whole_weights(weights: list[float]) -> list[int]:
    """`weights` as whole numbers from 1 on that add up to `PARTS`."""
    total = sum(weights)
    exact = [weight / total * PARTS for weight in weights]
    parts = [max(1, int(share)) for share in exact]
    for i in sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i)):
        if sum(parts) < PARTS:
            parts[i] += 1
    parts[parts.index(max(parts))] += PARTS - sum(parts)
    return parts


class Schedule:
    """The data set of each position. weights: whole numbers."""

    def __init__(self, weights: list[int]) -> None:
        self.weights = weights
        self._left = [sum(weights[i:]) for i in range(len(weights))]

    def counts(self, positions: int) -> list[int]:
        """How many of the first `positions` positions each data set has."""
        found, left = [], positions
        for weight, total in zip(self.weights, self._left, strict=True):
            own = (left * weight + total // 2) // total if weight < total else left
            found.append(own)
            left -= own
        return found

    def deal(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(data set, how many it has had before), int64 (n,) each, of positions."""
        store, before = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
        rest, left = np.arange(len(positions)), np.asarray(positions, np.int64)
        for i, (weight, total) in enumerate(zip(self.weights, self._left, strict=True)):
            had = (left * weight + total // 2) // total if weight < total else left
            own = ((left + 1) * weight + total // 2) // total > had if weight < total else np.ones(len(left), bool)
            store[rest[own]], before[rest[own]] = i, had[own]
            rest, left = rest[~own], (left - had)[~own]
        return store, before

    def length(self, enough: list[int], stop: str) -> int:
        """The positions of an epoch.

        "first": as many as leave each data set within `enough` of its own. "longest": as few as give each of them.
        """

        def inside(positions: int) -> bool:
            pairs = list(zip(self.counts(positions), enough, strict=True))
            return all(had <= most for had, most in pairs) if stop == "first" else not all(h >= m for h, m in pairs)

        low, high = 0, 1
        while inside(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if inside(middle) else (low, middle)
        return low if stop == "first" else high


class Stream:
    """The epochs of one data set, end to end; an `EpochOrder` without an end."""

    def __init__(self, order: SampleOrder) -> None:
        self.samples = order.samples
        self._order = order
        self._epochs: dict[int, EpochOrder] = {}

    def _epoch(self, number: int) -> EpochOrder:
        if number not in self._epochs:
            # two threads may both make one: they are equal
            self._epochs = {**dict(list(self._epochs.items())[-2:]), number: self._order.epoch(number)}
        return self._epochs[number]

    @cached_property
    def _windows(self) -> int:
        return len(self._epoch(0).window_ends)

    @property
    def window_ends(self) -> np.ndarray:
        """Of the first epoch."""
        return self._epoch(0).window_ends

    def _each(self, positions: np.ndarray) -> list[tuple[int, np.ndarray]]:
        epochs = positions // self.samples
        return [(epoch, epochs == epoch) for epoch in np.unique(epochs).tolist()]

    def indices(self, positions: np.ndarray) -> np.ndarray:
        out = np.empty(positions.shape, np.int64)
        for epoch, here in self._each(positions):
            out[here] = self._epoch(epoch).indices(positions[here] % self.samples)
        return out

    def windows(self, positions: np.ndarray) -> np.ndarray:
        out = np.empty(positions.shape, np.int64)
        for epoch, here in self._each(positions):
            out[here] = epoch * self._windows + self._epoch(epoch).windows(positions[here] % self.samples)
        return out

    def shards(self, window: int) -> list[int]:
        epoch, own = divmod(window, self._windows)
        return self._epoch(epoch).shards(own)


@dataclass(frozen=True)
class MixedOrder:
    """The order of a mixture in every epoch.

    orders: of the data sets, each with a seed of its own. weights: whole numbers. stop: one of `STOPS`. slot: how many
    samples of one data set stand together. Samples have numbers: those of the first data set, then those of the second,
    and so on.
    """

    orders: tuple[SampleOrder, ...]
    weights: tuple[int, ...]
    stop: str = "first"
    slot: int = 1

    def __post_init__(self) -> None:
        if self.stop not in STOPS:
            raise ArgumentError(f"stop is {self.stop!r}, expected one of {', '.join(STOPS)}")

    @classmethod
    def of(
        cls, shard_sizes: list[tuple[int, ...]], kind: str, seed: int, weights: list[int], stop: str, slot: int
    ) -> MixedOrder:
        """shard_sizes: of each data set. kind, seed: as of `SampleOrder`."""
        own = [SampleOrder(sizes, kind, seed) for sizes in shard_sizes]
        seeds = [int(round_keys(_STREAM, order.seed, number)[0]) for number, order in enumerate(own)]
        orders = tuple(SampleOrder(order.shard_sizes, kind, one) for order, one in zip(own, seeds, strict=True))
        return cls(orders, tuple(weights), stop, slot)

    @property
    def kind(self) -> str:
        return self.orders[0].kind

    @property
    def seed(self) -> int:
        return self.orders[0].seed

    @property
    def contiguous(self) -> bool:
        """See `SampleOrder.contiguous`."""
        return self.orders[0].contiguous

    @cached_property
    def schedule(self) -> Schedule:
        return Schedule(list(self.weights))

    @cached_property
    def slots(self) -> int:
        """Of an epoch."""
        if min(order.samples for order in self.orders) == 0:
            return 0
        up = self.slot - 1 if self.stop == "longest" else 0
        return self.schedule.length([(order.samples + up) // self.slot for order in self.orders], self.stop)

    @property
    def samples(self) -> int:
        """Positions of an epoch."""
        return self.slots * self.slot

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        return tuple(Stream(order) for order in self.orders)

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 (data sets + 1,): the number of the first sample of each, then of all."""
        return np.cumsum([0, *(order.samples for order in self.orders)])

    def epoch(self, epoch: int) -> MixedEpoch:
        """The order in one epoch."""
        return MixedEpoch(self, epoch)


class MixedEpoch:
    """One epoch of a mixture. The window n of the data set i, of k, has the number ``n * k + i``."""

    def __init__(self, order: MixedOrder, epoch: int) -> None:
        self._order, self._epoch = order, epoch
        self.streams = order.streams
        self._counts = order.schedule.counts(order.slots)
        self.window_ends = np.array([order.samples], np.int64)

    def _dealt(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(data set, position in its row of samples) of positions (n,)."""
        order = self._order
        slot, within = np.divmod(np.asarray(positions, np.int64), order.slot)
        if order.kind == "full":
            slot = self._permuted(slot)
        store, before = order.schedule.deal(slot)
        first = np.array(self._counts, np.int64) * self._epoch
        return store, (first[store] + before) * order.slot + within

    def _permuted(self, slots: np.ndarray) -> np.ndarray:
        block = slots // BLOCK
        out = np.empty_like(slots)
        for number in np.unique(block).tolist():
            here, start = block == number, number * BLOCK
            size = min(BLOCK, self._order.slots - start)
            keys = round_keys(_BLOCKS, self._order.orders[0].seed, self._epoch, number)
            out[here] = start + permute(slots[here] - start, size, keys)
        return out

    def indices(self, positions: np.ndarray) -> np.ndarray:
        store, own = self._dealt(positions.reshape(-1))
        out = np.empty(len(own), np.int64)
        for i, stream in enumerate(self.streams):
            here = store == i
            out[here] = self._order.starts[i] + stream.indices(own[here])
        return out.reshape(positions.shape)

    def windows(self, positions: np.ndarray) -> np.ndarray:
        store, own = self._dealt(positions.reshape(-1))
        out = np.empty(len(own), np.int64)
        for i, stream in enumerate(self.streams):
            here = store == i
            out[here] = stream.windows(own[here]) * len(self.streams) + i
        return out.reshape(positions.shape)

    def shards(self, window: int) -> list[int]:
        """Of the data set that the window is of."""
        number, store = divmod(window, len(self.streams))
        return self.streams[store].shards(number)

    def spans(self, store: int, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """(first, last) of the runs of one data set's row of samples that are in these runs of positions."""
        if self._order.kind == "full":  # there are no windows, and positions are permuted
            return []
        slot, found = self._order.slot, []
        for first, last in spans:
            counts = [self._order.schedule.counts(place)[store] for place in (first // slot, last // slot + 1)]
            begin, end = (self._counts[store] * self._epoch + count for count in counts)
            if begin < end:
                found.append((begin * slot, end * slot - 1))
        return found


class Slots:
    """Batches of one data set each, a `Grouping`: the slots of a mixture. order: of the epoch."""

    def __init__(self, order: MixedEpoch, count: int, batch_size: int) -> None:
        self.order, self.count, self._batch_size = order, count, batch_size

    def span(self, first: int, last: int) -> tuple[int, int]:
        """See `Grouping.span`."""
        return first * self._batch_size, (last + 1) * self._batch_size - 1

    def batch(self, number: int) -> tuple[np.ndarray, list[int]]:
        """See `Grouping.batch`."""
        positions = np.arange(number * self._batch_size, (number + 1) * self._batch_size, dtype=np.int64)
        return self.order.indices(positions), np.unique(self.order.windows(positions)).tolist()
