"""Beginning to write a store, or going on with one that was interrupted.

    spec = StoreSpec.of(codec, quality=60, size=(256, 256), shard_samples=1024, source="folder")
    with open_writer(target, spec, resume=resume, overwrite=overwrite) as writer:   # in one process, the driver
        if not writer.published:                 # else resuming has found the store complete
            for i in set(range(shards)) - set(writer.done()):
                writer.write_shard(i, samples, notes)   # in any thread, process or machine: the writer can be pickled
            writer.finish(shards)                # in the driver, once

One task writes one whole shard in one call. A call is atomic and may be repeated: the shard, and then its summary, are
written under temporary names and renamed (object stores: put whole). So a task may die half-way or run twice.
Nothing is visible at the target before `finish`, which publishes last.

A shard may hold fewer than ``spec.shard_samples`` samples, even none, where entries of the source could not be read.
`finish` closes such gaps where the layout cannot have them. Keys must be unique in the store; `finish` checks that.

Until it is published, a store lies beside its target in ``TARGET.partial``, and a lock there keeps a second run out
(`writing.staging`, `writing.lock`). A store with versions grows in its place, where no version names its new shards
before the manifest is written (`writing.versions`).
"""

from __future__ import annotations

from typing import Any

from latentstore.codecs.errors import ArgumentError
from latentstore.writing.sharded import ShardWriter
from latentstore.writing.spec import StoreSpec
from latentstore.writing.versions.writer import VersionWriter
from latentstore.writing.webdataset.writer import WdsWriter
from latentstore.writing.zarr.writer import ZarrWriter

WRITERS: dict[str, type[ZarrWriter | WdsWriter | VersionWriter]] = {
    "zarr": ZarrWriter, "wds": WdsWriter, "versions": VersionWriter,
}  # fmt: skip
ENDINGS = {".zarr": "zarr", ".tar": "wds"}


def store_format(target: str, format: str | None = None) -> str:
    """The store format of `target`, one of `WRITERS`: what `format` says, or else what the ending of its name says.

    ArgumentError if neither says it, or they contradict each other.
    """
    name = str(target).rstrip("/")
    guess = next((known for ending, known in ENDINGS.items() if name.endswith(ending)), None)
    chosen = format or guess
    if chosen is None:
        raise ArgumentError(
            f"The format of {target!r} is not known: give the format ({', '.join(WRITERS)}), or a target that ends in "
            ".zarr"
        )
    if chosen not in WRITERS:
        raise ArgumentError(f"The store format is {chosen!r}, expected one of {', '.join(WRITERS)}")
    if guess and chosen != guess:
        raise ArgumentError(
            f"The name of {target!r} says {guess}, and the format given is {chosen}: change one of them"
        )
    return chosen


def open_writer(
    target: str, spec: StoreSpec, *, format: str | None = None, resume: bool = False, overwrite: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> ShardWriter:  # fmt: skip
    """The writer of a new store at `target`, or with `resume` of one whose conversion was interrupted.

    overwrite: replace the store at `target` when the new one is complete. Only a latentstore store is ever replaced.

    StoreError: there is something at the target, and neither `resume` nor `overwrite` is given; an interrupted
    conversion with other settings lies there; another run is writing it.
    """
    writer = WRITERS[store_format(target, format)]
    return writer.begin(target, spec, resume=resume, overwrite=overwrite, storage_options=storage_options)
