"""Keeping a store of latents as its source is: only what is new or has changed is read and encoded."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.arguments import Effort
from latentstore.codecs.errors import ArgumentError, CorruptError, StoreError
from latentstore.codecs.load import codec_of
from latentstore.conversion.dispatch import Dispatch
from latentstore.conversion.quarantine import ON_ERROR, Failure, quarantine_name, read_lines
from latentstore.conversion.report import Report
from latentstore.conversion.request import Request, members_of
from latentstore.conversion.run import Run
from latentstore.conversion.shard import ShardResult
from latentstore.loaders.artifacts import load_codec
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.latent_reader import LatentReader
from latentstore.loaders.tensors.latents import FIELD
from latentstore.loaders.tensors.read import VersionReader, read_manifest
from latentstore.progress import Progress
from latentstore.sources import BadItem, Item
from latentstore.sources.audio.windows import window_of
from latentstore.sources.identity import Fingerprints, is_current, with_stamp_of
from latentstore.sources.item import text_of
from latentstore.sources.labels import Labels
from latentstore.sources.places import beside_target
from latentstore.sources.signals.asked import Asked
from latentstore.sources.signals.front_ends import front_end_of
from latentstore.syncing.changes import made_anew, made_of
from latentstore.syncing.plan import SyncPlan, lies_in
from latentstore.syncing.touched import read_touched, write_touched
from latentstore.writing.open import ENDINGS
from latentstore.writing.tensors.joining import Full
from latentstore.writing.versions.writer import VersionWriter

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["LatentSync", "sync_latents"]

FORMAT = "versions"


def sync_latents(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    codec: str | Codec | None = None,
    size: int | str | None = None,
    color: str | None = None,
    damaged: str | None = None,
    seconds: float | None = None,
    rate: int | None = None,
    quality: int | None = None,
    labels: str | None = None,
    key_column: str | None = None,
    label_column: str | None = None,
    classes: str | None = None,
    image_member: str | None = None,
    audio_member: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    on_error: str = "quarantine",
    effort: Effort | None = None,
    delete: bool = False,
    dry_run: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    planned: Callable[[SyncPlan], None] | None = None,
) -> tuple[SyncPlan, Report | None]:
    """Makes the store of latents `store` hold what `source` holds now, as a new version; makes it if there is none.

    The options are those of `latentstore.convert`, which explains them. Of a store that is there, they are those that
    it was made with, unless they are given. Where others are given, all entries are encoded again.

    An entry whose size and stamp (the time of a file, the ETag of an object, the place and time in a tar) are as they
    were is not read. Of a file of this machine whose time alone is another, the bytes are compared; so are the rows of
    an array in Zarr, which has no stamps. Labels and other fields that the listing gives count as well: where one is
    another, the entry is encoded again. Classes keep their numbers, and new ones get the numbers after them.

    delete: leave out samples whose entries are gone; otherwise they stay. dry_run: find out what there is to do, and do
    nothing. planned: called with the plan before anything is done. Returns the plan, and the report of what was done;
    None where there was nothing to do.

    Readers see the old version or the new one. Only shards with samples that changed or are left out are written again,
    without decoding what stays. An entry that has changed and cannot be read is reported, and its old sample stays. A
    run that was killed goes on where it was. Errors as of `latentstore.convert`.
    """
    dispatch = Dispatch(scheduler, workers)
    given = Asked(size, color, damaged, seconds, rate, quality, effort or "default")
    request = Request(
        os.fspath(source),
        Labels(labels, key_column, label_column, classes),
        given,
        load_codec(codec) if isinstance(codec, str) else codec,
        members_of(image_member, audio_member),
        on_error == "raise",
        beside_target(os.fspath(source), os.fspath(store)),
        dict(storage_options or {}),
    )
    with Progress(progress) as shown:
        run = LatentSync(request, os.fspath(store), effort is not None, delete=delete, on_error=on_error, shown=shown)
        if planned is not None:
            planned(run.changes)
        if dry_run:
            return run.changes, None
        run.note_touched()
        if not run.changes.is_needed:
            return run.changes, None
        report = run.run(dispatch)
        return run.changes, report


class LatentSync:
    """One run of `sync_latents`: it plans when it is made.

    request: as the user asks for it; of a store that is there, what is not given is as it was. effort_given: whether
    `request.asked.effort` is. changes: what there is to do.
    """

    def __init__(
        self, request: Request, store: str, effort_given: bool, *, delete: bool, on_error: str, shown: Progress
    ) -> None:
        if on_error not in ON_ERROR:
            raise ArgumentError(f"on_error is {on_error!r}; it is one of {', '.join(ON_ERROR)}")
        self.store, self.delete, self.on_error, self.shown = store, delete, on_error, shown
        self.began = time.monotonic()
        self.location = Location(store, request.storage_options or None)
        self.base = _published(self.location)
        if self.base is None and store.rstrip("/").endswith(tuple(ENDINGS)):
            raise ArgumentError(
                f"{store!r} has the name of a store of another layout, and this one is a store with versions: choose "
                f"a name without {' or '.join(ENDINGS)} at its end"
            )
        self.request = request if self.base is None else _as_before(request, self.base, effort_given)
        self.request.check()
        kept = {} if self.base is None else dict(zip(self.base.keys(), _sources(self.base), strict=True))
        self._noted = read_touched(self.location, kept)
        before = None if self.base is None else self.base.classes
        self.plan, self.why = self.request.plan(shown, kept, before)
        self.changes = SyncPlan(deleted=delete)
        self._wanted: list[Item] = []
        self._unchanged: list[str] = []
        self._failed: list[Failure] = []
        self._touched: dict[str, str] = {}
        self._compare({**kept, **self._noted})

    # ---- planning

    def _compare(self, kept: Mapping[str, str]) -> None:
        """What has become of every entry, and of every sample. kept: what each sample was made of, by key."""
        changes, base = self.changes, self.base
        if base is not None:
            changes.version = base.info["version"]
            changes.again = made_anew(base, self.plan)
        failed = {} if changes.again else {failure.key: failure for failure in self._known_failures()}
        fingerprints = Fingerprints()
        for item in self.plan.items:
            key = item.key
            if key in failed and is_current(failed[key].source, item, fingerprints) is not False:
                self._failed.append(failed[key])
                changes.unreadable += 1
                continue
            if key not in kept:
                changes.new.append(key)
            elif changes.again or isinstance(item, BadItem):
                changes.changed.append(key)
            else:
                same = is_current(kept[key], item, fingerprints)
                if same is not False:
                    self._unchanged.append(key)
                    if same is None:
                        changes.touched += 1
                        if item.origin()[0].stamp_tells:
                            self._touched[key] = with_stamp_of(kept[key], item)
                    continue
                changes.changed.append(key)
            self._wanted.append(item)
            changes.bytes_in += item.size_bytes or 0
        changes.unchanged = len(self._unchanged)
        there = {item.key for item in self.plan.items}
        # what cannot be read now, such as a folder, or a recording that is cut into windows, is not gone
        bad = [item for item in self.plan.items if isinstance(item, BadItem)]
        paths, keys = {text_of(item.path) for item in bad}, {item.key for item in bad}
        changes.gone = [
            key for key in kept if key not in there and window_of(key) not in keys and not lies_in(key, paths)
        ]
        if changes.again and changes.gone and not self.delete:
            raise ArgumentError(
                f"{self.store}: {changes.again}, so all samples are encoded again, and the entries of "
                f"{len(changes.gone)} are gone ({changes.gone[0]!r} is one): give delete=True to leave them out",
                option="delete",
            )
        if base is not None and not changes.again:
            full = Full.of_latents(self.plan.spec)
            changes.expect_copies(_reader(base).of.meta, base.keys(), changes.changed, full)

    def _known_failures(self) -> list[Failure]:
        name = quarantine_name(FORMAT)
        if self.base is None or not self.location.exists(name):
            return []
        return [failure for failure in read_lines(self.location.read(name)) if failure.source]

    # ---- running

    def note_touched(self) -> None:
        """Keep in mind what was read to find that it has not changed."""
        if self._touched:
            write_touched(self.location, {**self._noted, **self._touched})

    def run(self, dispatch: Dispatch) -> Report:
        """Does it. `changes.version` is that of the store then, and `changes.copied` what was copied."""
        changes, spec = self.changes, self.plan.spec
        modality = self.plan.settings.modality
        now = made_of(spec.settings(), modality)

        def refusal(before: Mapping[str, Any]) -> str:
            was = made_of(before, modality)
            return ", ".join(name for name in now if was.get(name) != now[name])

        options = self.request.storage_options or None
        with VersionWriter.begin_next(
            self.store, spec, refusal, replace=changes.again is not None, storage_options=options
        ) as writer:
            try:
                report = self._run(writer, dispatch)
            except OSError as error:
                raise StoreError(f"{self.store}: {error}") from error
        changes.version, changes.copied = read_manifest(self.location).version, writer.copied
        return report

    def _run(self, writer: VersionWriter, dispatch: Dispatch) -> Report:
        planned = 0 if self.base is None or self.changes.again else self.base.info["version"]
        if planned != (0 if writer.base is None else writer.base.version):
            raise StoreError(f"{self.store} was changed by another run meanwhile; run it again")
        wanted, fingerprints = {item.key: item for item in self._wanted}, Fingerprints()

        def is_wanted(key: str, source: str) -> bool:
            return key in wanted and is_current(source, wanted[key], fingerprints) is not False

        adopted = writer.adopt(is_wanted)
        done = {key for _, keys in adopted for key in keys}
        plan = self.plan.only([item for item in self._wanted if item.key not in done])
        dispatch.settle(len(plan.items))
        # entries of interrupted shards that could not be read are tried again, and counted then
        earlier = [replace(ShardResult.of(summary), failures=()) for summary, _ in adopted]
        run = Run(plan, writer, FORMAT, self.on_error, self.shown, self.why)
        run.convert(dispatch)
        if self.delete:
            writer.drop(self.changes.gone)
        report = run.publish(time.monotonic() - self.began, [self._as_stored(), *earlier])
        return replace(report, shards=len(read_manifest(self.location).shards), resumed=len(earlier))

    def _as_stored(self) -> ShardResult:
        """The entries that are not read again, as the result of a shard: nothing is read or written for them."""
        labels: Counter[int] = Counter()
        if self.base is not None and self.base.kinds.get("label") == "int":
            unchanged, values = set(self._unchanged), self.base.fields()["label"].tolist()
            labels.update(label for key, label in zip(self.base.keys(), values, strict=True) if key in unchanged)
        return ShardResult(-1, len(self._unchanged), tuple(self._failed), (), dict(labels), 0, 0, 0)


def _published(location: Location) -> LatentDataset | None:
    """The newest version of the store; None if there is none. StoreError if it has no versions, or holds tensors."""
    if not location.exists(layout.MANIFEST):
        for name in ("zarr.json", "latentstore.json"):
            if location.exists(name):
                raise StoreError(
                    f"{location.url} is a store without versions, which cannot be brought up to date: convert the "
                    "source again, or give sync the name of a new store"
                )
        return None
    meta = read_manifest(location)
    if meta.alone is None:
        raise StoreError(f"{location.url} is a store of tensors, and one of latents alone is expected here")
    return LatentDataset(LatentReader(VersionReader(location, meta, [FIELD])))


def _reader(base: LatentDataset) -> LatentReader:
    assert isinstance(base.reader, LatentReader)
    return base.reader


def _sources(base: LatentDataset) -> Sequence[str]:
    return _reader(base).of.sources(np.arange(len(base)))


def _as_before(request: Request, base: LatentDataset, effort_given: bool) -> Request:
    """The request with what is not given as it was when the store was made."""
    reader, facts = _reader(base), base.info["conversion"]
    try:
        return _filled(request, base, facts, effort_given)
    except (KeyError, TypeError) as error:
        raise CorruptError(
            f"{reader.location.at(layout.MANIFEST)} does not say how the store was made: make it again"
        ) from error


def _filled(request: Request, base: LatentDataset, facts: Mapping[str, Any], effort_given: bool) -> Request:
    codec = request.codec or codec_of(base.reader.meta.sha256, base.reader.artifact)
    modality, asked, labels, members = base.modality, request.asked, request.labels, dict(request.members)
    if codec.modality is modality:
        was = Asked(**front_end_of(modality).asked(facts), quality=base.quality, effort=facts["effort"])
        other = {name: value for name, value in vars(asked).items() if value is not None and name != "effort"}
        asked = replace(was, **other, effort=asked.effort if effort_given else was.effort)
        members[modality.name] = members[modality.name] or facts["member"]
    labels = Labels(
        labels.by or facts["labels"],
        labels.key_column or facts["key_column"],
        labels.label_column or facts["label_column"],
        labels.classes or facts["classes_of"],
    )
    return replace(request, codec=codec, asked=asked, labels=labels, members=members)
