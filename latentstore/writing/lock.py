"""One run at a time: the file ``lock`` in ``TARGET.partial`` says which run is writing the store.

A run that was killed leaves its lock behind. On the same machine this is noticed at once, because its process is gone.
From another machine (a batch job that was started again elsewhere, a container with a new name) the lock is watched:
a living run renews its lock every few seconds, so a lock that does not change belongs to no living run.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from typing import Any

from latentstore.codecs.errors import StoreError
from latentstore.loaders.manifest import PARTIAL
from latentstore.loaders.remote.location import Location, MissingError

LOCK = "lock"
BEAT_SECONDS = 10.0
# Several times the beat: a network that stalls for a moment must not cost a living run its store.
WATCH_SECONDS = 60.0
LOOK_SECONDS = 1.0


class Lock:
    """The lock of the store that grows in `partial`. Held from `acquire` to `release`."""

    def __init__(self, partial: Location) -> None:
        self.place = partial
        self._owner = {
            "token": secrets.token_hex(8),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        }
        self._beats = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Take the lock; StoreError naming its owner if a living run has it."""
        found = self._read()
        if found is not None:
            if self._lives(found):
                raise self._taken(found)
            self.place.remove(LOCK)
        if not self.place.create(LOCK, self._text()):
            raise self._taken(self._read() or {})

    def beat(self) -> None:
        """From now on renew the lock, in a thread, so that other machines see that this run is alive."""
        self._thread = threading.Thread(target=self._renew, name=self._thread_name(self._owner), daemon=True)
        self._thread.start()

    def rest(self) -> None:
        """Stop renewing the lock; the lock stays."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def release(self) -> None:
        """Remove the lock if it is this run's own, and the folder if nothing else is in it."""
        self.rest()
        if self._mine():
            self.place.remove(LOCK)
            if not self.place.list():
                self.place.remove()

    def _renew(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                if not self._mine():
                    return
                self._beats += 1
                self.place.write(LOCK, self._text())
            except StoreError:  # a full disk or a lost connection: the run itself will meet it, and say so
                continue

    def _mine(self) -> bool:
        return (self._read() or {}).get("token") == self._owner["token"]

    def _text(self) -> bytes:
        return json.dumps({**self._owner, "beats": self._beats}).encode()

    def _read(self) -> dict[str, Any] | None:
        """What the lock says, {} if that cannot be read (it is being written), None if there is none."""
        try:
            found = json.loads(self.place.read(LOCK))
        except MissingError:
            return None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _lives(self, found: dict[str, Any]) -> bool:
        if found.get("host") == self._owner["host"]:
            if found.get("pid") == os.getpid():
                return any(thread.name == self._thread_name(found) for thread in threading.enumerate())
            if os.name == "posix":  # elsewhere asking would end the process
                return _exists(int(found["pid"]))
        end = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
            now = self._read()
            if now != found:
                return now is not None
        return False

    def _thread_name(self, owner: dict[str, Any]) -> str:
        return f"latentstore-lock-{owner.get('token')}"

    def _taken(self, found: dict[str, Any]) -> StoreError:
        owner = f"process {found.get('pid')} on {found.get('host')}, since {found.get('since')}"
        return StoreError(
            f"{self.place.url.removesuffix(PARTIAL)} is being written by another run ({owner}): wait for it, or stop "
            f"it. If that process is not a conversion any more, delete the file {self.place.at(LOCK)} and resume."
        )


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
