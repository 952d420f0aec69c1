"""Converting a data set of pictures to a store of latents.

The source is listed and cut into shards; each shard is one Dask task, which reads, decodes, compresses and
writes it. The store grows beside its target and is published last. What is finished survives anything:
`resume=True` goes on from there and ends with the same bytes as an undisturbed run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentstore.codecs.errors import ArgumentError, LatentstoreError
from latentstore.plan import listing_digest, shard_bounds, shard_samples
from latentstore.progress import Progress, clock, megabytes
from latentstore.quarantine import FILE_NAME, Failure, write_lines

if TYPE_CHECKING:
    from latentstore.codecs import Codec
    from latentstore.dispatch import Counts
    from latentstore.loaders.staged_writer import StagedWriter
    from latentstore.loaders.writer import StoreSpec
    from latentstore.work import ShardResult

__all__ = ["Report", "convert"]

ON_ERROR = ("quarantine", "skip", "raise")
EFFORTS = ("default", "fast")
KEPT = "finished shards are kept; when the cause is gone, go on with --resume (in Python, resume=True)"


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    url: of the store. stored: samples in it. failures: the pictures left out, in source order. shards: of the
    store. resumed: shards that an earlier run had finished. bytes_in: read from the source; bytes_out: of all
    blobs, headers included. pixels: of the stored pictures. seconds: of this run.
    """

    url: str
    codec: str
    stored: int
    failures: tuple[Failure, ...]
    shards: int
    resumed: int
    bytes_in: int
    bytes_out: int
    pixels: int
    seconds: float

    @property
    def bits_per_pixel(self) -> float:
        return 8 * self.bytes_out / self.pixels if self.pixels else 0.0

    def __str__(self) -> str:
        text = (
            f"{self.url}: {self.stored:,} pictures in {self.shards} shards, {megabytes(self.bytes_in)} in, "
            f"{megabytes(self.bytes_out)} out ({self.bits_per_pixel:.3f} bits per pixel), {clock(self.seconds)}"
        )
        return text + (f"; {self.resumed} shards were there already" if self.resumed else "")


