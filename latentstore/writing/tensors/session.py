"""A session: from the first shard of a new version to its publishing, by one rank or many, with any number of restarts.

Beside ``TARGET`` there is ``TARGET.partial`` with ``job.json`` (what is written, and the token of the session),
``coders/TOKEN/FIELD`` (which coder a field has) and, for each rank, ``ranks/R/`` with its lock and ``done.json``.
Shards get their final names at once. Their names begin with the session's token, and no version names them until the
manifest is written, last. So a run that was killed leaves whole shards or nothing, and the next one finds them by their
names.
"""

from __future__ import annotations

import itertools
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from latentstore.codecs.errors import CorruptError, StoreError
from latentstore.loaders.manifest import PARTIAL, read_json
from latentstore.loaders.remote.client import MissingError, UnansweredError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.encoder import Encoder
from latentstore.loaders.tensors.manifest import Declared, Shard, TensorMeta, asked_of, said_of
from latentstore.loaders.tensors.read import read_manifest
from latentstore.writing.lock import Lock
from latentstore.writing.staging import beside

_logger = logging.getLogger("latentstore")
JOB = "job.json"
POLL_SECONDS = 0.2
# So many shards' tails are read at once.
TOGETHER = 64
# So long other ranks may take to start, or to start again.
START_SECONDS = 120.0
# So long a rank that finds the store published looks for a new session before it takes the old one for ended.
LOOK_SECONDS = 15.0


def rank_of(name: str) -> int:
    """The rank that has written a shard. name: see `Session.own_name`."""
    return int(name.split("-")[1])


