"""`latentstore sync`: a store of tensors becomes what a folder of tensors is now."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.importing.api import ImportRun
from latentstore.importing.asked import KINDS, Asked
from latentstore.importing.fields import Fields
from latentstore.importing.reading import looked_at
from latentstore.importing.report import ImportReport
from latentstore.importing.sample import Part, Source
from latentstore.importing.source import open_tensors
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.read import known_sources, read_manifest
from latentstore.progress import Progress
from latentstore.sources.places import beside_target
from latentstore.syncing.plan import SyncPlan
from latentstore.writing.tensors.writer import Writer

__all__ = ["plan_tensors", "sync_tensors"]


class _Syncing(ImportRun):
    """Reads what has changed of a source into a writer. wanted: the keys of what is new or has changed."""

    wanted: frozenset[str]
    needs_some = False

    def _missing(self, part: Part) -> list[int]:
        return [row for row, key in enumerate(part.keys) if key in self.wanted]


def plan_tensors(
    source: str | os.PathLike[str], store: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None
) -> tuple[SyncPlan, Source]:
    """(what there is to do so that the store holds what the source holds, the source as it was listed).

    source: a folder of files of tensors, by path or URL. Its files are listed, and none is read. StoreError if there is
    no such store; ArgumentError if the source does not tell when its samples change.
    """
    options, place = dict(storage_options or {}), os.fspath(store)
    location = Location(place, options)
    if not location.exists(layout.MANIFEST):
        raise StoreError(f"{place}: no store of tensors there; make it first with `latentstore import`")
    listed = open_tensors(os.fspath(source), options, without=beside_target(os.fspath(source), place))
    meta, plan = read_manifest(location), SyncPlan()
    if meta.latents:
        raise StoreError(
            f"{place} holds latents of a codec of this package, and a store of tensors alone is expected here: bring "
            "it up to date with latentstore.sync from Python, with the function that makes its samples"
        )
    plan.version = meta.version
    kept = known_sources(location, meta)
    # a file of kohya's scripts with several sizes is several samples, NAME_SIZE, which are only known when it is read
    sizes: dict[str, list[str]] = {}
    for name in kept:
        sizes.setdefault(name.rpartition("_")[0], []).append(name)
    keys = set[str]()
    for part in listed.parts:
        if len(part.sources) != len(part.keys) or not all(part.sources):
            raise ArgumentError(
                f"{listed.url}: a {listed.kind} does not tell which of its samples have changed; sync takes folders of "
                "files. Import it again with overwrite"
            )
        for key, one in zip(part.keys, part.sources, strict=True):
            keys.add(key)
            names = [key] if key in kept else sizes.get(key, [])
            if not any(kept[name] == one for name in names):
                (plan.changed if names else plan.new).append(key)
            else:
                plan.unchanged += 1
    plan.gone = [key for key in kept if key not in keys and key.rpartition("_")[0] not in keys]
    return plan, listed


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
    files are gone; otherwise they stay. planned: what `plan_tensors` gave. Returns the plan, and the report of what was
    read; None where nothing was.

    Readers see the old version or the new one. Errors as of `import_tensors`.
    """
    plan, listed = planned or plan_tensors(source, store, storage_options)
    plan.deleted = delete
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
            run.wanted = frozenset(plan.new + plan.changed)
            run.write()
        if delete:
            writer.drop(plan.gone)
    if run is not None:
        report = run.report(location, time.monotonic() - began)
    plan.version = read_manifest(location).version
    return plan, report


def _fields(listed: Source, declared: Mapping[str, Tensor | str]) -> Fields:
    """How samples of the source are made to fit the fields of the store."""
    looked = looked_at(listed)
    names = {name for sample in looked for name in sample.values}
    asked: dict[str, Any] = dict.fromkeys(names - declared.keys(), "skip")
    asked |= {name: one if isinstance(one, Tensor) else KINDS[one] for name, one in declared.items()}
    return Fields.of(looked, Asked.of(None, None, None, asked), {})
