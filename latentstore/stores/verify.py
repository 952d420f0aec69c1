"""Checks a store from end to end: every blob, every count, the artifact, the metadata that others read."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.errors import ArtifactError, CorruptError, LatentstoreError, StoreError
from latentstore.loaders.stats import Moments

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset
    from latentstore.loaders.webdataset.read import WdsReader
    from latentstore.loaders.zarr.read import ZarrReader

# Symbols decoded at once: some tens of MB.
BATCH_SYMBOLS = 1 << 25


@dataclass
class Report:
    """What `verify` found. problems: one line each, naming shard and key; empty if all is well. samples,
    shards, bytes: what was checked."""

    url: str
    samples: int = 0
    shards: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        count = len(self.problems)
        verdict = f"{count} problem{'s' * (count > 1)}" if count else f"{self.bytes:,} bytes of blobs, all good"
        return f"{self.url}: {self.samples:,} samples in {self.shards:,} shards, {verdict}"


def verify(
    url: str,
    storage_options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check the store at `url` and say everything that is wrong with it.

    Every blob is decoded, which checks its CRC and shape; counts, keys, fields, statistics, the artifact's
    hash and what plain Zarr or WebDataset readers go by are checked too. progress: called with (samples done,
    of all). Whatever is wrong ends up in the report; only a store that cannot be opened at all is a single
    problem.
    """
    from latentstore.loaders.dataset import open
    from latentstore.loaders.manifest import seal_holds

    try:
        dataset = open(url, storage_options=dict(storage_options or {}) or None)
    except LatentstoreError as error:
        return Report(url, problems=[str(error)])
    report = Report(url, shards=len(dataset.shard_starts) - 1)
    found = report.problems
    if not seal_holds(dataset.info):
        found.append(f"{url}: its description is damaged or was changed after it was written")
    found += _caught(lambda: _check_artifact(dataset))
    found += _caught(lambda: _check_columns(dataset))
    found += _caught(lambda: _check_layout(dataset))
    moments = Moments.none(dataset.channels)
    for indices in _batches(dataset):
        latents, problems = _decode(dataset, indices)
        found += problems
        if not found:  # the totals say something only of a store that is whole
            moments = Moments.total([moments, *_moments(dataset, latents, indices)], dataset.channels)
        report.samples += len(indices)
        if progress is not None:
            progress(report.samples, len(dataset))
    if not found:
        report.bytes = int(dataset.group_bytes().sum())
        found += _check_totals(dataset, report.bytes, moments)
    return report


def _caught(check: Callable[[], list[str]]) -> list[str]:
    try:
        return check()
    except LatentstoreError as error:
        return [str(error)]


