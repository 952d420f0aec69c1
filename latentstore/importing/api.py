"""`latentstore.import_tensors`: a store of the tensors that are there already."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from latentstore.codecs.errors import ArgumentError, LatentstoreError, SignalError, StoreError
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.conversion.quarantine import Failure, write_lines
from latentstore.importing.asked import Asked
from latentstore.importing.fields import Fields
from latentstore.importing.fitting import fit_sample, read_coders
from latentstore.importing.reading import looked_at, read_parts, size_of
from latentstore.importing.report import QUARANTINE, REPORT, ImportReport
from latentstore.importing.sample import Part, Sample, Source
from latentstore.importing.source import open_tensors
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors.encoder import Encoder
from latentstore.loaders.tensors.layout import MANIFEST
from latentstore.loaders.tensors.read import read_manifest
from latentstore.progress import Progress
from latentstore.sources.item import text_of
from latentstore.sources.keys import key_problem
from latentstore.sources.places import beside_target
from latentstore.writing.tensors.writer import Writer

__all__ = ["ImportRun", "import_tensors"]

KEPT = "Finished shards are kept: import again with resume=True to go on from there."
# So many are named on the screen.
MOST_NAMED = 500


def import_tensors(
    source: str | os.PathLike[str] | Sequence[str],
    target: str | os.PathLike[str],
    *,
    coding: str | None = None,
    snr: float | None = None,
    dtype: str | None = None,
    fields: Mapping[str, Any] | None = None,
    coders: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    encoder: Encoder | Mapping[str, Encoder] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> ImportReport:
    """Makes the store `target` of the tensors of `source`.

    source: a folder of ``.npy``, ``.npz``, ``.pt``, ``.pth`` or ``.safetensors`` files, each one sample; WebDataset
        tars of such members; a folder of MosaicML Streaming; a Zarr array or group, or one such file, whose first axis
        counts the samples. A path or any fsspec URL. Nothing that a file holds is run: pickles are refused.
    target: a path or an fsspec URL.
    coding: of tensors of floats: "lossless" or "step". None is "lossless". snr: of "step", in dB; None is 40.
    dtype: that tensors of floats are stored in: "float32", "float16" or "bfloat16". None keeps that of the source.
    fields: what is said of single fields, by their names in the store: a `Tensor`, one of the types int, float, str and
        bytes, or text such as "float16,step,snr=32", "skip" or "from=NAME". Fields of which nothing is said become what
        a first look at the source finds.
    coders: what `latentstore fit-tensors` wrote: a folder or a file; or a `TensorCoder` or a path for each field. Where
        there is none, coders are fitted to samples from all over the source.
    encoder: what made the tensors: one `Encoder`, or one for each field.
    resume: go on with an import that was stopped, or add to a published store. Samples whose keys are stored are not
        read again. overwrite: replace the store.
    storage_options: for fsspec, for source and target. progress: show it on stderr; None only where stderr is a
        terminal.

    A sample that cannot be read, or does not fit the fields, is left out and named in the report and in
    ``quarantine.jsonl`` of the store. ArgumentError for options that cannot be meant, and for a source or a field that
    cannot be stored; StoreError for a source or a store; LatentstoreError if no sample can be stored. Nothing is
    published then. Where finished shards are kept, the error's `remedy` is "resume".
    """
    if resume and overwrite:
        raise ArgumentError("resume goes on with an import and overwrite starts a new one: give only one of them")
    asked, given, place = Asked.of(dtype, coding, snr, fields), read_coders(coders), os.fspath(target)
    began, options = time.monotonic(), dict(storage_options or {})
    sources = [os.fspath(source)] if isinstance(source, str | os.PathLike) else list(source)
    without = [one for name in sources for one in beside_target(name, place)]
    store = Location(place, options)
    if store.exists(MANIFEST) and not (resume or overwrite):  # before the source is listed, which may take long
        raise StoreError(f"{place} already exists: resume it to add samples, or overwrite it", remedy="overwrite")
    with Progress(progress) as shown:
        shown.begin(f"listing {' '.join(sources)}")
        listed = open_tensors(source, options, skipped=asked.skipped, without=without)
        found = Fields.of(looked_at(listed), asked, given)
        given = {next(iter(found.tensors)) if name == "" else name: coder for name, coder in given.items()}
        for name in given:
            if name not in found.tensors:
                raise ArgumentError(f"a coder is given for {name!r}; the tensors are {', '.join(found.tensors)}")
        if not found.tensors:
            others = ", ".join(found.declared) or "none that is read"
            raise ArgumentError(f"the source {listed.url} has no field of tensors; it has {others}")
        if not resume:
            shown.begin("fitting coders")
            given = {**fit_sample(listed, found), **given}
        writer = Writer(
            place, found.declared, encoder=encoder, coders=given, resume=resume, overwrite=overwrite, rank=0,
            world_size=1, source=text_of(listed.url), storage_options=options or None,
        )  # fmt: skip
        run = ImportRun(listed, found, writer, shown)
        try:
            with writer:
                run.write()
                shown.begin("publishing")
        except (LatentstoreError, OSError) as error:
            failure = error if isinstance(error, LatentstoreError) else StoreError(f"{place}: {error}")
            if run.stored and failure.remedy is None:
                failure.remedy = "resume"
                failure.add_note(KEPT)
            if failure is error:
                raise
            raise failure from error
    return run.report(store, time.monotonic() - began)


class ImportRun:
    """Reads a source into a writer. stored: samples of it that are in the store, or on the way there. needs_some:
    whether it is an error if there is none."""

    needs_some = True

    def __init__(self, source: Source, fields: Fields, writer: Writer, shown: Progress) -> None:
        self._source, self._fields, self._writer, self._shown = source, fields, writer, shown
        self.stored = self._resumed = self._bytes = 0
        self._failures: list[Failure] = []

    def write(self) -> None:
        """Write every sample that is not stored yet. LatentstoreError if there is none at all."""
        self._shown.begin("importing", total=len(self._source), unit="samples")
        for failure in self._source.failures:
            self._left_out(failure)
        for rows, read in read_parts(self._source, self._missing):
            before = self._bytes
            for one in read:
                self._one(one)
            self._shown.advance(len(rows), self._bytes - before)
        if self.needs_some and not self.stored:
            first = f"; the first: {self._failures[0]}" if self._failures else ""
            raise LatentstoreError(f"no sample of {self._source.url} could be stored{first}")

    def _missing(self, part: Part) -> list[int]:
        """The rows of a part that are not stored yet, or of which the key is not known yet."""
        missing = set(self._writer.missing(key for key in part.keys if key))
        rows = [row for row, key in enumerate(part.keys) if not key or key in missing]
        self._count(len(part.keys) - len(rows))
        return rows

    def _count(self, earlier: int) -> None:
        if earlier:
            self.stored += earlier
            self._resumed += earlier
            self._shown.advance(earlier)

    def _one(self, one: Sample | Failure) -> None:
        if isinstance(one, Failure):
            self._left_out(one)
            return
        try:
            if problem := key_problem(one.key):
                raise SignalError(f"its key {one.key!r} can name no file: {problem}")
            new = self._writer.write(one.key, self._fields.fitted(one), one.source)
        except (SignalError, ArgumentError) as error:
            self._left_out(Failure.of(one.key, one.path, str(error)))
            return
        self.stored += 1
        self._resumed += not new
        self._bytes += size_of(one) if new else 0

    def _left_out(self, failure: Failure) -> None:
        self._failures.append(failure)
        if len(self._failures) <= MOST_NAMED:
            self._shown.note(f"left out {failure}")
        elif len(self._failures) == MOST_NAMED + 1:
            self._shown.note(f"there are more; {QUARANTINE} in the store will list them all")

    def report(self, store: Location, seconds: float) -> ImportReport:
        """The report of the store that is published, which gets a copy of it."""
        meta = read_manifest(store)
        report = ImportReport(
            url=store.url,
            kind=self._source.kind,
            stored=self.stored,
            failures=tuple(self._failures),
            passed_over=self._source.passed_over,
            resumed=self._resumed,
            shards=len(meta.shards),
            bytes_in=self._bytes,
            bytes_out=sum(shard.bytes for shard in meta.shards),
            seconds=seconds,
            fields={name: _said(kind) for name, kind in meta.declared.items()},
        )
        if self._failures:
            store.write(QUARANTINE, write_lines(self._failures))
        else:
            store.remove(QUARANTINE)
        store.write(REPORT, report.as_json())
        return report


def _said(kind: Tensor | str) -> str:
    """What a field is, for people."""
    if isinstance(kind, str):
        return kind
    step = "" if kind.coding != "step" else f", {kind.snr:g} dB" if kind.steps is None else ", given steps"
    return f"{kind.dtype}, {kind.coding}{step}"
