"""A session that writes a new version of a store of latents: one run at a time, with any number of restarts.

Locks, names of shards and publishing are those of all stores with versions: `latentstore.writing.tensors.session`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from latentstore.codecs.errors import StoreError
from latentstore.loaders.manifest import ARTIFACT
from latentstore.loaders.remote.client import UnansweredError
from latentstore.loaders.tensors.manifest import TensorMeta
from latentstore.writing.tensors.session import JOB, Session

Refusal = Callable[[Mapping[str, Any]], str]
"""Given the settings of an interrupted run, says what this one has otherwise; "" if it may go on with it."""


class LatentSession(Session):
    """Holds the lock from `begin_version` to `end`."""

    def __init__(self, url: str, storage_options: dict[str, Any] | None) -> None:
        super().__init__(url, storage_options, 0, 1)

    def begin_version(
        self, settings: Mapping[str, Any], artifact: bytes, refusal: Refusal, *, replace: bool, resume: bool,
        discard: bool,
    ) -> None:  # fmt: skip
        """Begin a version, or go on with one. settings: what `refusal` of a later run is asked about. replace: the
        version has no sample of the one before.

        resume: go on with an interrupted run if it may. discard: throw it away if not; without it, it is in the way.
        StoreError says what stands in the way.
        """
        self.lock.acquire()
        try:
            published = self._published()
            if published is not None and published.alone is None:
                raise StoreError(f"{self.target.url} is a store of tensors: choose another name")
            self.base = None if replace else published
            job = self._unpublished_job(published)
            if job is not None:
                job = self._settled_job(job, refusal, resume, discard)
            if job is None:
                job = self._new_job(settings, artifact)
            self.token = job["token"]
        except BaseException as error:
            self.end(isinstance(error, UnansweredError))
            raise

    def _unpublished_job(self, published: TensorMeta | None) -> dict[str, Any] | None:
        job = self._job()
        if job is not None and published is not None and published.session == job["token"]:
            self.wipe()  # it was published, and stopped before tidying up
            return None
        return job

    def _settled_job(self, job: dict[str, Any], refusal: Refusal, resume: bool, discard: bool) -> dict[str, Any] | None:
        """The job that this run goes on with; None where it is thrown away."""
        same = job["base"] == (self.base is not None)
        why = refusal(job.get("settings", {})) if same else "it was to replace the store, or to add to it"
        if resume and not why:
            return job
        if not discard:
            said = f" with other settings ({why})" if resume else ""
            raise StoreError(
                f"{self.partial.url} holds an interrupted conversion{said}: resume it with its own settings, or start "
                "again by overwriting it",
                remedy="overwrite" if resume else "resume",
            )
        self._discard(job["token"])
        return None

    def _new_job(self, settings: Mapping[str, Any], artifact: bytes) -> dict[str, Any]:
        self.wipe()
        # a writer of tensors that finds it sees that it is none of its own
        own = {"token": secrets.token_hex(8), "base": self.base is not None, "fields": {}, "encoders": {}}
        job = {**own, "settings": dict(settings)}
        self.partial.write(ARTIFACT, artifact)
        self.partial.write(JOB, json.dumps(job, ensure_ascii=False, indent=1).encode())
        return job

    def newest(self) -> TensorMeta | None:
        """The version that is published now. StoreError if there is a store of another kind."""
        return self._published()

    def discard(self) -> None:
        """Remove what this session has written, and all of its bookkeeping."""
        self._discard(self.token)
