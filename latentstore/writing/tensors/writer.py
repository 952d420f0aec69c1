"""`latentstore.Writer`: a store of tensors and latents, written sample by sample from any loop."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from latentstore.codecs.arguments import require_number
from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import ArgumentError, LatentstoreError, StoreError
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.codes import require_codes
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.codecs.tensors.values import as_array, is_finite, magnitude
from latentstore.loaders.epoch.ranks import found_ranks, given_ranks
from latentstore.loaders.remote.client import UnansweredError
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.encoder import Encoder, given_encoders
from latentstore.loaders.tensors.latents import LatentField, Latents
from latentstore.loaders.tensors.manifest import Shard, TensorMeta, require_fields
from latentstore.loaders.tensors.read import read_manifest
from latentstore.writing.spec import SHARD_BYTES
from latentstore.writing.tensors.checks import (
    given_coders,
    listed,
    require_key,
    require_text,
    require_value,
)
from latentstore.writing.tensors.choice import FIT_BYTES, FIT_SAMPLES, CoderChoice
from latentstore.writing.tensors.encoding import Encoding, LatentCoder
from latentstore.writing.tensors.joining import Copying, Full
from latentstore.writing.tensors.known import Known
from latentstore.writing.tensors.pending import CHUNK_BYTES, Chunk, Growing, Pending, Rooms
from latentstore.writing.tensors.rewrite import renewed, without_rows
from latentstore.writing.tensors.session import Session, rank_of
from latentstore.writing.tensors.shards import Shards

if TYPE_CHECKING:
    from types import TracebackType


class Writer:
    """A store of named tensors and latents that grows sample by sample::

        fields = {"latent": Tensor("float16", "step", snr=40), "label": int}
        with latentstore.Writer("latents.store", fields, encoder=encoder, resume=True) as writer:
            for key in writer.missing(keys):
                writer.write(key, {"latent": encode(key), "label": 3})

    The store becomes visible at the end of the ``with`` block, all at once. Where the block is left by an error, or the
    process is killed, nothing is visible, and the same program goes on where it was: with ``resume=True``, samples
    whose keys are written already are passed over. On a published store it adds samples, as a new version.

    url: where the store will be: a path or an fsspec URL. fields: by name, a `Tensor`; a codec from `load_codec`, or
        `Latents`, for signals that are to be encoded; or one of the types int, float, str and bytes.
    encoder: what made the tensors: one `Encoder` for all of them, or one for each field by its name. Loaders apply its
        scale and shift to every field of it: give text embeddings another one than latents.
    coders: fitted ones, by the field's name: a `TensorCoder` or the path of its file, from `latentstore fit-tensors`.
        A field without one is fitted to the first samples of rank 0, at most 512 of them or 48 MB.
    resume: go on with a store that was begun, or add to one that is published. overwrite: replace it; readers of the
        old version are not disturbed, and `latentstore gc` removes it.
    rank, world_size: this process among those that write together; both or neither. By default they are found as
        `LatentLoader` finds them, so under torchrun each rank writes its own shards. Each key belongs to one rank. All
        ranks wait for each other at the end, and rank 0 publishes.
    source: what is written, for people. shard_bytes: of a shard, about; 32 MB. Shards of the version before that are
        much smaller are joined to such ones. storage_options: for fsspec.

    copied: once it has published, what it has copied of the shards of the version before.

    Memory: the bytes of a few shards, and 256 MB of signals; 20 bytes and the key for each sample that a store to go on
    with has. One thread at a time may use a writer; tensors are coded and signals encoded in threads.

    ArgumentError: an argument cannot be meant, or a sample does not fit the fields. StoreError: there is a store
    already and neither `resume` nor `overwrite` is given; it was begun with other fields or another encoder; another
    run is writing it; another rank is gone.
    """

    def __init__(
        self,
        url: str | Path,
        fields: Mapping[str, Any],
        *,
        encoder: Encoder | Mapping[str, Encoder] | None = None,
        coders: Mapping[str, TensorCoder | str | Path] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        source: str = "",
        shard_bytes: int = SHARD_BYTES,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        declared = require_fields(fields)
        tensors = {name: value for name, value in declared.items() if isinstance(value, Tensor)}
        self._encoders = given_encoders(encoder, tensors)
        given = given_coders(coders, tensors)
        self._shard_bytes = require_number(shard_bytes, "shard_bytes", 1, layout.MOST_TAIL_BYTES)
        require_text(source, "source")
        self._source = source
        ranks = given_ranks(rank, world_size) or found_ranks()
        self.rank, self.world_size = ranks
        self.url = str(url)
        if self.url.rstrip("/").endswith(".tar"):
            raise ArgumentError(f"{self.url!r} names a tar, and this store is a folder: choose a name without .tar")
        self._session = Session(self.url, storage_options, *ranks)
        self._session.begin(declared, self._encoders, resume=resume, overwrite=overwrite)
        # a dict with the same fields in another order declares the same
        self.fields = {name: declared[name] for name in self._session.order}
        self._tensors = {name: value for name, value in self.fields.items() if isinstance(value, Tensor)}
        self._latents = {n: LatentCoder(n, value) for n, value in self.fields.items() if isinstance(value, Latents)}
        self._kinds = {name: value for name, value in self.fields.items() if isinstance(value, str)}
        self._columns, self._parts = dict(self._kinds), list[str]()
        for name, value in self.fields.items():
            if isinstance(value, Latents):
                self._columns |= value.columns(name)
                self._parts += value.parts(name)
            elif isinstance(value, Tensor):
                self._parts.append(name)
        self._closed = False
        self.copied = Copying()
        self._process = os.getpid()
        self._failed: BaseException | None = None
        try:
            written = self._session.begun_with()
            self._published, self._written = self._known(written)
            own = [name for name in written if rank_of(name) == self.rank]
        except BaseException as error:
            self._session.end(isinstance(error, UnansweredError))
            raise
        self._sequence, self._earlier = 1 + max((int(name.split("-")[2]) for name in own), default=-1), len(own)
        self._now: set[str] = set()
        self._dropped: set[str] = set()
        self._names: list[str] = own
        self._choice = CoderChoice(self._session, self._tensors, given)
        self._rooms = Rooms(min(CHUNK_BYTES, self._shard_bytes))
        self._chunk = Chunk(self._rooms.take())
        self._unfitted: list[Chunk] = []
        self._pending: Pending | None = None
        self._shards = Shards(self._session.target, self._session.check)
        self._coders = dict(given)
        self._growing = self._next_shard()
        # of a writer that nobody closes; at exit there is nothing to do, and a forked process has no such thread
        weakref.finalize(self, self._shards.stop).atexit = False
        self._encoding = Encoding() if self._latents else None

    def _known(self, written: Mapping[str, int]) -> tuple[Known, Known]:
        """The samples that are there: of the version that this one begins with, and those that all ranks have written
        since. written: the shards of the latter, and their bytes."""
        session, since = self._session, Known(self._tails(written, []))
        if session.base is None:
            return Known(), since
        return Known(session.tails(session.base.shards, session.base.parts)), since

    def _has(self, keys: Sequence[str]) -> np.ndarray:
        """Which of these keys samples have that were written before this run: bool (n,)."""
        return self._published.has(keys) | self._written.has(keys)

    # ---- writing

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that are not written yet, in their order."""
        keys = listed(keys)
        there = self._has(keys).tolist()
        return [
            key
            for key, has in zip(keys, there, strict=True)
            if (not has or key in self._dropped) and key not in self._now
        ]

    def stale(self, sources: Mapping[str, str]) -> list[str]:
        """The keys, of those in `sources`, of samples that are not written yet, or that were made of something else.

        sources: by key, text that changes with what a sample is made of, such as a hash.
        """
        return [key for key, source in sources.items() if self.source_of(key) != source and key not in self._now]

    def source_of(self, key: str) -> str | None:
        """What a sample that was written before this run was made of; None if there is none of this key."""
        source = self._written.source(key)
        return self._published.source(key) if source is None else source

    def drop(self, keys: Iterable[str]) -> None:
        """Leave out samples of the published version from the next one. Rank 0 alone does this.

        A sample of such a key that is written afterwards takes the place of the one that is left out.
        """
        self._require_open()
        keys = listed(keys)
        self._dropped |= {key for key, has in zip(keys, self._has(keys).tolist(), strict=True) if has}
        if self._dropped and self._session.over:
            raise self._published_before("the next version")

    def write(self, key: str, values: Mapping[str, Any], source: str = "") -> bool:
        """Add a sample; False if a sample of this key was written before this run, so that nothing is added.

        values: one for each field: tensors as arrays of NumPy or tensors of torch, of exactly the declared type; for
        latents what the codec encodes, images uint8 (height, width, colours) or audio (samples, channels); they are
        copied. source: text that changes with what the sample is made of, such as a hash. Where it is given, and a
        sample of this key was made of something else, the new one takes its place in the next version. ArgumentError
        names the key and the field that does not fit, and nothing is added. After any other error the writer takes no
        more samples and publishes nothing, since samples that it had taken may be lost: resume with a new one.
        """
        self._require_open()
        key = require_key(key)
        if not isinstance(values, Mapping):
            raise ArgumentError(f"sample {key!r} is {short(values)}; a dict with a value for each field is expected")
        require_text(source, f"source of the sample {key!r}")
        earlier = self.source_of(key)
        if earlier is not None and key not in self._dropped and (not source or earlier == source):
            return False
        if key in self._now:
            raise ArgumentError(f"the key {key!r} is written twice in this run; keys are unique in a store")
        if values.keys() != self.fields.keys():
            odd = ", ".join(sorted(values.keys() ^ self.fields.keys()))
            raise ArgumentError(
                f"sample {key!r} has the fields {', '.join(values)}, and the store has {', '.join(self.fields)}: {odd} "
                "is too much or missing"
            )
        if self._session.over:
            raise self._published_before(repr(key))
        arrays = {name: self._array(name, tensor, values[name], key) for name, tensor in self._tensors.items()}
        others = {
            name: require_value(kind, values[name], f"sample {key!r}, field {name!r}")
            for name, kind in self._kinds.items()
        }
        signals = {
            name: coder.require(values[name], f"sample {key!r}, field {name!r}")
            for name, coder in self._latents.items()
        }
        try:
            if self._encoding is not None:
                for name, signal in signals.items():
                    future = self._encoding.put(self._latents[name], key, signal)
                    self._chunk.add_signal(name, future, signal.nbytes)
            self._chunk.add(key, source, arrays, others)
            self._now.add(key)
            if self._chunk.full:
                self._flush_chunk()
        except ArgumentError as error:  # of a sample that was taken before this one
            self._failed = StoreError(
                f"{self.url}: {error} This was found after the sample was taken, so the writer stops: leave the sample "
                "out, and resume",
                remedy="resume",
            )
            raise self._failed from error
        except BaseException as error:
            self._failed = error
            raise
        return True

    def _published_before(self, what: str) -> StoreError:
        return StoreError(
            f"{self.url} was published while rank {self.rank} was not running, and {what} is not in it: start all "
            "ranks again to add it",
            remedy="resume",
        )

    def write_batch(self, keys: Sequence[str], values: Mapping[str, Any], sources: Sequence[str] | None = None) -> int:
        """Add many samples; how many were new. values: for each field an array or a list with one entry a sample.
        sources: see `write`."""
        keys = listed(keys)
        if not isinstance(values, Mapping):
            raise ArgumentError(f"values is {short(values)}; it is a dict with the values of each field")
        made = sources if sources is not None else [""] * len(keys)
        for what, column in [*((f"field {name!r}", column) for name, column in values.items()), ("sources", made)]:
            if not hasattr(column, "__len__") or len(column) != len(keys):
                has = len(column) if hasattr(column, "__len__") else f"{short(column)} in place of"
                raise ArgumentError(f"{what} has {has} values for {len(keys)} keys")
        return sum(
            self.write(key, {name: column[at] for name, column in values.items()}, one)
            for at, (key, one) in enumerate(zip(keys, made, strict=True))
        )

    def _array(self, name: str, tensor: Tensor, value: Any, key: str) -> np.ndarray:
        where = f"sample {key!r}, field {name!r}"
        array = as_array(value, tensor, where)
        if tensor.coding == "lossless":
            return array
        farthest = magnitude(array) if tensor.coding == "step" else 0
        if tensor.coding == "step" and tensor.nonfinite == "refuse" and not is_finite(farthest, tensor.dtype):
            raise ArgumentError(
                f"{where}: it has NaN or infinite values, which the coding 'step' does not keep: declare the field "
                "with nonfinite='keep' or coding='lossless', or leave the sample out"
            )
        try:
            if tensor.coding == "codes":
                require_codes(array, tensor)
            elif name in self._coders:
                self._coders[name].require(array, farthest)
        except ArgumentError as error:
            raise ArgumentError(f"{where}: {error}") from error
        return array

    def _flush_chunk(self) -> None:
        chunk, self._chunk = self._chunk, Chunk(self._rooms.take())
        if self._pending is None:
            self._unfitted.append(chunk)
            samples, size = sum(len(c.keys) for c in self._unfitted), sum(c.held for c in self._unfitted)
            if self._choice.fits and samples < FIT_SAMPLES and size < min(FIT_BYTES, 4 * self._shard_bytes):
                return
            self._begin_coding()
        else:
            self._pending.put(chunk)
        self._collect(every=False)

    def _begin_coding(self) -> None:
        self._coders = {name: self._choice.coder(name, self._unfitted) for name in self._tensors}
        self._pending = Pending(self._coders, self._latents, self._rooms)
        for chunk in self._unfitted:
            self._pending.put(chunk)
        self._unfitted = []

    def _collect(self, every: bool) -> None:
        assert self._pending is not None
        for coded in self._pending.coded(every):
            self._growing.add(coded)
            if self._growing.is_full(self._shard_bytes):
                self._end_shard()

    def _next_shard(self) -> Growing:
        name = self._session.own_name(self._sequence)
        self._sequence += 1
        return Growing(self._parts, self._columns, self._shards, name)

    def _end_shard(self) -> None:
        self._growing.end()
        self._names.append(self._growing.name)
        self._growing = self._next_shard()

    # ---- the end

    def close(self) -> None:
        """Write what is left, wait for the other ranks, and publish. Leaving the ``with`` block calls it."""
        if self._closed:
            return
        unanswered = False
        try:
            self._require_open()
            self._finish()
        except UnansweredError:
            unanswered = True
            raise
        finally:
            self._stop(unanswered)

    def _finish(self) -> None:
        session = self._session
        if session.over:
            return
        if self._chunk.keys or self._unfitted:
            if self._chunk.keys:
                (self._unfitted.append if self._pending is None else self._pending.put)(self._chunk)
                self._chunk = Chunk(self._rooms.take())
            if self._pending is None:
                self._begin_coding()
        if self._pending is not None:
            self._collect(every=True)
        if self._growing.count:
            self._end_shard()
        self._shards.wait()
        for coder in self._latents.values():
            coder.tell()
        session.done(self._names, self._earlier)
        if self.rank:
            session.wait_for_end()
            return
        names = session.all_done(session.base is not None and not self._names and not self._dropped)
        if names is not None:
            self._publish(names)
        session.tidy()

    def _publish(self, names: Mapping[str, bool]) -> None:
        """Make a version of the shards of all ranks, and of those that were there. names: see `Session.all_done`."""
        session = self._session
        written = session.written()
        for name in sorted(set(names) - written.keys()):
            at = layout.shard_name(name)
            if not session.target.exists(at):  # a listing may lack what was written a moment ago
                raise StoreError(
                    f"{session.target.at(at)} was written by this run and is gone: nothing is published; start again "
                    "by overwriting it",
                    remedy="overwrite",
                )
            written[name] = session.target.size(at)
        old = session.base
        if not written and not self._dropped:
            if old is None:
                if self.world_size == 1:
                    session.wipe()  # there is nothing to go on with
                raise StoreError(f"{self.url} cannot be published: not one sample was written")
            return
        now = read_manifest(session.target) if session.target.exists(layout.MANIFEST) else None
        if old is not None and (now is None or now.version != old.version):
            raise StoreError(f"{self.url} was changed by another run meanwhile; run it again", remedy="resume")
        shards = list[Shard]()
        fresh = Known(self._tails(dict(sorted(written.items())), shards))
        outdated = self._outdated(fresh, [(names.get(shard.name, True), shard.name) for shard in shards])
        gone = self._replaced(fresh)
        kept: tuple[Shard, ...] = ()
        if old is not None:
            kept, self.copied = renewed(session, old, gone, Full.of_tensors(self._shard_bytes), self._latents)
        version = 1 + (now.version if now is not None else 0)
        if outdated:
            shards = [*without_rows(session, self._meta(version, shards), outdated, self._latents)]
        every = (*kept, *shards)
        if not every:
            raise StoreError(f"{self.url}: all samples would be left out; a store has at least one")
        session.publish(self._meta(version, every))

    def _meta(self, version: int, shards: Sequence[Shard]) -> TensorMeta:
        """The manifest of a version that has these shards."""
        old = self._session.base
        return TensorMeta.make(
            version=version,
            fields=self._fields_of(shards),
            coders=old.coders if old is not None else self._decoders(),
            encoders=self._encoders,
            shards=tuple(shards),
            source=self._source or (old.source if old is not None else ""),
            session=self._session.token,
        )

    def _tails(self, written: Mapping[str, int], shards: list[Shard]) -> Iterator[layout.Tail]:
        """The tails of shards of this session; the shards are added to `shards`. written: their bytes by name."""
        for name, size in written.items():
            shard, tail = self._session.read_tail(name, size, self._parts)
            shards.append(shard)
            yield tail

    def _outdated(self, fresh: Known, shards: Sequence[tuple[bool, str]]) -> dict[int, list[int]]:
        """Which samples of this session there are newer ones of, since what they are made of changed before it was
        resumed: the number of each such shard, and rows. StoreError for a key that two ranks have written.

        shards: of each, whether it was there when its rank began, and its name.
        """
        found = dict[int, list[int]]()
        for key, places in fresh.repeated().items():
            # of those that were there, the last one is what `source_of` has told
            for (shard, row, source), (newer, _, its) in pairwise(
                sorted(places, key=lambda one: not shards[one[0]][0])
            ):
                (earlier, first), (_, second) = shards[shard], shards[newer]
                if rank_of(first) != rank_of(second) and (not earlier or source == its):
                    raise StoreError(
                        f"{self.url}: the key {key!r} was written twice, in {first} and in {second}: give each key to "
                        "one rank, and start again by overwriting it",
                        remedy="overwrite",
                    )
                found.setdefault(shard, []).append(row)
        return found

    def _replaced(self, fresh: Known) -> set[str]:
        """The keys whose samples the published version has, and the next one has not or has anew."""
        found = set[str]()
        for keys in (*fresh.keys_by_shard(), list(self._dropped)):
            found |= {key for key, has in zip(keys, self._published.has(keys).tolist(), strict=True) if has}
        return found

    def _fields_of(self, shards: Sequence[Shard]) -> dict[str, Tensor | LatentField | str]:
        """What the manifest says of the fields of these shards."""
        found: dict[str, Any] = dict(self.fields)
        for name, coder in self._latents.items():
            found[name] = LatentField(coder.about(self._session.tails(shards, self._parts)))
        return found

    def _decoders(self) -> dict[str, str]:
        """The SHA-256 of what each field is decoded with; all of it is in the store then."""
        session = self._session
        found = {name: session.coder_of(name) or "" for name in self._tensors}
        for name, coder in self._latents.items():
            found[name] = coder.codec.sha256
            session.target.write(layout.coder_name(coder.codec.sha256), coder.codec.artifact_bytes)
        return found

    def _stop(self, unanswered: bool) -> None:
        self._closed = True
        if self._process != os.getpid():  # the lock is that of the process that forked this one
            return
        if self._encoding is not None:
            self._encoding.close()
        if self._pending is not None:
            self._pending.close()
        self._shards.close()
        self._session.end(unanswered)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreError(f"the writer of {self.url} is closed")
        if self._failed is not None:
            raise StoreError(
                f"the writer of {self.url} has stopped by an error, and nothing is published: resume with a new one "
                f"(the error: {self._failed!r})",
                remedy="resume",
            )
        if self._process != os.getpid():
            raise StoreError(
                f"the writer of {self.url} is used in a process that was forked from the one that made it, where it "
                "writes nothing: make a writer in each process, with a rank of its own"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Publish; on an error nothing is published, and shards that are full are written and stay for resuming."""
        if kind is None:
            self.close()
        elif not self._closed and self._process == os.getpid():
            unanswered = isinstance(error, UnansweredError)
            try:
                for keep in (self._keep_full, self._keep_nothing):
                    try:
                        if not unanswered:
                            keep()
                    except (LatentstoreError, OSError) as other:  # the error that ended the block is the one to tell
                        unanswered = isinstance(other, UnansweredError)
            finally:
                self._stop(unanswered)

    def _keep_full(self) -> None:
        """Write the shards that are full."""
        if self._pending is not None:
            self._collect(every=True)
        self._shards.wait()

    def _keep_nothing(self) -> None:
        """Where no shard is written, there is nothing to go on with."""
        if self.world_size == 1 and not self._session.written():
            self._session.wipe()
