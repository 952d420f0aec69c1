"""Converting a data set of pictures to a store of latents.

The source is listed and cut into shards; each shard is one Dask task, which reads, decodes, compresses and
writes it. The store grows beside its target and is published last. What is finished survives anything:
`resume=True` goes on from there and ends with the same bytes as an undisturbed run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latentstore.codecs.errors import ArgumentError, LatentstoreError
from latentstore.plan import listing_digest, shard_bounds, shard_samples
from latentstore.progress import Progress

if TYPE_CHECKING:
    from latentstore.codecs import Codec
    from latentstore.codecs.codec import Effort
    from latentstore.job import Plan
    from latentstore.report import Report
    from latentstore.work import Settings

__all__ = ["convert"]

ON_ERROR = ("quarantine", "skip", "raise")
EFFORTS = ("default", "fast")
KEPT = "finished shards are kept; when the cause is gone, go on with --resume (in Python, resume=True)"


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    codec: str | Codec = "rgb-f8c48",
    size: int | str = 256,
    quality: int | None = None,
    format: str | None = None,
    labels: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    on_error: str = "quarantine",
    effort: Effort = "default",
    overwrite: bool = False,
    resume: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Report:
    """Converts the pictures of `source` to the store `target`.

    source: a folder (subfolders are classes), WebDataset tars, or a Zarr array of pictures; any fsspec URL.
    target: ``x.zarr``, or a folder or ``x-{000000..}.tar`` pattern with format="wds".
    codec: a name, URL or path for `load_codec`, or a codec.
    size: pixels the shorter side is scaled to, the centre cut out; "native" keeps each picture's own size.
    quality: 1 to 100; None is the codec's default.
    format: "zarr" or "wds"; None goes by the target's name.
    labels: a CSV of labels by path.
    workers, scheduler: where it runs, see `latentstore.dispatch.Dispatch`.
    on_error: what happens to a picture that cannot be read. "quarantine": left out, named in
        ``quarantine.jsonl`` of the store and on the screen; "skip": left out; "raise": the run ends with its
        PictureError.
    effort: "default", or "fast" for quicker encoding to more bytes.
    overwrite: replace a store at `target` once the new one is complete (on object stores by a copy of it,
        during which there is no store).
    resume: go on with an interrupted run.
    storage_options: for fsspec, both ends.
    progress: True, False, or None for only where stderr is a terminal.

    Errors are LatentstoreErrors: ArgumentError for wrong options, PictureError, StoreError for the rest.
    After any of them nothing is published and `resume=True` goes on from the last finished shard.
    """
    from latentstore.codecs import load_codec
    from latentstore.dispatch import Dispatch
    from latentstore.job import Job
    from latentstore.loaders.dataset import open as open_store
    from latentstore.loaders.writer import open_writer, store_format
    from latentstore.report import Report
    from latentstore.work import Settings

    source, target = os.fspath(source), os.fspath(target)
    side = _side(size)
    if on_error not in ON_ERROR:
        raise ArgumentError(f"on_error is {on_error!r}; it is one of {', '.join(ON_ERROR)}")
    if effort not in EFFORTS:
        raise ArgumentError(f"effort is {effort!r}; it is one of {', '.join(EFFORTS)}")
    if resume and overwrite:
        raise ArgumentError(
            "resume goes on with a conversion and overwrite begins a new one; give one of them"
        )
    dispatch = Dispatch(scheduler, workers)
    kind = store_format(target, format)
    chosen = load_codec(codec) if isinstance(codec, str) else codec
    settings = Settings(
        chosen.mode,
        side,
        chosen.default_quality if quality is None else quality,
        effort,
        raise_errors=on_error == "raise",
    )
    chosen.scale(settings.quality)  # refuses a quality out of range before anything is listed
    began = time.monotonic()
    options = dict(storage_options or {})
    with Progress(progress) as shown:
        plan = _plan(source, labels, chosen, settings, options, shown)
        with open_writer(
            target, plan.spec, format=kind, resume=resume, overwrite=overwrite, storage_options=options
        ) as writer:
            if writer.published:
                dataset = open_store(target, storage_options=options)
                return Report.of_store(dataset, kind, time.monotonic() - began)
            try:
                dispatch.settle(len(plan.items))
                job = Job(plan, writer, kind, on_error, shown)
                job.run(dispatch)
                return job.publish(time.monotonic() - began)
            except (LatentstoreError, OSError) as error:
                if writer.staging.partial.exists("job.json"):
                    error.add_note(KEPT)
                raise


def _side(size: int | str) -> int | None:
    if size == "native":
        return None
    try:
        side = int(size)
    except ValueError:
        side = 0
    if not 1 <= side <= 1 << 15:
        raise ArgumentError(f"size is {size!r}; it is a number of pixels from 1 to {1 << 15}, or 'native'")
    return side


def _plan(
    source: str,
    labels: str | None,
    codec: Codec,
    settings: Settings,
    options: dict[str, Any],
    shown: Progress,
) -> Plan:
    """Lists the source, and settles its shards and all that a resumed run must agree on."""
    from PIL import __version__ as pillow

    from latentstore import __version__
    from latentstore.job import Plan
    from latentstore.loaders.writer import StoreSpec
    from latentstore.sources import open_source

    shown.begin(f"listing {source}")
    listed = open_source(source, labels, storage_options=options)
    items, size = listed.items, settings.size
    if not items:
        raise LatentstoreError(f"the source {source} holds nothing that could be a picture")
    if listed.ignored:
        shown.note(f"{listed.ignored:,} hidden or system files of {source} are left out")
    samples = shard_samples(len(items), size)
    job = {
        "resize": size or "native",
        "effort": settings.effort,
        "labels": labels,
        "pictures": len(items),
        "listing_sha256": listing_digest(items),
        # Both are part of what decides the bytes: Pillow decodes and scales.
        "latentstore": __version__,
        "pillow": pillow,
    }
    spec = StoreSpec.of(
        codec,
        quality=settings.quality,
        size=None if size is None else (size, size),
        shard_samples=samples,
        source=source.encode("utf-8", "backslashreplace").decode("utf-8"),
        classes=listed.classes,
        job=job,
    )
    return Plan(items, shard_bounds(items, samples, size), spec, settings)
