"""`latentstore.convert`: a data set of images or audio to a store of latents.

The source is listed, and its entries are divided into shards. One task reads, encodes and writes a whole shard. The
store grows beside its target and appears there when it is complete. Finished shards survive every interruption:
`resume=True` goes on from there, and ends with the same bytes as a run without one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latentstore.codecs.arguments import Effort
from latentstore.codecs.errors import ArgumentError, LatentstoreError, StoreError
from latentstore.conversion.dispatch import Dispatch
from latentstore.conversion.quarantine import ON_ERROR
from latentstore.conversion.report import Report
from latentstore.conversion.request import Request, members_of
from latentstore.conversion.run import Run
from latentstore.loaders.artifacts import load_codec
from latentstore.loaders.webdataset.layout import split_target
from latentstore.progress import Progress
from latentstore.sources.labels import Labels
from latentstore.sources.places import beside_target
from latentstore.sources.signals.asked import Asked
from latentstore.writing.open import open_writer, store_format
from latentstore.writing.staging import JOB

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["convert"]

KEPT = "Finished shards are kept: convert again with resume=True to go on from there."


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    codec: str | Codec | None = None,
    size: int | str | None = None,
    color: str | None = None,
    damaged: str | None = None,
    seconds: float | None = None,
    rate: int | None = None,
    quality: int | None = None,
    format: str | None = None,
    labels: str | None = None,
    key_column: str | None = None,
    label_column: str | None = None,
    classes: str | None = None,
    image_member: str | None = None,
    audio_member: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    on_error: str = "quarantine",
    effort: Effort = "default",
    overwrite: bool = False,
    resume: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Report:
    """Converts the images or recordings of `source` to the store `target`.

    source: a folder (subfolders are classes), WebDataset tars, or a Zarr array of images or waveforms; a path or any
        fsspec URL.
    target: ``x.zarr``; or, with format="wds", a folder or a pattern ``x-{000000..}.tar``; or, with format="versions", a
        folder.
    codec: a codec, or a name, URL or path for `load_codec`. Its modality says whether images or recordings are read.
        None chooses one by what the source holds: rgb-f8c48 for images; for recordings the shipped codec of their
        channels and rate.
    size: images only: the centre square is cut out and resized to size x size pixels; "native" keeps every image's
        size. None is 256.
    color: images only: "srgb" converts colours through the profile of each file; None keeps their values.
    damaged: images only: "skip" leaves damaged images out, as entries that cannot be read; "keep" stores what their
        decoder makes of them. None is "skip".
    seconds: audio only: recordings are cut into windows of this length, see `latentstore.sources.audio.windows`; None
        keeps recordings whole.
    rate: audio only: recordings are resampled to this rate, in hertz. None is the codec's rate for windows; whole
        recordings keep theirs.
    quality: 1 to 100; None is the codec's default.
    format: "zarr", "wds", or "versions", a store that `latentstore.sync` keeps as its source is; None goes by the
        target's name.
    labels: a table (``.csv`` or ``.tsv``) of labels by path, or a pattern of file names such as
        ``{label}_{speaker}_{n}.wav``.
    key_column, label_column: columns of the table: the one that names the entries, and the one that holds the labels.
    classes: names and numbers of the classes: a text file with a name on each line, or the path or URL of a store whose
        classes are taken.
    image_member, audio_member: tars only: the extension of the members that are the images or the recordings, such as
        "png" or "left.png".
    workers, scheduler: where the work is done, see `latentstore.conversion.dispatch.Dispatch`.
    on_error: what to do with entries that cannot be read: "quarantine" skips them and lists them in
        ``quarantine.jsonl`` of the store; "skip" skips them; "raise" stops with an ImageError or AudioError.
    effort: "default"; or "fast", which encodes faster to more bytes.
    overwrite: replace a store at `target` once the new one is complete. On object stores the new one is then copied
        into its place, and no store is there during the copy. With format="versions" the new one is another version,
        and readers are not disturbed.
    resume: go on with an interrupted conversion of the same source and options.
    storage_options: for fsspec, for source and target.
    progress: show it on stderr; None only where stderr is a terminal.

    Every error is a LatentstoreError: ArgumentError for options that cannot be meant, SignalError for an entry with
    on_error="raise", StoreError for a source or a store. Nothing is published then. Where finished shards are kept, the
    error's `remedy` is "resume".
    """
    source, target = os.fspath(source), os.fspath(target)
    if on_error not in ON_ERROR:
        raise ArgumentError(f"on_error is {on_error!r}; it is one of {', '.join(ON_ERROR)}")
    if resume and overwrite:
        raise ArgumentError("resume goes on with a conversion and overwrite starts a new one: give only one of them")
    began = time.monotonic()
    dispatch = Dispatch(scheduler, workers)
    kind = store_format(target, format)
    options = dict(storage_options or {})
    request = Request(
        source,
        Labels(labels, key_column, label_column, classes),
        Asked(size, color, damaged, seconds, rate, quality, effort),
        load_codec(codec) if isinstance(codec, str) else codec,
        members_of(image_member, audio_member),
        on_error == "raise",
        beside_target(source, split_target(target)[0] if kind == "wds" else target),
        options,
    )
    request.check()
    with Progress(progress) as shown:
        plan, why = request.plan(shown)
        with open_writer(
            target, plan.spec, format=kind, resume=resume, overwrite=overwrite, storage_options=options
        ) as writer:
            if writer.published:
                from latentstore.loaders.opening import open_latents  # it brings ml_dtypes, which takes long

                return Report.of_store(open_latents(target, storage_options=options), kind, time.monotonic() - began)
            try:
                dispatch.settle(len(plan.items))
                run = Run(plan, writer, kind, on_error, shown, why)
                run.convert(dispatch)
                return run.publish(time.monotonic() - began)
            except (LatentstoreError, OSError) as error:
                failure = error if isinstance(error, LatentstoreError) else StoreError(f"{target}: {error}")
                if writer.staging.partial.exists(JOB):
                    failure.remedy = "resume"
                    failure.add_note(KEPT)
                if failure is error:
                    raise
                raise failure from error
