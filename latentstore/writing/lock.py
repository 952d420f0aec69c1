"""One run at a time: the file ``lock`` in ``TARGET.partial`` says which run is writing the store.

A run that was killed leaves its lock behind. On the same machine this is noticed at once, because its process is gone.
From another machine (a batch job that was started again elsewhere, a container with a new name) the lock is watched:
a living run renews its lock every few seconds, so a lock that does not change belongs to no living run.

A dead lock is never deleted to make room, for the next run could then delete the lock of the one that was faster.
Instead the lock with the token T is followed by the file ``lock.T``, which only one run can create: on local file
systems and object stores with conditional writes, no two runs create one file. So locks form a chain, and its last one
counts. A run that gives its lock up first creates the next file itself. So nobody can take the lock over while its
files are removed.

An object store without conditional writes is noticed. There a run waits after it has written its lock, and reads it
again: the run that wrote last has it. A run that was delayed for longer may still overwrite the lock; then the other
one finds out with its next beat, and stops before its next shard.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
import weakref
from typing import Any

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import StoreError
from latentstore.loaders.manifest import PARTIAL
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location

LOCK = "lock"
BEAT_SECONDS = 10.0
# Several times the beat: a network that stalls for a moment must not cost a living run its store.
WATCH_SECONDS = 60.0
LOOK_SECONDS = 1.0
# On an object store without conditional writes: other runs that saw the same lock have written theirs by then.
SETTLE_SECONDS = 3.0

_logger = logging.getLogger("latentstore")
# The locks of this process, by their tokens.
_held: weakref.WeakValueDictionary[str, Lock] = weakref.WeakValueDictionary()


class Lock:
    """The lock of the store that grows in `partial`. Held from `acquire` to `release`, or until it is forgotten."""

    def __init__(self, partial: Location) -> None:
        self.place = partial
        self._owner = {
            "token": secrets.token_hex(8),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        }
        self._name = LOCK
        self._beats = 0
        self._renewed = 0.0
        self._lost = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Take the lock, and renew it from now on in a thread. StoreError naming its owner if a living run has it."""
        _held[self.token] = self
        try:
            self._take()
        except BaseException as error:
            _held.pop(self.token, None)  # this process may try again while somebody keeps the error, and all it holds
            if isinstance(error, MissingError):
                raise StoreError(f"{self._store} cannot be written: there is no such bucket") from error
            raise
        self._renewed = time.monotonic()
        arguments = (weakref.ref(self), self._stop)
        self._thread = threading.Thread(target=_renew, args=arguments, name="latentstore-lock", daemon=True)
        weakref.finalize(self, self._stop.set)
        self._thread.start()

    def _take(self) -> None:
        self._name = self._free_name()
        if not self.place.create(self._name, self._text()):
            raise self._taken(self._last())
        if not self.place.excludes:
            time.sleep(SETTLE_SECONDS)
        if not self._mine():
            self._remove_own()
            raise self._taken(self._last())

    def check(self) -> None:
        """StoreError if another run has taken the lock over, because this one was silent for too long."""
        if not self._lost and time.monotonic() - self._renewed > 2 * BEAT_SECONDS:
            self._lost = not self._mine()
        if self._lost:
            raise StoreError(
                f"{self._store} is being written by another run now ({_said(self._last())}): it took this one for "
                "dead, which was silent for too long, so this one stops"
            )

    def holder(self) -> str | None:
        """The token of the living run that has the lock; None if none has it. It may take `WATCH_SECONDS` to tell."""
        chain = self._chain()
        if not chain or chain[-1][1].get("released") or not self._lives(chain):
            return None
        return str(chain[-1][1].get("token"))

    @property
    def token(self) -> str:
        """What stands for this run in its lock."""
        return str(self._owner["token"])

    def release(self) -> None:
        """Remove the lock if it is this run's own, and the folder if nothing else is in it.

        Where that fails, it is told, and is no error: the run has ended, well or by an error of its own.
        """
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        mark = {**self._owner, "token": secrets.token_hex(8), "released": True}
        _held[str(mark["token"])] = self
        try:
            if self._mine() and self.place.create(_next(self._owner, b""), json.dumps(mark).encode()):
                names = [name for name in self.place.list() if name.lstrip(".").startswith(LOCK)]
                # From its first file on the chain is gone, and another run may begin a new one. So this one is first.
                for name in sorted(names, key=lambda name: name != LOCK):
                    self.place.remove_objects([name])
                self.place.prune()
        except StoreError as error:
            _logger.warning(
                "the lock of %s could not be removed; another run may have to wait until this process has ended (%s)",
                self._store, error,
            )  # fmt: skip
        finally:
            for token in (self._owner["token"], mark["token"]):
                _held.pop(str(token), None)

    def abandon(self) -> None:
        """Renew the lock no longer, and leave it where it is, since the server does not answer. The next run sees that
        it is dead."""
        self._stop.set()
        self._thread = None
        _held.pop(self.token, None)

    @property
    def _store(self) -> str:
        return self.place.url.rpartition(PARTIAL)[0]

    def _free_name(self) -> str:
        """The name of the file to create, now that no living run has the lock."""
        while True:
            chain = self._chain()
            if not chain:
                return LOCK
            if self._lives(chain):
                raise self._taken(chain[-1][1])
            if self._chain() == chain:
                return _next(chain[-1][1], chain[-1][2])

    def _beat(self) -> bool:
        """Renew the lock. Returns whether to go on with that."""
        try:
            if not self._mine():
                self._lost = True
                return False
            self._beats += 1
            self.place.write(self._name, self._text())
            self._renewed = time.monotonic()
        except StoreError:  # a full disk or a lost connection: the run itself will meet it, and say so
            pass
        return True

    def _mine(self) -> bool:
        return self._last().get("token") == self._owner["token"]

    def _remove_own(self) -> None:
        """Remove the file that this run created and that is no part of the chain."""
        found = self._read(self._name)
        if found is not None and found[0].get("token") == self._owner["token"]:
            self.place.remove(self._name)

    def _text(self) -> bytes:
        return json.dumps({**self._owner, "beats": self._beats}).encode()

    def _chain(self) -> list[tuple[str, dict[str, Any], bytes]]:
        """(name, what it says, its bytes) of the locks that follow each other; the last one counts."""
        found: list[tuple[str, dict[str, Any], bytes]] = []
        name = LOCK
        while name not in (known for known, _, _ in found) and (one := self._read(name)) is not None:
            found.append((name, *one))
            name = _next(*one)
        return found

    def _last(self) -> dict[str, Any]:
        chain = self._chain()
        return chain[-1][1] if chain else {}

    def _read(self, name: str) -> tuple[dict[str, Any], bytes] | None:
        """What a lock says, {} if that cannot be read, and its bytes; None if there is none."""
        try:
            content = self.place.read(name)
        except MissingError:
            return None
        try:
            found = json.loads(content)
        except ValueError:
            return {}, content
        return found if isinstance(found, dict) else {}, content

    def _lives(self, chain: list[tuple[str, dict[str, Any], bytes]]) -> bool:
        found = chain[-1][1]
        pid = found.get("pid")
        if found.get("host") == self._owner["host"] and isinstance(pid, int):
            if pid == os.getpid():
                return found.get("token") in _held
            if os.name == "posix":  # elsewhere asking would end the process
                if not _exists(pid):
                    return False
                if not found.get("released"):  # a process that could not remove its lock may live on
                    return True
        end = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
            now = self._chain()
            if now != chain:
                # Given up: then there is none, or one that another run has created since, to be looked at in its turn.
                return bool(now) and now[-1][0] == chain[-1][0] and not now[-1][1].get("released")
        return False

    def _taken(self, found: dict[str, Any]) -> StoreError:
        return StoreError(
            f"{self._store} is being written by another run ({_said(found)}): wait for it, or stop it. If that process "
            f"is not a conversion any more, delete the file {self.place.at(LOCK)} and resume."
        )


def _renew(reference: weakref.ref[Lock], stop: threading.Event) -> None:
    # The thread keeps no lock alive: a writer that is forgotten without `release` is no living run.
    while not stop.wait(BEAT_SECONDS):
        lock = reference()
        if lock is None or not lock._beat():
            return
        del lock


def _next(found: dict[str, Any], content: bytes) -> str:
    """The name of the lock that follows one."""
    token = found.get("token")
    if not (isinstance(token, str) and token.isalnum() and token.isascii()):  # written by nobody of ours
        token = f"{crc32c(content):08x}"
    return f"{LOCK}.{token}"


def _said(found: dict[str, Any]) -> str:
    if not found:
        return "which has begun or ended at this moment"
    return f"process {found.get('pid')} on {found.get('host')}, since {found.get('since')}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