def _batches(dataset: LatentDataset) -> Iterator[np.ndarray]:
    """Samples in runs that stay within a shard and decode to a bounded size."""
    starts = dataset.shard_starts.tolist()
    for first, last in pairwise(starts):
        if dataset.latent_shape is not None:
            rows = max(1, BATCH_SYMBOLS // int(np.prod(dataset.latent_shape)))
        else:
            rows = 16
        for a in range(first, last, rows):
            yield np.arange(a, min(last, a + rows), dtype=np.int64)


def _moments(dataset: LatentDataset, latents: list[np.ndarray], indices: np.ndarray) -> list[Moments]:
    steps = dataset.step_codes(dataset.fields(indices))
    codes = np.zeros(len(indices), np.int64) if steps is None else steps
    if dataset.size is not None:
        return [Moments.of(np.stack(latents), codes)]
    return [Moments.of(latent[None], code[None]) for latent, code in zip(latents, codes, strict=True)]


def _decode(dataset: LatentDataset, indices: np.ndarray) -> tuple[list[np.ndarray], list[str]]:
    """The latents of `indices` that can be decoded, and a line for each thing that prevents others."""
    try:
        return list(dataset.read_latents(indices)), []
    except StoreError as error:  # the shard is missing or cut short: one line, not one per sample
        if len(indices) == 1:
            return [], [str(error)]
    except LatentstoreError as error:
        if len(indices) == 1:
            return [], [str(error)]
    latents, problems = [], []
    half = len(indices) // 2
    for part in (indices[:half], indices[half:]):
        got, said = _decode(dataset, part)
        latents += got
        problems += said
    return latents, list(dict.fromkeys(problems))


def _check_artifact(dataset: LatentDataset) -> list[str]:
    from latentstore.codecs import codec_from_bytes

    meta = dataset.reader.meta
    codec = codec_from_bytes(dataset.reader.artifact())
    if codec.sha256 != meta.sha256:
        raise ArtifactError(
            f"{dataset.url}: the artifact inside is {codec.name} with SHA-256 {codec.sha256}, "
            f"but the store was written with {meta.codec}, {meta.sha256}"
        )
    return []


def _check_columns(dataset: LatentDataset) -> list[str]:
    problems = []
    keys = dataset.keys()
    dataset.step_codes(dataset.fields())
    if len(set(keys)) != len(keys):
        problems.append(f"{dataset.url}: {len(keys) - len(set(keys))} keys are used more than once")
    for name, values in dataset.fields().items():
        if len(values) != len(dataset):
            problems.append(f"{dataset.url}: field {name!r} has {len(values)} values, not {len(dataset)}")
    labels = dataset.fields().get("label")
    if dataset.classes is not None and labels is not None:
        # -1: no class, as of images beside class folders.
        outside = np.flatnonzero((np.asarray(labels) < -1) | (np.asarray(labels) >= len(dataset.classes)))
        if len(outside):
            at = int(outside[0])
            problems.append(f"{dataset.where(at)}: label {labels[at]}, and there are {len(dataset.classes)} classes")
    return problems


def _check_totals(dataset: LatentDataset, size: int, moments: Moments) -> list[str]:
    """Statistics and sizes in the manifest against what was read. Only meaningful when everything could
    be."""
    problems = []
    if size != dataset.info["blob_bytes"]:
        problems.append(f"{dataset.url}: {size} bytes of blobs, but it says {dataset.info['blob_bytes']}")
    scales = dataset.codec.scales(dataset.quality)
    least = 1e-4 * min(float(scales(int(code)).max()) for code in moments.codes)
    for name, stored, computed in zip(("mean", "std"), dataset.stats, moments.mean_std(scales), strict=True):
        if not np.allclose(stored, computed, rtol=1e-4, atol=least):
            problems.append(f"{dataset.url}: the {name} in its statistics is not that of its latents")
    return problems


def _check_layout(dataset: LatentDataset) -> list[str]:
    """What readers other than ours go by."""
    from latentstore.loaders.webdataset.read import WdsReader
    from latentstore.loaders.zarr.read import ZarrReader

    if isinstance(dataset.reader, WdsReader):
        return _check_tars(dataset.reader)
    assert isinstance(dataset.reader, ZarrReader)
    return _check_zarr(dataset.reader)


def _check_zarr(reader: ZarrReader) -> list[str]:
    problems = []
    for name, expected in reader.expected_metadata().items():
        file = f"{name}/zarr.json"
        if reader.location.read(file) != expected:
            problems.append(f"{reader.location.at(file)}: not what this store has there; plain Zarr may misread it")
    return problems


def _check_tars(reader: WdsReader) -> list[str]:
    """Every tar, walked as plain WebDataset readers do: the samples in order, where the index says they
    are."""
    from latentstore.codecs.bitstream.checksum import crc32c
    from latentstore.codecs.bitstream.sample import split_sample
    from latentstore.loaders.webdataset.layout import MANIFEST

    problems = []
    for block, tar in enumerate(reader.tars):
        where = reader.location.at(tar)
        try:
            table = reader.index([block])[block]
            data = reader.location.map(tar).data
            if crc32c(data) != reader.tar_crc32c[block]:
                problems.append(f"{where}: its checksum is not the one in {MANIFEST}")
                continue
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as file:
                members = {m.name: m.offset_data for m in file if m.name.endswith(".latent")}
        except (StoreError, CorruptError, tarfile.TarError) as error:
            problems.append(f"{where}: {error}" if isinstance(error, tarfile.TarError) else str(error))
            continue
        keys = table.columns["key"].values()
        at = dict(zip((f"{key}.latent" for key in keys), table.start.tolist(), strict=True))
        if list(members.items()) != list(at.items()):
            problems.append(f"{where}: its members are not those that its index lists")
            continue
        for row, (key, start) in enumerate(zip(keys, table.start.tolist(), strict=True)):
            try:
                info = split_sample(data[start : start + int(table.bounds[row, -1])])
            except CorruptError as error:
                problems.append(f"{where}, {key!r}: {error}")
                continue
            header = [info.height, info.width, *info.starts, info.ends[-1]]
            if header != [int(table.height[row]), int(table.width[row]), *table.bounds[row].tolist()]:
                problems.append(f"{where}, {key!r}: its header and the index do not agree")
    return problems
