"""`latentstore sync`: a store of tensors becomes what a folder of tensors is now."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Mapping
from typing import Any

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.conversion.quarantine import Failure
from latentstore.importing.api import ImportRun
from latentstore.importing.asked import KINDS, Asked
from latentstore.importing.fields import Fields
from latentstore.importing.reading import looked_at
from latentstore.importing.report import ImportReport
from latentstore.importing.sample import Part, Sample, Source
from latentstore.importing.source import open_tensors
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.read import known_sources, read_manifest
from latentstore.progress import Progress
from latentstore.sources.places import beside_target
from latentstore.syncing.plan import SyncPlan, lies_in
from latentstore.writing.tensors.joining import Full
from latentstore.writing.tensors.writer import Writer

__all__ = ["plan_tensors", "sync_tensors"]

_SIZE = re.compile("[0-9]+x[0-9]+")


class _Syncing(ImportRun):
    """Reads what has changed of a source into a writer. wanted: the keys of what is new or has changed. read: the keys
    of the samples that were found in each entry, by what tells when it changes."""

    wanted: frozenset[str]
    read: dict[str, set[str]]
    needs_some = False

    def _missing(self, part: Part) -> list[int]:
        return [row for row, key in enumerate(part.keys) if key in self.wanted]

    def _one(self, one: Sample | Failure) -> None:
        super()._one(one)
        if isinstance(one, Sample):
            self.read.setdefault(one.source, set()).add(one.key)


class _Families:
    """Which samples of a store are of which entry of its source: those of its key, and those of its key and a size,
    since a file of kohya's scripts with several sizes is several samples, which are only known when it is read.

    kept: by key what each sample was made of. keys: of the entries.
    """

    def __init__(self, kept: Mapping[str, str], keys: Collection[str]) -> None:
        self._kept, self._sized = kept, dict[str, list[str]]()
        for name in kept:
            key, _, size = name.rpartition("_")
            if name not in keys and _SIZE.fullmatch(size):
                self._sized.setdefault(key, []).append(name)

    def of(self, key: str) -> list[str]:
        """The keys of the samples."""
        return [key] * (key in self._kept) + self._sized.get(key, [])


def plan_tensors(
    source: str | os.PathLike[str], store: str | os.PathLike[str], *, delete: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> tuple[SyncPlan, Source]:  # fmt: skip
    """(what there is to do so that the store holds what the source holds, the source as it was listed).

    source: a folder of files of tensors, by path or URL. Its files are listed, and none is read. delete: see
    `sync_tensors`. StoreError if there is no such store; ArgumentError if the source does not tell when its samples
    change.
    """
    options, place = dict(storage_options or {}), os.fspath(store)
    location = Location(place, options)
    if not location.exists(layout.MANIFEST):
        raise StoreError(f"{place}: no store of tensors there; make it first with `latentstore import`")
    listed = open_tensors(os.fspath(source), options, without=beside_target(os.fspath(source), place))
    meta, plan = read_manifest(location), SyncPlan(deleted=delete)
    if meta.latents:
        raise StoreError(
            f"{place} holds latents of a codec of this package, and a store of tensors alone is expected here: bring "
            "it up to date with latentstore.sync from Python, with the function that makes its samples"
        )
    plan.version = meta.version
    kept = known_sources(location, meta)
    entries = _entries(listed)
    families, there = _Families(kept, entries), set[str]()
    for key, source in entries.items():
        family = families.of(key)
        current = [name for name in family if kept[name] == source]
        # of one that is current, the others are of what it was before; of one that has changed, reading it tells
        there.update(current or family)
        if current:
            plan.unchanged += 1
        else:
            (plan.changed if family else plan.new).append(key)
    for failure in listed.failures:  # what cannot be read now, or listed, is not gone
        there.update(families.of(failure.key))
    failed = {failure.path for failure in listed.failures}
    plan.gone = [name for name in kept if name not in there and not lies_in(name, failed)]
    replaced = {name for key in plan.changed for name in families.of(key)}
    plan.expect_copies(meta, list(kept), replaced, Full.of_tensors())
    return plan, listed


def _entries(listed: Source) -> dict[str, str]:
    """By the key of each entry what tells when it changes. ArgumentError if the source does not tell."""
    found: dict[str, str] = {}
    for part in listed.parts:
        if len(part.sources) != len(part.keys) or not all(part.sources):
            raise ArgumentError(
                f"{listed.url}: a {listed.kind} does not tell which of its samples have changed; sync takes folders of "
                "files. Import it again with overwrite"
            )
        found |= zip(part.keys, part.sources, strict=True)
    return found


def sync_tensors(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    delete: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    planned: tuple[SyncPlan, Source] | None = None,
) -> tuple[SyncPlan, ImportReport | None]:
    """Makes a new version of a store that `import_tensors` made, so that it holds what the source holds now.

    Fields and coders are those of the store; fields that it does not have are left out. delete: leave out samples whose
    files are gone; otherwise they stay. planned: what `plan_tensors` gave, of the same `delete`. Returns the plan, and
    the report of what was read; None where nothing was.

    Readers see the old version or the new one. Errors as of `import_tensors`.
    """
    plan, listed = planned or plan_tensors(source, store, delete=delete, storage_options=storage_options)
    if not plan.encodes and not (delete and plan.gone):
        return plan, None
    options, place = dict(storage_options or {}), os.fspath(store)
    location = Location(place, options)
    meta = read_manifest(location)
    report, began = None, time.monotonic()
    with Progress(progress) as shown, Writer(
        place, {name: one if isinstance(one, Tensor) else KINDS[one] for name, one in meta.declared.items()},
        encoder=meta.encoders or None, resume=True, rank=0, world_size=1, storage_options=options or None,
    ) as writer:  # fmt: skip
        run = None
        if plan.encodes:
            run = _Syncing(listed, _fields(listed, meta.declared), writer, shown)
            run.wanted, run.read = frozenset(plan.new + plan.changed), {}
            run.write()
            entries = _entries(listed)
            families = _Families(known_sources(location, meta), entries)
            for key in plan.changed:
                found = run.read.get(entries[key])
                plan.gone += [name for name in families.of(key) if found and name not in found]
        if delete:
            writer.drop(plan.gone)
    if run is not None:
        report = run.report(location, time.monotonic() - began)
    plan.version, plan.copied = read_manifest(location).version, writer.copied
    return plan, report


def _fields(listed: Source, declared: Mapping[str, Tensor | str]) -> Fields:
    """How samples of the source are made to fit the fields of the store."""
    looked = looked_at(listed)
    names = {name for sample in looked for name in sample.values}
    asked: dict[str, Any] = dict.fromkeys(names - declared.keys(), "skip")
    asked |= {name: one if isinstance(one, Tensor) else KINDS[one] for name, one in declared.items()}
    return Fields.of(looked, Asked.of(None, None, None, asked), {})
