"""Checks a store of tensors, with latents beside them or without, from end to end: the manifest, every shard's size and
index, every blob."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from latentstore.codecs.errors import LatentstoreError
from latentstore.loaders.manifest import seal_holds
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.stores.problems import Checked, Report, caught
from latentstore.stores.tensors.latents import LatentSums
from latentstore.stores.tensors.objects import check_copy, check_size, explained

__all__ = ["verify_tensors"]

BATCH_SAMPLES = 256
BATCH_BYTES = 16 << 20
"""Of blobs that are decoded at once."""


def verify_tensors(dataset: TensorDataset, progress: Checked | None = None) -> Report:
    """Check the newest version of a store of tensors; see `latentstore.stores.verify.verify`.

    Every blob of every field is decoded, which checks its checksum, and its shape is compared with the index. Sizes of
    shards, counts, keys and the copy of the manifest are checked too. Older versions are not looked at.
    """
    meta = dataset.reader.meta
    report = Report(dataset.url, shards=len(meta.shards))
    if not seal_holds(dataset.info):
        report.problems.append(f"{dataset.url}: its manifest is damaged or was changed after it was written")
    report.problems += caught(lambda: check_copy(dataset.reader))
    seen: dict[str, str] = {}
    sizes = dataset.reader.location.list(layout.SHARDS)
    sums = [LatentSums(dataset, latents) for latents in dataset.latents]
    report.problems += [problem for own in sums for problem in caught(own.check_artifact)]
    for block, (first, last) in enumerate(pairwise(dataset.shard_starts.tolist())):
        name = layout.shard_name(meta.shards[block].name)
        problems = check_size(dataset.reader, block, sizes)
        problems = problems or caught(lambda a=first, b=last, n=name: _check_index(dataset, a, b, n, seen))  # type: ignore[misc]
        if not problems:
            step, where = _at_once(dataset, block), dataset.reader.location.at(name)
            for start in range(first, last, step):
                indices = np.arange(start, min(last, start + step), dtype=np.int64)
                problems += [one for own in sums for one in own.check_sizes(indices, where)]
                problems += _check_blobs(dataset, indices, sums)
                if progress is not None:
                    progress(report.samples + start - first + len(indices), len(dataset))
            problems = problems or [one for own in sums for one in own.check_shard(block, where)]
            report.bytes += sum(meta.shards[block].fields)
        report.problems += problems
        report.samples += last - first
        if progress is not None:
            progress(report.samples, len(dataset))
    if not report.problems:  # totals say something only of a store that is whole
        report.problems += [problem for own in sums for problem in own.check_store()]
    report.problems = explained(dataset.reader, report.problems)
    return report


def _check_index(dataset: TensorDataset, first: int, last: int, name: str, seen: dict[str, str]) -> list[str]:
    """The index at the end of a shard, and its keys. seen: the shard of each key so far."""
    indices = np.arange(first, last, dtype=np.int64)
    keys, where = dataset.reader.keys(indices), dataset.reader.location.at(name)
    problems = []
    for key in keys:
        other = seen.setdefault(key, name)
        if other != name:
            problems.append(f"{where}: its key {key!r} is that of another sample, in {other}")
    if len(set(keys)) < len(keys):
        twice = next(key for at, key in enumerate(keys) if key in keys[:at])
        problems.append(f"{where}: two of its samples have the key {twice!r}")
    for field, values in dataset.reader.fields(indices).items():
        if len(values) != len(indices):
            problems.append(f"{where}: field {field!r} has {len(values)} values for {len(indices)} samples")
    return problems


def _at_once(dataset: TensorDataset, block: int) -> int:
    shard = dataset.reader.meta.shards[block]
    return max(1, min(BATCH_SAMPLES, BATCH_BYTES * shard.count // max(1, sum(shard.fields))))


def _check_blobs(dataset: TensorDataset, indices: np.ndarray, sums: list[LatentSums]) -> list[str]:
    """Decode all fields of samples; of a bad sample every field by itself, so that each is named. Latents are added to
    the sums."""
    try:
        found = dataset.read(indices)
    except LatentstoreError as error:
        if len(indices) > 1:
            half = len(indices) // 2
            return [*_check_blobs(dataset, indices[:half], sums), *_check_blobs(dataset, indices[half:], sums)]
        names = dataset.reader.names
        one_by_one = [caught(lambda n=name: _read_one(dataset, indices, n)) for name in names]  # type: ignore[misc]
        return [problem for some in one_by_one for problem in some] or [str(error)]
    problems = []
    for own in sums:
        own.add(indices, found.pop(own.name))
    for name, arrays in found.items():
        for index, array in zip(indices.tolist(), arrays, strict=True):
            said = _shape(dataset, name, index)
            if said is not None and said != array.shape:
                problems.append(
                    f"{dataset.where(index)}, field {name!r}: it has the shape {array.shape}, and its index says {said}"
                )
    return problems


def _read_one(dataset: TensorDataset, indices: np.ndarray, name: str) -> list[str]:
    if name in dataset.latents:
        dataset.latents[name].read_latents(indices)
    else:
        dataset.read_alike(indices, [name])
    return []


def _shape(dataset: TensorDataset, name: str, index: int) -> tuple[int, ...] | None:
    """The shape of a tensor as the index of its shard says it; None where it does not."""
    block = int(np.searchsorted(dataset.shard_starts, index, side="right") - 1)
    shapes = dataset.reader.shapes_of(block)[name]
    if shapes is None:
        return None
    return tuple(shapes[0 if len(shapes) == 1 else index - int(dataset.shard_starts[block])].tolist())
