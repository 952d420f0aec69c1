"""Converting a data set of images or of audio to a store of latents.

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
from latentstore.codecs.modality import AUDIO
from latentstore.conversion.plan import listing_digest, shard_bounds, shard_samples
from latentstore.progress import Progress

if TYPE_CHECKING:
    from latentstore.codecs import Codec
    from latentstore.codecs.codec import Effort
    from latentstore.conversion.report import Report
    from latentstore.conversion.run import Plan
    from latentstore.conversion.shard import Settings

__all__ = ["convert"]

DEFAULT_SIDE = 256
ON_ERROR = ("quarantine", "skip", "raise")
EFFORTS = ("default", "fast")
KEPT = "finished shards are kept; when the cause is gone, go on with --resume (in Python, resume=True)"


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    codec: str | Codec = "rgb-f8c48",
    size: int | str | None = None,
    seconds: float | None = None,
    rate: int | None = None,
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
    """Converts the images or recordings of `source` to the store `target`.

    source: a folder (subfolders are classes), WebDataset tars, or a Zarr array of images or waveforms; any fsspec
        URL.
    target: ``x.zarr``, or a folder or ``x-{000000..}.tar`` pattern with format="wds".
    codec: a name, URL or path for `load_codec`, or a codec; it decides whether images or recordings are meant.
    size: of images: pixels the shorter side is scaled to, the centre cut out; "native" keeps each image's own
        size. None is 256.
    seconds: of audio: cuts recordings into windows of that length, see `latentstore.sources.windows`; None keeps them
        whole.
    rate: of audio: hertz, to which all of it is resampled. None is the codec's rate for windows, and else each
        recording's own.
    quality: 1 to 100; None is the codec's default.
    format: "zarr" or "wds"; None goes by the target's name.
    labels: a CSV of labels by path, or a pattern of file names such as ``{label}_{speaker}_{n}.wav``.
    workers, scheduler: where it runs, see `latentstore.conversion.dispatch.Dispatch`.
    on_error: what happens to an entry that cannot be read. "quarantine": left out, named in
        ``quarantine.jsonl`` of the store and on the screen; "skip": left out; "raise": the run ends with its
        ImageError or AudioError.
    effort: "default", or "fast" for quicker encoding to more bytes.
    overwrite: replace a store at `target` once the new one is complete (on object stores by a copy of it,
        during which there is no store).
    resume: go on with an interrupted run.
    storage_options: for fsspec, both ends.
    progress: True, False, or None for only where stderr is a terminal.

    Errors are LatentstoreErrors: ArgumentError for wrong options, SignalError, StoreError for the rest.
    After any of them nothing is published and `resume=True` goes on from the last finished shard.
    """
    from latentstore.conversion.dispatch import Dispatch
    from latentstore.conversion.report import Report
    from latentstore.conversion.run import Job
    from latentstore.conversion.shard import Settings
    from latentstore.loaders.artifacts import load_codec
    from latentstore.loaders.dataset import open as open_store
    from latentstore.writing.open import open_writer, store_format

    source, target = os.fspath(source), os.fspath(target)
    if on_error not in ON_ERROR:
        raise ArgumentError(f"on_error is {on_error!r}; it is one of {', '.join(ON_ERROR)}")
    if effort not in EFFORTS:
        raise ArgumentError(f"effort is {effort!r}; it is one of {', '.join(EFFORTS)}")
    if resume and overwrite:
        raise ArgumentError("resume goes on with a conversion and overwrite begins a new one; give one of them")
    dispatch = Dispatch(scheduler, workers)
    kind = store_format(target, format)
    chosen = load_codec(codec) if isinstance(codec, str) else codec
    settings = Settings(
        chosen.mode,
        _side(size, seconds, chosen),
        chosen.default_quality if quality is None else quality,
        effort,
        on_error == "raise",
        *_window(seconds, rate, chosen),
    )
    chosen.scale(settings.quality)  # refuses a quality out of range before anything is listed
    began = time.monotonic()
    options = dict(storage_options or {})
    with Progress(progress) as shown:
        plan = _plan(source, labels, rate, chosen, settings, options, shown)
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


def _side(size: int | str | None, seconds: float | None, codec: Codec) -> int | None:
    """The side of the square that images are cut to, None for none."""
    if size is not None and seconds is not None:
        raise ArgumentError("size is of images and seconds are of audio; give one of them")
    if codec.modality is AUDIO:
        if size is not None:
            raise ArgumentError(f"size is of images, and {codec.name} is a codec of audio: --seconds cuts that")
        return None
    size = DEFAULT_SIDE if size is None else size
    if size == "native":
        return None
    try:
        side = int(size)
    except ValueError:
        side = 0
    if not 1 <= side <= 1 << 15:
        raise ArgumentError(f"size is {size!r}; it is a number of pixels from 1 to {1 << 15}, or 'native'")
    return side


def _window(seconds: float | None, rate: int | None, codec: Codec) -> tuple[int | None, int | None]:
    """Samples of a window, None for whole recordings, and the rate of all of them, None for each one's own."""
    if codec.modality is not AUDIO:
        for name, value in (("seconds", seconds), ("rate", rate)):
            if value is not None:
                raise ArgumentError(f"{name} is of audio, and {codec.name} is a codec of images: --size scales those")
        return None, None
    from latentstore.codecs import AudioCodec
    from latentstore.sources.audio import MAX_VALUES

    assert isinstance(codec, AudioCodec)
    if rate is not None and not 1 <= rate < 1 << 28:
        raise ArgumentError(f"rate is {rate}; it is a whole number of hertz, at least 1")
    if seconds is None:
        return None, rate
    rate = codec.rate if rate is None else rate
    window = round(seconds * rate) if 0 < seconds < float("inf") else 0
    if not 1 <= window <= MAX_VALUES // codec.in_channels:
        raise ArgumentError(
            f"seconds is {seconds:g}; at {rate} hertz a window lasts {1 / rate:g} to "
            f"{MAX_VALUES // codec.in_channels / rate:,.0f} seconds"
        )
    return window, rate


