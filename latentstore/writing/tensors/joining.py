"""Which shards of a version are joined, so that many small sessions leave few shards.

Every session adds a shard, if only of one sample, and shards shrink when samples go. When a version is published,
neighbours are joined that fit into one full shard, by two rules:

- From the first shard on, as many as fit are a group. A group that the next shard does not fit into is complete, since
  whatever comes later cannot be joined to it. If it has at least `FEWEST` shards, it becomes one.
- The last group may still grow. In it, neighbours become one that are together `RATIO` times as large as the largest of
  them, so that what is copied is much larger afterwards.

So each sample is copied about log8(full shard / its first shard) + 1 times. Six neighbours (2 * FEWEST - 2) are always
larger than a full shard, but for some RATIO * log8(full shard / smallest shard) at the end. The order of the samples
stays as it is. Shards that this session has written are joined by a later one, so nothing is written twice in one
session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.manifest import Shard, TensorMeta
from latentstore.writing.spec import FEWEST_SAMPLES, SHARD_BYTES, StoreSpec

RATIO = 8
FEWEST = 4
"""Of fewer shards there is little to gain, and a store whose shards are somewhat small is not copied for it."""
WHOLE = 1 << 40
"""What a full shard counts: whole numbers, so that eight shards of one size are exactly eight times as large as one."""
MOST_BYTES = 128 << 20
"""Of a shard that others are joined to, even where those of a store may be larger: it is held in memory."""
AT_ONCE = 512 << 20
"""Bytes of shards that one version joins at most, beside those that are written again in any case: those first that
leave the fewest shards for their bytes. Where somebody chooses much larger shards than before, several versions share
the work."""


@dataclass(frozen=True)
class Full:
    """What a shard holds at most that others are joined to: samples, and bytes of its object."""

    samples: int
    bytes: int

    @classmethod
    def of_tensors(cls, shard_bytes: int = SHARD_BYTES) -> Full:
        """Of a store of tensors. shard_bytes: see `Writer`."""
        return cls(layout.MOST_SHARD_SAMPLES, min(shard_bytes, MOST_BYTES))

    @classmethod
    def of_latents(cls, spec: StoreSpec) -> Full:
        """Of a store of latents alone."""
        return cls(max(spec.shard_samples, FEWEST_SAMPLES), SHARD_BYTES)

    def share(self, shard: Shard, stay: int) -> int:
        """How much of it a shard fills with `stay` of its samples, in parts of `WHOLE`; 0 for no sample."""
        of_bytes = stay * shard.bytes * WHOLE // (shard.count * self.bytes)
        return max(stay * WHOLE // self.samples, of_bytes, min(stay, 1))


def groups(shares: Sequence[int]) -> list[list[int]]:
    """Which shards become one: the numbers of each, in order. Many have one number; a shard without a sample has none.

    shares: of each shard, as `Full.share` gives them.
    """
    complete, last = list[list[int]](), list[tuple[int, list[int]]]()
    total = 0
    for number, share in enumerate(shares):
        if not share:
            continue
        if total + share > WHOLE:
            every = _numbers(last)
            complete += [every] if len(every) >= FEWEST else [[one] for one in every]
            last, total = [], 0
        last.append((share, [number]))
        total += share
        first = _first(last)
        last[first:] = [(sum(one for one, _ in last[first:]), _numbers(last[first:]))]
    return complete + [numbers for _, numbers in last]


def _first(last: Sequence[tuple[int, list[int]]]) -> int:
    """Where the longest run at the end of a group begins that is `RATIO` times as large as the largest of it."""
    first, total, largest = len(last) - 1, 0, 0
    for at in reversed(range(len(last))):
        total, largest = total + last[at][0], max(largest, last[at][0])
        if total >= RATIO * largest:
            first = at
    return first


def _numbers(run: Sequence[tuple[int, list[int]]]) -> list[int]:
    return [number for _, numbers in run for number in numbers]


def _for_now(every: Sequence[list[int]], sizes: Sequence[int]) -> list[list[int]]:
    """The groups without those that are left for later; see `AT_ONCE`.

    sizes: of each shard, in bytes; 0 of one that is written again in any case.
    """
    cost = {one[0]: sum(sizes[number] for number in one) for one in every if len(one) > 1}
    left, now = AT_ONCE, set[int]()
    for one in sorted((one for one in every if len(one) > 1), key=lambda one: cost[one[0]] / (len(one) - 1)):
        left -= cost[one[0]]
        if left >= 0:
            now.add(one[0])
    return [part for one in every for part in ([one] if one[0] in now else [[number] for number in one])]


@dataclass(frozen=True)
class Copying:
    """What becomes of the shards of a version in the next one.

    groups: see `groups`, and `AT_ONCE`; a shard that is alone and keeps all its samples is not touched. rewritten:
    shards that are written again without some of their samples, and are not joined. joined: shards that are joined
    with others, to `into` shards. rewritten_bytes, joined_bytes: of these shards, before.
    """

    groups: list[list[int]] = field(default_factory=list, repr=False)
    rewritten: int = 0
    rewritten_bytes: int = 0
    joined: int = 0
    joined_bytes: int = 0
    into: int = 0

    @classmethod
    def of(cls, base: TensorMeta, stay: Sequence[int], full: Full) -> Copying:
        """stay: how many samples of each shard of the version `base` stay."""
        shards = base.shards
        every = groups([full.share(shard, count) for shard, count in zip(shards, stay, strict=True)])
        found = _for_now(every, [shard.bytes * (shard.count == n) for shard, n in zip(shards, stay, strict=True)])
        alone = [one for one in found if len(one) == 1 and stay[one[0]] < shards[one[0]].count]
        several = [one for one in found if len(one) > 1]
        rewritten, joined = ([shards[number].bytes for one in some for number in one] for some in (alone, several))
        return cls(found, len(rewritten), sum(rewritten), len(joined), sum(joined), len(several))
