"""Checks a store from end to end: every blob, every count, the artifact, and the metadata that others read."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.sample import split_sample
from latentstore.codecs.errors import ArtifactError, CorruptError, LatentstoreError, StoreError
from latentstore.codecs.load import codec_from_bytes
from latentstore.loaders.columns import unpack
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.manifest import seal_holds
from latentstore.loaders.opening import open
from latentstore.loaders.stats import Moments
from latentstore.loaders.tensors import layout as tensors_layout
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.loaders.tensors.latent_reader import LatentReader
from latentstore.loaders.webdataset.layout import MANIFEST
from latentstore.loaders.webdataset.read import WdsReader
from latentstore.loaders.zarr.read import ZarrReader
from latentstore.stores.labels import label_problem, outside_classes
from latentstore.stores.problems import Checked, Report, caught
from latentstore.stores.tensors.objects import check_copy, check_size, explained
from latentstore.stores.tensors.verify import verify_tensors

# Symbols decoded at once: some tens of MB.
BATCH_SYMBOLS = 1 << 25
# Samples decoded at once where sizes differ.
BATCH_SAMPLES = 16


def verify(
    url: str,
    storage_options: Mapping[str, Any] | None = None,
    progress: Checked | None = None,
) -> Report:
    """Check the store at `url` and report everything that is wrong with it.

    Every blob is decoded, which checks its checksum and its shape. Counts, keys, fields, statistics, the artifact's
    hash and what plain Zarr or WebDataset readers go by are checked too. progress: called with (samples done, all).

    Nothing is raised for a bad store: problems are in the report. A store that cannot be opened is one problem.
    """
    try:
        dataset = open(url, storage_options=dict(storage_options or {}) or None, cache=False)
    except LatentstoreError as error:
        return Report(url, problems=[str(error)])
    if isinstance(dataset, TensorDataset):
        return verify_tensors(dataset, progress)
    report = Report(url, shards=len(dataset.shard_starts) - 1)
    if not seal_holds(_manifest(dataset)):
        report.problems.append(f"{url}: its manifest is damaged or was changed after it was written")
    report.problems += caught(lambda: _check_artifact(dataset))
    report.problems += caught(lambda: _check_layout(dataset))
    samples = _Samples(dataset)
    for first, last in pairwise(dataset.shard_starts.tolist()):
        for done in samples.check(first, last):
            report.samples += done
            if progress is not None:
                progress(report.samples, len(dataset))
    report.problems += samples.problems()
    if not report.problems:  # totals say something only of a store that is whole
        report.bytes = int(dataset.group_bytes().sum())
        report.problems += _check_totals(dataset, report.bytes, samples.moments)
    report.problems = list(dict.fromkeys(report.problems))
    if isinstance(dataset.reader, LatentReader):
        report.problems = explained(dataset.reader.of, report.problems)
    return report


class _Samples:
    """Checks the samples of a store shard by shard. Each key, field and blob is read once.

    moments: of the latents so far, as long as no sample is bad.
    """

    def __init__(self, dataset: LatentDataset) -> None:
        self.dataset = dataset
        self.moments = Moments.none(dataset.channels)
        self._bad: list[str] = []
        self._keys: set[str] = set()
        self._repeated = 0
        self._labels: list[str] = []  # samples whose class is not there

    def check(self, first: int, last: int) -> Iterator[int]:
        """Check the samples from `first` to before `last`, all of one shard; gives how many each time some are done."""
        steps = self._columns(first, last)
        for start in range(first, last, self._at_once()):
            indices = np.arange(start, min(last, start + self._at_once()), dtype=np.int64)
            latents, problems = _decode(self.dataset, indices)
            self._bad += problems
            if not self._bad and steps is not None:
                parts = self._moments(latents, steps[indices - first])
                self.moments = Moments.total([self.moments, *parts], self.dataset.channels)
            yield len(indices)

    def _columns(self, first: int, last: int) -> np.ndarray | None:
        """The samples' step codes, int64 (n,), 0 where they have none; None if keys or fields cannot be read."""
        indices, reader = np.arange(first, last, dtype=np.int64), self.dataset.reader
        try:
            keys, fields = reader.keys(indices), reader.fields(indices)
            steps = self.dataset.step_codes(fields)
        except LatentstoreError as error:
            self._bad.append(str(error))
            return None
        before = len(self._keys)
        self._keys.update(keys)
        self._repeated += before + len(keys) - len(self._keys)
        for name, values in fields.items():
            if len(values) != len(indices):
                self._bad.append(
                    f"{self.dataset.url}: field {name!r} has {len(values)} values for the {len(indices)} samples from "
                    f"{first} on"
                )
        labels = np.asarray(fields.get("label", ())).tolist()
        classes = self.dataset.classes
        self._labels += [label_problem(keys[i], labels[i], classes or ()) for i in outside_classes(labels, classes)]
        return np.zeros(len(indices), np.int64) if steps is None else steps

    def _at_once(self) -> int:
        """Samples that are decoded at once, so that the memory is bounded."""
        shape = self.dataset.latent_shape
        return BATCH_SAMPLES if shape is None else max(1, BATCH_SYMBOLS // int(np.prod(shape)))

    def _moments(self, latents: list[np.ndarray], steps: np.ndarray) -> list[Moments]:
        if self.dataset.size is not None:
            return [Moments.of(np.stack(latents), steps)]
        return [Moments.of(latent[None], step[None]) for latent, step in zip(latents, steps, strict=True)]

    def problems(self) -> list[str]:
        """What is wrong with the samples checked so far."""
        found, dataset = list(self._bad), self.dataset
        if self._repeated:
            found.append(f"{dataset.url}: {self._repeated} keys are used more than once")
        if self._labels:
            more = f" ({len(self._labels) - 1:,} more such samples)" if len(self._labels) > 1 else ""
            found.append(f"{dataset.url}, {self._labels[0]}{more}")
        return found


def _decode(dataset: LatentDataset, indices: np.ndarray) -> tuple[list[np.ndarray], list[str]]:
    """The latents of `indices` that can be decoded, and a line for each thing that prevents others.

    A shard that is missing gives one line, not one for each sample.
    """
    try:
        return list(dataset.read_latents(indices)), []
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

    meta = dataset.reader.meta
    codec = codec_from_bytes(dataset.reader.artifact())
    if codec.sha256 != meta.sha256:
        raise ArtifactError(
            f"{dataset.url}: the artifact inside is {codec.name} with SHA-256 {codec.sha256}, "
            f"but the store was written with {meta.codec}, {meta.sha256}"
        )
    return []


def _check_totals(dataset: LatentDataset, size: int, moments: Moments) -> list[str]:
    """Statistics and sizes in the manifest against what was read; everything could be read."""
    problems = []
    extent = int(dataset.sizes().prod(axis=1).sum())
    meta = dataset.reader.meta
    for name, said, found in (("blob_bytes", meta.blob_bytes, size), ("extent", meta.extent, extent)):
        if found != said:
            problems.append(f"{dataset.url}: {name} is {said} in the manifest, and {found} was found")
    if isinstance(dataset.reader, LatentReader):
        problems += caught(lambda: _check_sums(dataset, moments))
    scales = dataset.codec.scales(dataset.quality)
    least = 1e-4 * min(float(scales(int(code)).max()) for code in moments.codes)
    for name, stored, computed in zip(("mean", "std"), dataset.stats, moments.mean_std(scales), strict=True):
        if not np.allclose(stored, computed, rtol=1e-4, atol=least):
            problems.append(f"{dataset.url}: the {name} in the manifest is not that of its latents")
    return problems


def _check_sums(dataset: LatentDataset, moments: Moments) -> list[str]:
    """The sums that the next version of the store will be made with."""
    location, name = dataset.reader.location, tensors_layout.moments_name(dataset.info["version"])
    where = location.at(name)
    kept = Moments.of_arrays(unpack(location.read(name), where)[1], dataset.channels, where)
    same = all(np.array_equal(a, b) for a, b in zip(vars(kept).values(), vars(moments).values(), strict=True))
    return [] if same else [f"{where}: its sums are not those of the latents"]


def _check_layout(dataset: LatentDataset) -> list[str]:
    """What readers other than ours go by."""
    if isinstance(dataset.reader, WdsReader):
        return _check_tars(dataset.reader)
    if isinstance(dataset.reader, LatentReader):
        return _check_shards(dataset.reader)
    assert isinstance(dataset.reader, ZarrReader)
    return _check_zarr(dataset.reader, dataset)


def _manifest(dataset: LatentDataset) -> Mapping[str, Any]:
    """The manifest as it is stored."""
    reader = dataset.reader
    return reader.of.meta.attributes if isinstance(reader, LatentReader) else dataset.info


def _check_shards(reader: LatentReader) -> list[str]:
    sizes = reader.location.list(tensors_layout.SHARDS)
    of = reader.of
    wrong = [problem for block in range(len(of.meta.shards)) for problem in check_size(of, block, sizes)]
    return [*check_copy(of), *wrong]


def _check_zarr(reader: ZarrReader, dataset: LatentDataset) -> list[str]:
    problems = []
    for name, expected in reader.expected_metadata(dataset.codec).items():
        file = f"{name}/zarr.json"
        if reader.location.read(file) != expected:
            problems.append(f"{reader.location.at(file)}: not the metadata of this store; plain Zarr may misread it")
    return problems


def _check_tars(reader: WdsReader) -> list[str]:
    """Reads every tar as plain WebDataset readers do: its samples must be those of the index, in order and in place."""
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
