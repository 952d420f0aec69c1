"""`latentstore.sync`: a store becomes what its source is now, with no more work than what has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentstore.codecs.arguments import require_number
from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.encoder import Encoder, given_encoders
from latentstore.loaders.tensors.manifest import Declared, TensorMeta, asked_of, require_fields, said_of
from latentstore.loaders.tensors.read import known_sources, read_manifest
from latentstore.progress import Progress
from latentstore.sources.item import text_of
from latentstore.sources.places import beside_target
from latentstore.syncing.identity import Stamp, content_hash, found_files, identity, is_unchanged
from latentstore.syncing.latents import sync_latents
from latentstore.syncing.plan import SyncPlan
from latentstore.writing.tensors.joining import Full
from latentstore.writing.tensors.writer import Writer

Encode = Callable[[Sequence[Path]], Mapping[str, Sequence[Any]]]


def sync(
    source: str | Path | Mapping[str, str | Path],
    url: str | Path,
    fields: Mapping[str, Any] | None = None,
    encode: Encode | None = None,
    *,
    encoder: Encoder | Mapping[str, Encoder] | None = None,
    batch_size: int = 32,
    delete: bool = False,
    dry_run: bool = False,
    progress: bool | None = None,
    storage_options: dict[str, Any] | None = None,
    **of_latents: Any,
) -> SyncPlan:
    """Make the store at `url` hold what `source` holds now, as a new version; make it if there is none.

        latentstore.sync("photos", "photos.store")  # images or recordings, as latents of a codec of this package
        latentstore.sync("files", "features.store", {"x": Tensor("float16")}, encode)  # tensors of another encoder

    Without `fields` and `encode`, see `latentstore.syncing.latents.sync_latents`, which takes `of_latents`. The rest is
    of stores of tensors.

    source: a folder, each of whose files is a sample (its key is its path there without the ending), or files by key.
    encode: makes the samples of some files: for each of `fields` an array or a list with one entry a file. It is called
    with at most `batch_size` files, and never for those that have not changed: a file whose size and time are as they
    were is not even read, and one whose time alone is another is read and compared. encoder: what `encode` is, one for
    all tensors or one for each field by its name. Where the store is of another one, or has other fields, every sample
    is encoded again.

    delete: leave out samples whose file is gone; otherwise they stay. dry_run: find out what there is to do, and do
    nothing. Readers see the old version or the new one, never a mixture. Only shards with samples that changed or are
    left out are written again, without decoding what stays; where many small shards lie side by side, they are joined.
    A run that was killed goes on where it was.

    progress: whether it is shown; None: on a terminal. fields, storage_options: see `Writer`. StoreError: a file cannot
    be read, or another run is writing the store.
    """
    if fields is None or encode is None:
        if fields is not None or encode is not None or encoder is not None or isinstance(source, Mapping):
            raise ArgumentError("a store of tensors needs both fields and encode; without them, latents are made")
        return sync_latents(
            source, url, delete=delete, dry_run=dry_run, progress=progress, storage_options=storage_options,
            **of_latents,
        )[0]  # fmt: skip
    if of_latents:
        raise ArgumentError(f"{', '.join(of_latents)}: only for stores of latents, without fields and encode")
    require_number(batch_size, "batch_size", 1)
    files = _files(source, str(url))
    plan, overwrite = _plan(files, str(url), require_fields(fields), encoder, delete, storage_options)
    if dry_run or (not plan.encodes and not (delete and plan.gone)):
        return plan
    named = "" if isinstance(source, Mapping) else text_of(str(source))
    with (
        Writer(
            url, fields, encoder=encoder, resume=True, overwrite=overwrite, rank=0, world_size=1, source=named,
            storage_options=storage_options,
        ) as writer,
        Progress(show=progress) as told,
    ):  # fmt: skip
        wanted = [key for key in plan.new + plan.changed if not _is_written(writer, key, files[key])]
        told.begin("encoding", total=len(wanted), unit="samples")
        for first in range(0, len(wanted), batch_size):
            keys = wanted[first : first + batch_size]
            _encode(writer, files, keys, encode)
            told.advance(done=len(keys))
        if delete:
            writer.drop(plan.gone)
    plan.version, plan.copied = read_manifest(Location(url, storage_options)).version, writer.copied
    return plan


def _files(source: str | Path | Mapping[str, str | Path], url: str) -> dict[str, tuple[Path, Stamp]]:
    if not isinstance(source, Mapping):
        return found_files(source, [one for one in beside_target(str(source), url) if Location(one).local is not None])
    found = {}
    for key, path in source.items():
        try:
            found[key] = Path(path), Stamp.of(Path(path).stat())
        except OSError as error:
            raise StoreError(f"{path}, the file of {key!r}, cannot be read: {error.strerror}") from error
    return found


def _plan(
    files: Mapping[str, tuple[Path, Stamp]], url: str, fields: Mapping[str, Declared],
    encoder: Encoder | Mapping[str, Encoder] | None, delete: bool, storage_options: dict[str, Any] | None,
) -> tuple[SyncPlan, bool]:  # fmt: skip
    """(what there is to do, whether the whole store is made anew)."""
    location, plan = Location(url, storage_options), SyncPlan(deleted=delete)
    if not location.exists(layout.MANIFEST):
        plan.new = list(files)
        return plan, False
    meta = read_manifest(location)
    if meta.alone is not None:
        raise StoreError(f"{url} is a store of latents of this package: give it no fields and no encode")
    plan.version = meta.version
    kept = known_sources(location, meta)
    plan.again = _made_anew(meta, fields, encoder)
    plan.gone = [key for key in kept if key not in files]
    for key, (path, stamp) in files.items():
        if key not in kept:
            plan.new.append(key)
        elif plan.again:
            plan.changed.append(key)
        else:
            same = is_unchanged(kept[key], stamp, path)
            if same is False:
                plan.changed.append(key)
            else:
                plan.unchanged += 1
                plan.touched += same is None
    if plan.again and plan.gone and not delete:
        raise ArgumentError(
            f"{url}: {plan.again}, so all samples are encoded again, and the files of {len(plan.gone)} are gone "
            f"({plan.gone[0]!r} is one): give delete=True to leave them out"
        )
    plan.expect_copies(meta, list(kept), plan.changed, Full.of_tensors())
    return plan, plan.again is not None


def _made_anew(
    meta: TensorMeta, fields: Mapping[str, Declared], encoder: Encoder | Mapping[str, Encoder] | None
) -> str | None:
    """Why all samples are encoded again, in words; None if they are not."""
    held, asked = meta.asked, asked_of(fields)
    for name in [*held, *(name for name in asked if name not in held)]:
        one, two = held.get(name), asked.get(name)
        if one != two:
            return f"the field {name!r} was {said_of(one, two)}, and is {said_of(two, one)}"
    for name, wanted in given_encoders(encoder, meta.tensors).items():
        was = meta.encoders.get(name)
        if was != wanted:
            said = "none" if was is None else repr(was.name)
            differing = ["one is given"] if was is None else was.differences(wanted)
            return (
                f"the store is of the encoder {said}, and {wanted.name!r} is asked for "
                f"({'; '.join(differing) or 'scale or shift'})"
            )
    return None


def _is_written(writer: Writer, key: str, file: tuple[Path, Stamp]) -> bool:
    """Whether a run that was killed had written the sample already."""
    kept = writer.source_of(key)
    return kept is not None and is_unchanged(kept, file[1], file[0]) is not False


def _encode(writer: Writer, files: Mapping[str, tuple[Path, Stamp]], keys: Sequence[str], encode: Encode) -> None:
    paths = [files[key][0] for key in keys]
    # the stamp is older than the bytes that are read: what changes meanwhile is noticed next time
    sources = [identity(files[key][1], content_hash(path)) for key, path in zip(keys, paths, strict=True)]
    writer.write_batch(keys, encode(paths), sources)
