"""Shards again, without some of their samples. Blobs are copied, never decoded."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.columns import Column
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.manifest import Shard, TensorMeta
from latentstore.writing.tensors.session import Session


def without(session: Session, base: TensorMeta, keys: Collection[str]) -> tuple[Shard, ...]:
    """The shards of the version `base` without the samples of these keys.

    Shards that have none of them stay what they are. The others are written again, under a name that a run which is
    killed now and started again gives them once more.
    """
    parts, kept = base.parts, []
    ranges = [(layout.shard_name(shard.name), shard.bytes - shard.tail, shard.bytes) for shard in base.shards]
    tails = session.target.read_ranges(list(ranges))
    for number, (shard, data) in enumerate(zip(base.shards, tails, strict=True)):
        tail = layout.decode_tail(data, parts, session.target.at(layout.shard_name(shard.name)))
        stays = np.array([key not in keys for key in tail.columns["key"].values()])
        if stays.all():
            kept.append(shard)
        elif stays.any():
            kept.append(_again(session, shard, tail, stays, f"{session.token}.{number:06d}"))
    return tuple(kept)


def _again(session: Session, shard: Shard, tail: layout.Tail, stays: np.ndarray, name: str) -> Shard:
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
    end = layout.encode_tail(columns, shapes, lengths)
    session.check()
    session.target.write(layout.shard_name(name), [*parts, end])
    sizes = tuple(int(n) for n in lengths.sum(axis=0))
    return Shard(name, len(rows), sum(sizes) + len(end), len(end), sizes)


def _taken(column: Column, rows: np.ndarray) -> Column:
    values = column.take(rows)
    if isinstance(values, np.ndarray):
        return Column(column.kind, values)
    return Column.flat(column.kind, [v.encode() if isinstance(v, str) else v for v in values])