def _plan(
    source: str,
    labels: str | None,
    rate: int | None,
    codec: Codec,
    settings: Settings,
    options: dict[str, Any],
    shown: Progress,
) -> Plan:
    """Lists the source, and settles its shards and all that a resumed run must agree on."""
    from latentstore.conversion.run import Plan
    from latentstore.sources import open_source
    from latentstore.writing.spec import StoreSpec

    shown.begin(f"listing {source}")
    audio = codec.modality is AUDIO
    listed = open_source(source, labels, options, audio, rate)
    items, size = listed.items, settings.fixed_size
    if not items:
        raise LatentstoreError(f"the source {source} holds nothing that could be a {settings.words.one}")
    if settings.window is not None and settings.rate is not None:
        from latentstore.sources.windows import cut_windows

        items = cut_windows(items, settings.window, settings.rate)
    if listed.ignored:
        shown.note(f"{listed.ignored:,} hidden or system files of {source} are left out")
    samples = shard_samples(len(items), size)
    job = {"effort": settings.effort, "labels": labels, "listing_sha256": listing_digest(items)}
    job |= _audio_job(settings, len(items)) if audio else _image_job(settings, len(items))
    spec = StoreSpec.of(
        codec,
        quality=settings.quality,
        size=size,
        shard_samples=samples,
        source=source.encode("utf-8", "backslashreplace").decode("utf-8"),
        classes=listed.classes,
        conversion=job,
    )
    return Plan(items, shard_bounds(items, samples, size), spec, settings)


# What decides the bytes beside the listing; the libraries decode and scale.


def _image_job(settings: Settings, count: int) -> dict[str, Any]:
    from PIL import __version__ as pillow

    from latentstore import __version__

    return {"resize": settings.size or "native", "images": count, "latentstore": __version__, "pillow": pillow}


def _audio_job(settings: Settings, count: int) -> dict[str, Any]:
    from latentstore import __version__
    from latentstore.sources.audio import library_versions

    cut: dict[str, Any] = {"window": settings.window, "rate": settings.rate, settings.words.many: count}
    return {**cut, "latentstore": __version__, **library_versions(settings.rate is not None)}
