"""Shards again, without some of their samples. Blobs are copied, never decoded."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.columns import Column
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.manifest import Shard, TensorMeta
from latentstore.writing.tensors.encoding import LatentCoder
from latentstore.writing.tensors.session import Session


def without(
    session: Session, base: TensorMeta, keys: Collection[str], latents: Mapping[str, LatentCoder] | None = None
) -> tuple[Shard, ...]:
    """The shards of the version `base` without the samples of these keys. latents: of the fields beside others.

    Shards that have none of them stay what they are. The others are written again, under a name that a run which is
    killed now and started again gives them once more.
    """
    kept = []
    for number, (shard, tail) in enumerate(zip(base.shards, session.tails(base.shards, base.parts), strict=True)):
        stays = np.array([key not in keys for key in tail.columns["key"].values()])
        if stays.all():
            kept.append(shard)
        elif stays.any():
            name = f"{session.token}.{number:06d}"
            kept.append(_again(session, shard, tail, stays, name, _Sums(base, latents or {})))
    return tuple(kept)


def _again(session: Session, shard: Shard, tail: layout.Tail, stays: np.ndarray, name: str, sums: _Sums) -> Shard:
    where = session.target.at(layout.shard_name(shard.name))
    data = np.frombuffer(session.target.read(layout.shard_name(shard.name)), np.uint8)
    if len(data) != shard.bytes or tuple(tail.lengths.sum(axis=0).tolist()) != shard.fields:
        raise CorruptError(f"{where}: its index and its size do not agree")
    parts, at = [], 0
    for size, lengths in zip(shard.fields, tail.lengths.T, strict=True):
        parts.append(data[at : at + size][np.repeat(stays, lengths)].tobytes())
        at += size
    rows, lengths = np.flatnonzero(stays), tail.lengths[stays]
    columns = {key: _taken(column, rows) for key, column in tail.columns.items()}
    shapes = {key: s if s is None or len(s) == 1 else s[stays] for key, s in tail.shapes.items()}
    moments = sums.without(data, shard, tail, np.flatnonzero(~stays), where)
    end = layout.encode_tail(layout.Tail(columns, shapes, lengths, moments))
    session.check()
    session.target.write(layout.shard_name(name), [*parts, end])
    sizes = tuple(int(n) for n in lengths.sum(axis=0))
    return Shard(name, len(rows), sum(sizes) + len(end), len(end), sizes)


class _Sums:
    """The sums over the latents of a shard that some samples leave. Only these are decoded."""

    def __init__(self, base: TensorMeta, latents: Mapping[str, LatentCoder]) -> None:
        self._latents = [(coder, base.parts_of(name)) for name, coder in latents.items()]

    def without(
        self, data: np.ndarray, shard: Shard, tail: layout.Tail, gone: np.ndarray, where: str
    ) -> dict[str, np.ndarray]:
        """See `layout.Tail.moments`. data: of the shard, uint8 (n,). gone: int64 (m,), the samples that leave it."""
        first = np.cumsum(tail.lengths, axis=0) - tail.lengths + np.cumsum([0, *shard.fields[:-1]])
        found = {}
        for coder, parts in self._latents:
            begins, sizes = first[gone][:, parts.start : parts.stop], tail.lengths[gone][:, parts.start : parts.stop]
            blobs = [
                [data[at : at + size].tobytes() for at, size in zip(*row, strict=True)]
                for row in zip(begins.tolist(), sizes.tolist(), strict=True)
            ]
            found[coder.name] = tail.moments[coder.name] - coder.moments_of(tail, gone, blobs, where)
        return found


def _taken(column: Column, rows: np.ndarray) -> Column:
    values = column.take(rows)
    if isinstance(values, np.ndarray):
        return Column(column.kind, values)
    return Column.flat(column.kind, [v.encode() if isinstance(v, str) else v for v in values])
