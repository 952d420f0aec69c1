"""Shards again: without some of their samples, or several as one. Blobs are copied, never decoded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.columns import Column
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.manifest import Shard, TensorMeta
from latentstore.writing.spec import SHARD_BYTES
from latentstore.writing.tensors.encoding import LatentCoder
from latentstore.writing.tensors.joining import Copying, Full
from latentstore.writing.tensors.session import Session


def renewed(
    session: Session, base: TensorMeta, keys: Collection[str], full: Full,
    latents: Mapping[str, LatentCoder] | None = None,
) -> tuple[tuple[Shard, ...], Copying]:  # fmt: skip
    """(the shards of the version `base` without the samples of these keys, what was copied for them).

    Small neighbours are joined, up to `full`: see `latentstore.writing.tensors.joining`. The order of the samples
    stays. latents: of the fields beside others.

    Shards that nothing happens to stay what they are. The others are written under a name that a run which is killed
    now and started again gives them once more. Memory: the bytes of a shard that is written, twice on object stores,
    and of one that is read or `SHARD_BYTES`.
    """
    stays = _stays(session, base, keys)
    stay = [int(stays[n].sum()) if n in stays else shard.count for n, shard in enumerate(base.shards)]
    copying, sums, shards = Copying.of(base, stay, full), _Sums(base, latents or {}), list[Shard]()
    for numbers in copying.groups:
        if len(numbers) == 1 and numbers[0] not in stays:
            shards.append(base.shards[numbers[0]])
        else:
            whole = zip(numbers, _read(session, base, numbers), strict=True)
            pieces = [_piece(one, stays.get(number), sums) for number, one in whole]
            shards.append(_written(session, f"{session.token}.{numbers[0]:06d}", pieces))
    return tuple(shards), copying


def without_rows(
    session: Session, meta: TensorMeta, rows: Mapping[int, Sequence[int]], latents: Mapping[str, LatentCoder]
) -> tuple[Shard, ...]:
    """The shards of `meta`, which this session has written, without some samples. Names are given as in `renewed`.

    rows: by the number of a shard, those of its samples that go. latents: of the fields beside others.
    """
    shards, sums = list[Shard](), _Sums(meta, latents)
    for number, shard in enumerate(meta.shards):
        stays = np.ones(shard.count, np.bool_)
        stays[np.array(rows.get(number, []), np.int64)] = False
        if stays.all():
            shards.append(shard)
        elif stays.any():
            [whole] = _read(session, meta, [number])
            shards.append(_written(session, shard.name.replace("-", "."), [_piece(whole, stays, sums)]))
    return tuple(shards)


def _stays(session: Session, base: TensorMeta, keys: Collection[str]) -> dict[int, np.ndarray]:
    """Of each shard that some of these keys are in, bool (samples,): which of its samples stay."""
    found = {}
    if keys:
        for number, tail in enumerate(session.tails(base.shards, base.parts)):
            stays = np.array([key not in keys for key in tail.columns["key"].values()])
            if not stays.all():
                found[number] = stays
    return found


@dataclass(frozen=True)
class _Whole:
    """A shard, where it is, all its bytes, and its tail."""

    shard: Shard
    where: str
    data: bytes
    tail: layout.Tail


def _read(session: Session, base: TensorMeta, numbers: Sequence[int]) -> Iterator[_Whole]:
    """The shards of these numbers."""
    for batch in _batches([base.shards[number] for number in numbers]):
        names = [layout.shard_name(shard.name) for shard in batch]
        every = session.target.read_ranges([(name, 0, None) for name in names])
        for shard, name in zip(batch, names, strict=True):
            where, data = session.target.at(name), every.pop(0)
            tail = layout.decode_tail(data[-shard.tail :], base.parts, where)
            if len(data) != shard.bytes or tuple(tail.lengths.sum(axis=0).tolist()) != shard.fields:
                raise CorruptError(f"{where}: its index and its size do not agree")
            yield _Whole(shard, where, data, tail)


def _batches(shards: Sequence[Shard]) -> Iterator[list[Shard]]:
    """Those that are read together."""
    batch, size = list[Shard](), 0
    for shard in shards:
        if batch and size + shard.bytes > SHARD_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(shard)
        size += shard.bytes
    yield batch


@dataclass(frozen=True)
class _Piece:
    """What stays of a shard. where: the shard is. blobs: of each part, those of all samples end to end."""

    where: str
    blobs: list[bytes | memoryview]
    tail: layout.Tail

    @property
    def form(self) -> object:
        """What all shards of a version have the same in their tails."""
        columns, sums = self.tail.columns, self.tail.moments
        return {name: one.kind for name, one in columns.items()}, {name: one.shape for name, one in sums.items()}


def _piece(whole: _Whole, stays: np.ndarray | None, sums: _Sums) -> _Piece:
    """What stays of a shard. stays: bool (samples,), None for all."""
    tail, bounds = whole.tail, list(pairwise(np.cumsum([0, *whole.shard.fields]).tolist()))
    if stays is None:
        return _Piece(whole.where, [memoryview(whole.data)[a:b] for a, b in bounds], tail)
    every = np.frombuffer(whole.data, np.uint8)
    blobs = [
        every[a:b][np.repeat(stays, lengths)].tobytes() for (a, b), lengths in zip(bounds, tail.lengths.T, strict=True)
    ]
    columns = {name: _taken(column, stays) for name, column in tail.columns.items()}
    shapes = {name: s if s is None or len(s) == 1 else s[stays] for name, s in tail.shapes.items()}
    left = layout.Tail(columns, shapes, tail.lengths[stays], sums.without(whole, np.flatnonzero(~stays)))
    return _Piece(whole.where, list[bytes | memoryview](blobs), left)


def _taken(column: Column, rows: np.ndarray) -> Column:
    """rows: bool (samples,)."""
    if column.offsets is None:
        return Column(column.kind, column.data[rows])
    lengths = np.diff(column.offsets)
    offsets = np.cumsum([0, *lengths[rows].tolist()], dtype=np.int64)
    return Column(column.kind, column.data[np.repeat(rows, lengths)], offsets)


def _written(session: Session, name: str, pieces: Sequence[_Piece]) -> Shard:
    """The new shard, of all these pieces."""
    tail = _tail(pieces)
    end = layout.encode_tail(tail)
    parts = (blobs for part in zip(*(piece.blobs for piece in pieces), strict=True) for blobs in part)
    session.check()
    session.target.write(layout.shard_name(name), chain(parts, [end]))
    sizes = tuple(int(n) for n in tail.lengths.sum(axis=0))
    return Shard(name, tail.count, sum(sizes) + len(end), len(end), sizes)


def _tail(pieces: Sequence[_Piece]) -> layout.Tail:
    first, *others = pieces
    if not others:
        return first.tail
    for piece in others:
        if piece.form != first.form:
            raise CorruptError(f"{piece.where}: the fields in its index are not those of {first.where}")
    tails = [piece.tail for piece in pieces]
    columns = {name: Column.concat(name, [tail.columns[name] for tail in tails]) for name in first.tail.columns}
    shapes = {name: _shapes(name, tails) for name in first.tail.shapes}
    moments = {name: np.sum([tail.moments[name] for tail in tails], axis=0) for name in first.tail.moments}
    return layout.Tail(columns, shapes, np.concatenate([tail.lengths for tail in tails]), moments)


def _shapes(name: str, tails: Sequence[layout.Tail]) -> np.ndarray | None:
    """See `layout.Tail.shapes`: those of a field in all of these tails."""
    known = list[np.ndarray]()
    for tail in tails:
        shapes = tail.shapes.get(name)
        if shapes is None or (known and known[0].shape[1] != shapes.shape[1]):
            return None
        known.append(np.repeat(shapes, tail.count, axis=0) if len(shapes) == 1 else shapes)
    every = np.concatenate(known)
    return every[:1] if (every == every[0]).all() else every


class _Sums:
    """The sums over the latents of a shard that some samples leave. Only these are decoded."""

    def __init__(self, base: TensorMeta, latents: Mapping[str, LatentCoder]) -> None:
        self._latents = [(coder, base.parts_of(name)) for name, coder in latents.items()]

    def without(self, whole: _Whole, gone: np.ndarray) -> dict[str, np.ndarray]:
        """See `layout.Tail.moments`. gone: int64 (m,), the samples that leave the shard."""
        tail, found = whole.tail, {}
        first = np.cumsum(tail.lengths, axis=0) - tail.lengths + np.cumsum([0, *whole.shard.fields[:-1]])
        for coder, parts in self._latents:
            begins, sizes = first[gone][:, parts.start : parts.stop], tail.lengths[gone][:, parts.start : parts.stop]
            blobs = [
                [whole.data[at : at + size] for at, size in zip(*row, strict=True)]
                for row in zip(begins.tolist(), sizes.tolist(), strict=True)
            ]
            found[coder.name] = tail.moments[coder.name] - coder.moments_of(tail, gone, blobs, whole.where)
        return found