class Session:
    """What all ranks of one writing run share. It holds this rank's lock from `begin` to `end`.

    base: the version that was published when the session began; None for none, or where it is replaced. over: this rank
    was started again after the others had published; it has nothing to write. order: the names of the fields, as they
    lie in its shards and in those of this session, whatever the order of who goes on with it.
    """

    def __init__(self, url: str, storage_options: dict[str, Any] | None, rank: int, ranks: int) -> None:
        self.target = Location(url, storage_options)
        temp = None if self.target.local is None else f"{self.target.local}{PARTIAL}/tmp"
        if temp is not None:  # a file is whole before it gets its name in the store
            self.target = Location(url, storage_options, temp)
        self.partial = beside(self.target, temp)
        self.rank, self.ranks = rank, ranks
        self.token = ""
        self.base: TensorMeta | None = None
        self.order: list[str] = []
        self.over = False
        self.lock = self._lock_of(rank)

    def _lock_of(self, rank: int) -> Lock:
        place = self.partial.url if self.partial.local is None else self.partial.local
        return Lock(Location(f"{place}/ranks/{rank:04d}", self.partial.storage_options))

    # ---- beginning

    def begin(
        self, fields: Mapping[str, Declared], encoders: Mapping[str, Encoder], *, resume: bool, overwrite: bool
    ) -> None:
        """Take this rank's lock, and begin the session or join it. StoreError says what stands in the way."""
        asked = asked_of(fields)
        self.lock.acquire()
        try:
            if self.rank == 0:
                self._open(asked, encoders, resume, overwrite)
            else:
                self._join(asked, encoders, resume)
            self._remove_unfinished()
        except BaseException as error:
            self.end(isinstance(error, UnansweredError))
            raise

    def _remove_unfinished(self) -> None:
        """Remove the files that a killed run of this rank had begun to write shards to."""
        if self.partial.local is not None and self.token:
            for path in self.partial.path("tmp").glob(f".{self.token}-{self.rank:04d}-*"):
                path.unlink(missing_ok=True)

    def take_idle(self) -> TensorMeta:
        """Take the lock while nothing is being written; the version that is published. StoreError if there is none."""
        if not self.target.exists(layout.MANIFEST):
            raise StoreError(
                f"{self.target.url}: no store with versions there, as latentstore.sync and latentstore.Writer make it; "
                "check the path"
            )
        self.lock.acquire()
        try:
            published, job = read_manifest(self.target), self._job()
            if job is not None and published.session != job["token"]:
                raise StoreError(
                    f"{self.partial.url} holds a run that was begun and not finished: finish it first", remedy="resume"
                )
        except BaseException as error:
            self.end(isinstance(error, UnansweredError))
            raise
        return published

    def _open(self, fields: Mapping[str, Any], encoders: Mapping[str, Encoder], resume: bool, overwrite: bool) -> None:
        published = self._published()
        job = self._job()
        if job is not None and published is not None and published.session == job["token"]:
            self.wipe()  # it was published, and stopped before tidying up
            job = None
            if resume and self.ranks > 1:  # the others have ended, and nobody would join another session
                self._require_same(published.asked, published.encoders, fields, encoders)
                self.base, self.over, self.order = published, True, list(published.fields)
                return
        if job is not None and not (resume or overwrite):
            raise StoreError(
                f"{self.partial.url} holds a store that was begun and not finished: resume it, or start again by "
                "overwriting it",
                remedy="resume",
            )
        if published is not None and not (resume or overwrite):
            raise StoreError(
                f"{self.target.url} already exists: resume it to add samples, overwrite it, or choose another name",
                remedy="overwrite",
            )
        if job is not None and overwrite and not (resume and self._is_job(job, fields, encoders)):
            self._discard(job["token"])
            job = None
        self.base = None if overwrite or (job is not None and not job["base"]) else published
        if self.base is not None:
            if self.base.alone is not None:
                raise StoreError(
                    f"{self.target.url} is a store of latents that a conversion made: bring it up to date with sync, "
                    "or start again by overwriting it",
                    remedy="overwrite",
                )
            self._require_same(self.base.asked, self.base.encoders, fields, encoders)
            fields = {name: fields[name] for name in self.base.fields}
        if job is None:
            self.wipe()
            job = {
                "token": secrets.token_hex(8),
                "base": self.base is not None,
                "fields": fields,
                "encoders": {k: v.to_json() for k, v in encoders.items()},
            }
            self.partial.write(JOB, json.dumps(job, ensure_ascii=False, indent=1).encode())
        else:
            self._require_job(job, fields, encoders)
        self.token, self.order = job["token"], list(job["fields"])
        self.partial.remove(self._mark(0, "done"))
        ready = {"token": self.token, "lock": self.lock.token}
        self.partial.write(self._mark(0, "ready"), json.dumps(ready).encode())

    def _join(self, fields: Mapping[str, Any], encoders: Mapping[str, Encoder], resume: bool) -> None:
        """Wait until rank 0 has begun, or has ended this session's writing."""
        first = self._lock_of(0)
        begun = time.monotonic()
        while True:
            job = self._job()
            ready = self._read_mark(0, "ready")
            if job is not None and ready is not None and ready["token"] == job["token"]:
                done = self._read_mark(0, "done")
                if (done is not None and done["token"] == job["token"]) or first.holder() == ready["lock"]:
                    break
            waited = time.monotonic() - begun
            if resume and job is None and waited > LOOK_SECONDS and first.holder() is None:
                self.base = self._published()
                if self.base is not None:
                    self._require_same(self.base.asked, self.base.encoders, fields, encoders)
                    self.over, self.order = True, list(self.base.fields)
                    return
            if waited > START_SECONDS:
                raise StoreError(
                    f"{self.target.url}: rank 0 of {self.ranks} did not begin within {START_SECONDS:.0f} seconds, so "
                    f"rank {self.rank} stops; start all ranks together"
                )
            time.sleep(POLL_SECONDS)
        self._require_job(job, fields, encoders)
        self.token, self.order = job["token"], list(job["fields"])
        self.base = self._published() if job["base"] else None
        self.partial.remove(self._mark(self.rank, "done"))

    def _published(self) -> TensorMeta | None:
        if self.target.exists(layout.MANIFEST):
            return read_manifest(self.target)
        if self.target.exists("zarr.json") or self.target.exists("latentstore.json"):
            raise StoreError(f"{self.target.url} is a store of another kind: choose another name")
        if self.target.local is not None and self.target.local.is_file():
            raise StoreError(f"{self.target.url} is a file: choose another name")
        return None

    def _job(self) -> dict[str, Any] | None:
        try:
            job = read_json(self.partial, JOB)
        except MissingError:
            return None
        if not isinstance(job.get("token"), str) or not isinstance(job.get("base"), bool):
            raise CorruptError(f"{self.partial.at(JOB)} is no job of a writer of tensors; remove {self.partial.url}")
        return job

    def _require_job(self, job: Mapping[str, Any], fields: Mapping[str, Any], encoders: Mapping[str, Encoder]) -> None:
        where = self.partial.at(JOB)
        old = {k: Encoder.of_json(v, where) for k, v in job["encoders"].items()}
        self._require_same(job["fields"], old, fields, encoders)

    def _is_job(self, job: Mapping[str, Any], fields: Mapping[str, Any], encoders: Mapping[str, Encoder]) -> bool:
        """Whether a session that replaces the store was begun with the same."""
        try:
            self._require_job(job, fields, encoders)
        except StoreError:
            return False
        return not job["base"]

    def _require_same(
        self, old: Mapping[str, Any], old_encoders: Mapping[str, Encoder], fields: Mapping[str, Any],
        encoders: Mapping[str, Encoder],
    ) -> None:  # fmt: skip
        """StoreError unless fields, as `asked_of` gives them, and encoders are the same."""
        for name in [*old, *(name for name in fields if name not in old)]:
            one, two = old.get(name), fields.get(name)
            if one != two:
                raise StoreError(
                    f"{self.target.url} was begun with other fields ({name!r} was {said_of(one, two)}, now "
                    f"{said_of(two, one)}): "
                    "resume it with the same fields, or start again by overwriting it",
                    remedy="overwrite",
                )
        for name in sorted({*old_encoders, *encoders}):
            was, now = old_encoders.get(name), encoders.get(name)
            differing = was.differences(now) if was is not None and now is not None else ["one is not given"]
            if was != now and (was is None or now is None or differing or was.to_json() != now.to_json()):
                raise StoreError(
                    f"{self.target.url}: the field {name!r} was begun with the encoder "
                    f"{'none' if was is None else repr(was.name)}, and now there is "
                    f"{'none' if now is None else repr(now.name)} ({'; '.join(differing) or 'scale or shift'}): "
                    "tensors of two encoders do not belong into one field; write another store",
                    remedy="overwrite",
                )

    # ---- marks and shards

    def _mark(self, rank: int, name: str) -> str:
        return f"ranks/{rank:04d}/{name}.json"

    def _read_mark(self, rank: int, name: str) -> dict[str, Any] | None:
        try:
            return read_json(self.partial, self._mark(rank, name))
        except MissingError:
            return None

    def check(self) -> None:
        """StoreError if another run has this rank's place now, or has begun the store anew."""
        self.lock.check()
        job = self._job()
        if job is None or job["token"] != self.token:
            raise StoreError(f"{self.target.url} was begun anew by another run meanwhile, so this one stops")

    def own_name(self, sequence: int) -> str:
        """The name of a shard of this rank. sequence: from 0 on, one for each shard."""
        return f"{self.token}-{self.rank:04d}-{sequence:06d}"

    def written(self) -> dict[str, int]:
        """Bytes of the shards that all ranks have written in this session, by name, in order of rank and time."""
        found = self.target.list(layout.SHARDS)
        prefix = f"{layout.SHARDS}/{self.token}-"
        return {name.removeprefix(f"{layout.SHARDS}/"): n for name, n in found.items() if name.startswith(prefix)}

    def begun_with(self) -> dict[str, int]:
        """`written`, and what a listing may lack of this rank's shards, since they were written a moment ago by a run
        that was killed: they are numbered without gaps."""
        found = self.written()
        for sequence in itertools.count():
            name = self.own_name(sequence)
            if name not in found:
                if not self.target.exists(layout.shard_name(name)):
                    return dict(sorted(found.items()))
                found[name] = self.target.size(layout.shard_name(name))
        raise AssertionError

    def tails(self, shards: Sequence[Shard], parts: Sequence[str]) -> Iterator[layout.Tail]:
        """The tails of shards. parts: of a sample."""
        for first in range(0, len(shards), TOGETHER):
            some = [(layout.shard_name(shard.name), shard) for shard in shards[first : first + TOGETHER]]
            ranges = [(name, shard.bytes - shard.tail, shard.bytes) for name, shard in some]
            for (name, _), data in zip(some, self.target.read_ranges(list(ranges)), strict=True):
                yield layout.decode_tail(data, parts, self.target.at(name))

    def read_tail(self, name: str, size: int, parts: Sequence[str]) -> tuple[Shard, layout.Tail]:
        """What a shard of this session holds. parts: of a sample."""
        where = self.target.at(layout.shard_name(name))
        end = self.target.read_ranges([(layout.shard_name(name), -layout.END_BYTES, None)])[0]
        tail_bytes = layout.tail_bytes(end, size, where)
        data = self.target.read_ranges([(layout.shard_name(name), size - tail_bytes, size)])[0]
        tail = layout.decode_tail(data, parts, where)
        sizes = tuple(int(n) for n in tail.lengths.sum(axis=0))
        if sum(sizes) + tail_bytes != size:
            raise CorruptError(f"{where}: its index and its size do not agree")
        return Shard(name, tail.count, size, tail_bytes, sizes), tail

    # ---- coders

    def coder_of(self, field: str) -> str | None:
        """The SHA-256 of the coder that a field has in this session; None where none is chosen yet."""
        try:
            return self.partial.read(self._coder_mark(field)).decode()
        except MissingError:
            return None

    def _coder_mark(self, field: str) -> str:
        # what is left of another session, since a listing lacked it when that was removed, is none of this one
        return f"coders/{self.token}/{field}"

    def choose_coder(self, field: str, sha256: str, data: bytes) -> str:
        """Propose a coder for a field; the SHA-256 of the one that it has from now on, of the first who proposed."""
        self.target.write(layout.coder_name(sha256), data)
        self.partial.create(self._coder_mark(field), sha256.encode())
        chosen = self.coder_of(field)
        if chosen is None:
            raise StoreError(f"{self.partial.at(self._coder_mark(field))} vanished while it was written; run it again")
        return chosen

    def wait_for_coder(self, field: str) -> str | None:
        """The coder that rank 0 has chosen; None where it has ended without a sample. StoreError if it is gone."""
        found: list[str] = []

        def there() -> bool:
            sha256 = self.coder_of(field)
            if sha256 is not None:
                found.append(sha256)
            return sha256 is not None or self._is_done(0)

        self._wait(there, 0, f"to fit the coder of {field!r}")
        return found[0] if found else self.coder_of(field)

    # ---- end

    def done(self, shards: list[str], earlier: int) -> None:
        """This rank has written all it has: its shards of this session, by name, the first `earlier` of which were
        there when it began."""
        self.check()
        mark = {"token": self.token, "shards": shards, "earlier": earlier}
        self.partial.write(self._mark(self.rank, "done"), json.dumps(mark).encode())

    def _is_done(self, rank: int) -> bool:
        mark = self._read_mark(rank, "done")
        return mark is not None and mark["token"] == self.token

    def all_done(self, idle: bool) -> dict[str, bool] | None:
        """Wait for all ranks; the shards that they say they have written, and whether each was there when its rank
        began. StoreError if one of them is gone.

        idle: this rank has nothing new for a store that is published. If a rank is gone then and no rank has written
        anything, the others have ended with what is published, and this one was only started again: None.
        """
        shards = dict[str, bool]()
        for rank in range(self.ranks):
            if not self._wait(lambda rank=rank: self._is_done(rank), rank, "to finish", idle):  # type: ignore[misc]
                return None
            mark = self._read_mark(rank, "done") or {}
            shards |= {name: at < mark["earlier"] for at, name in enumerate(mark.get("shards", []))}
        return shards

    def wait_for_end(self) -> None:
        """Wait until rank 0 has published, or ended without anything new. StoreError if it is gone."""
        self._wait(self._over, 0, "to publish")

    def _over(self) -> bool:
        published = read_manifest(self.target) if self.target.exists(layout.MANIFEST) else None
        if published is not None and published.session == self.token:
            return True
        job = self._job()
        return job is None or job["token"] != self.token

    def _wait(self, there: Callable[[], bool], rank: int, what: str, idle: bool = False) -> bool:
        """Wait for something that `rank` does. If it is gone: StoreError, or False where `all_done` says so."""
        lock, gone = self._lock_of(rank), None
        while not there():
            self.lock.check()
            if rank != self.rank and lock.holder() is None:
                gone = gone or time.monotonic() + START_SECONDS
                if time.monotonic() > gone and not there():
                    if idle and not self.written():
                        return False
                    raise StoreError(
                        f"{self.target.url}: rank {self.rank} waited for rank {rank} {what}, and that does not run any "
                        f"more: start it again within {START_SECONDS:.0f} seconds, or resume all ranks. Nothing that "
                        "is written is lost",
                        remedy="resume",
                    )
            else:
                gone = None
            time.sleep(POLL_SECONDS)
        return True

    def publish(self, meta: TensorMeta) -> None:
        """Make a version the newest one. May be cut off anywhere, and is then run again."""
        data = json.dumps(meta.attributes, ensure_ascii=False, indent=1).encode()
        self.check()
        self.target.write(layout.version_name(meta.version), data)
        self.target.write(layout.MANIFEST, data)

    def _discard(self, token: str) -> None:
        """Remove the shards of a session that is given up."""
        self.token = token
        self.target.remove_objects(map(layout.shard_name, self.written()))
        self.wipe()

    def wipe(self) -> None:
        """Remove all the bookkeeping but the locks; the job last."""
        there = self.partial.list()
        self.partial.remove_objects(n for n in there if n != JOB and not (n.startswith("ranks/") and "/lock" in n))
        if JOB in there or self.partial.exists(JOB):  # who may remove nothing may begin all the same
            self.partial.remove_objects([JOB])

    def tidy(self) -> None:
        """`wipe` after publishing. Where that fails, it is told, and is no error: the next run does it."""
        try:
            self.wipe()
        except StoreError as error:
            _logger.warning(
                "%s is published; what is left of its writing could not be removed, and the next run will try it again "
                "(%s)",
                self.target.url, error,
            )  # fmt: skip

    def end(self, unanswered: bool = False) -> None:
        """Give the lock back. unanswered: the server does not answer, so nothing more is asked of it."""
        if unanswered:
            self.lock.abandon()
            return
        self.lock.release()
        if self.partial.local is not None and self.partial.local.exists():
            self.partial.prune()