def convert(
    source: str,
    target: str,
    *,
    codec: str | Codec = "rgb-f8c48",
    size: int | str = 256,
    quality: int | None = None,
    format: str | None = None,
    labels: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    on_error: str = "quarantine",
    effort: str = "default",
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
    overwrite: replace a store at `target` once the new one is complete.
    resume: go on with an interrupted run.
    storage_options: for fsspec, both ends.
    progress: True, False, or None for only where stderr is a terminal.

    Errors are LatentstoreErrors: ArgumentError for wrong options, PictureError, StoreError for the rest.
    After any of them nothing is published and `resume=True` goes on from the last finished shard.
    """
    from latentstore.codecs import load_codec
    from latentstore.dispatch import Dispatch
    from latentstore.loaders.writer import open_writer, store_format

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
    chosen.scale(quality)  # refuses a quality out of range before anything is listed
    began = time.monotonic()
    options = dict(storage_options or {})
    with Progress(progress) as shown:
        items, spec, bounds = _prepare(source, chosen, side, quality, effort, labels, options, shown)
        with open_writer(
            target, spec, format=kind, resume=resume, overwrite=overwrite, storage_options=options
        ) as writer:
            run = _Run(writer, shown, on_error, items, bounds)
            try:
                run.shards(dispatch, effort, side, spec)
                return run.publish(began)
            except (LatentstoreError, OSError) as error:
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


def _prepare(
    source: str,
    codec: Codec,
    side: int | None,
    quality: int | None,
    effort: str,
    labels: str | None,
    options: dict[str, Any],
    shown: Progress,
) -> tuple[Any, StoreSpec, list[tuple[int, int]]]:
    from PIL import __version__ as pillow

    from latentstore import __version__
    from latentstore.loaders.writer import StoreSpec
    from latentstore.sources import open_source

    shown.begin(f"listing {source}")
    listed = open_source(source, labels, storage_options=options)
    items = listed.items
    if not items:
        raise LatentstoreError(f"{source} holds nothing that could be a picture")
    samples = shard_samples(len(items), side)
    # What a resumed run must agree on beyond the codec: Pillow scales pictures, so its version is part of the
    # bytes.
    job = {
        "resize": side or "native",
        "effort": effort,
        "labels": labels,
        "pictures": len(items),
        "listing_sha256": listing_digest(items),
        "latentstore": __version__,
        "pillow": pillow,
    }
    spec = StoreSpec.of(
        codec,
        quality=quality,
        size=None if side is None else (side, side),
        shard_samples=samples,
        source=str(source),
        classes=listed.classes,
        job=job,
    )
    return items, spec, shard_bounds(items, samples, side)


class _Run:
    """One conversion at work: its writer, its results so far, and what is shown of them."""

    def __init__(
        self, writer: StagedWriter, shown: Progress, on_error: str, items: Any, bounds: list[tuple[int, int]]
    ) -> None:
        self.writer, self.shown, self.on_error = writer, shown, on_error
        self.items, self.bounds = items, bounds
        self.results: dict[int, ShardResult] = {}
        self.resumed = 0
        self.live: dict[int, Counts] = {}
        self.lock = threading.Lock()

    def shards(self, dispatch: Any, effort: str, side: int | None, spec: StoreSpec) -> None:
        """Converts every shard that an earlier run has not finished."""
        from latentstore.work import Settings, ShardResult, ShardTask, ShardWork

        for index, summary in self.writer.done().items():
            self.results[index] = ShardResult.of(summary)
        self.resumed = len(self.results)
        if self.writer.published:
            return
        earlier = [result for _, result in sorted(self.results.items())]
        before = sum(result.stored + len(result.failures) for result in earlier)
        self.shown.begin(
            f"converting on {dispatch.describe()}", total=len(self.items), unit="pictures", before=before
        )
        for result in earlier:
            self._show_failures(result)
        todo = [i for i in range(len(self.bounds)) if i not in self.results]
        tasks = (ShardTask(i, self.items[slice(*self.bounds[i])]) for i in todo)
        settings = Settings(spec.mode, side, spec.quality, effort, self.on_error == "raise")
        work = ShardWork(self.writer, spec.artifact, settings)
        dispatch.run(work, tasks, self._finished, self._watch)

    def publish(self, began: float) -> Report:
        """Publishes the store and says what it holds."""
        failures = tuple(f for _, result in sorted(self.results.items()) for f in result.failures)
        if not any(result.stored for result in self.results.values()):
            raise LatentstoreError(
                f"none of the {len(self.items)} entries of the source could be read as a picture; nothing is "
                f"published. The first: {failures[0]}"
            )
        self.shown.begin("publishing")
        if failures and self.on_error == "quarantine":
            self.writer.staging.store.write(FILE_NAME, write_lines(failures))
        summary = self.writer.finish(len(self.bounds))
        return Report(
            url=summary.url,
            codec=self.writer.spec.codec,
            stored=summary.count,
            failures=failures,
            shards=summary.shards,
            resumed=self.resumed,
            bytes_in=sum(result.bytes_in for result in self.results.values()),
            bytes_out=summary.bytes,
            pixels=summary.pixels,
            seconds=time.monotonic() - began,
        )

    def _watch(self, index: int, counts: Counts) -> None:
        # Counts of a task run to its end, or run again after its worker died, replace what was counted for
        # it.
        with self.lock:
            if index in self.results:
                return
            before = self.live.get(index, (0, 0, 0))
            self.live[index] = counts
        self.shown.advance(*(new - old for new, old in zip(counts, before, strict=True)))

    def _finished(self, result: ShardResult) -> None:
        self._watch(result.index, (result.stored + len(result.failures), result.bytes_in, result.bytes_out))
        self.results[result.index] = result
        self._show_failures(result)

    def _show_failures(self, result: ShardResult) -> None:
        if self.on_error == "quarantine":
            for failure in result.failures:
                self.shown.note(f"quarantined {failure}")
