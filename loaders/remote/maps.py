"""Mapped files: of all stores together, fewer at a time than the files that the process may have open.

Python keeps a descriptor for every map, and the usual limit is 1024 of them, or 256. So the oldest maps make room for
new ones. A map that is in use is never taken away from its reader: where all are in use, there is no new one.
"""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections import deque

import numpy as np

from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote.location import Location

# Maps may have one in so many of the process's descriptors. The others are for sockets, pipes and files of others.
SHARE = 2
# Linux allows 65,530 maps per process, and other code makes some, too.
MOST = 1 << 14
# How many of the oldest maps are looked at for one that nobody uses.
LOOKS = 8

_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Maps:
    """The mapped files of one location, by numbers. Thread-safe.

    found: uint8 (bytes,) of each file that is mapped now. Readers look here first, without a lock.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self.found: dict[int, np.ndarray] = {}

    def map(self, number: int, name: str) -> np.ndarray | None:
        """uint8 (bytes,): the file `name`, which has this number, mapped read-only. None if no map is free for it.

        MissingError or StoreError if it cannot be read.
        """
        with _lock:
            known = self.found.get(number)
            if known is not None or not _make_room(most_maps()):
                return known
            made = self.found[number] = self._new(name)
            key = id(made)
            _alive[key] = weakref.ref(made, lambda _: _alive.pop(key, None))
            _oldest.append((weakref.ref(self), number))
            return made

    def _new(self, name: str) -> np.ndarray:
        try:
            return self._location.map(name)
        except StoreError as error:
            if getattr(error.__cause__, "errno", None) not in _FULL:
                raise
            # Others have taken more descriptors than this module leaves them.
            for _ in range(-(-len(_oldest) // 2)):
                _drop_oldest()
            return self._location.map(name)


# All maps that somebody still views, also those that no `Maps` has any more; and those that one has, oldest first.
_alive: dict[int, weakref.ref[np.ndarray]] = {}
_oldest: deque[tuple[weakref.ref[Maps], int]] = deque()
_lock = threading.Lock()


def _after_fork() -> None:
    # A lock that another thread of the parent held would never be released in the child.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def most_maps() -> int:
    """How many files may be mapped at a time. The limit of the process is asked each time: a program may change it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(1, min(MOST, soft // SHARE))


def _make_room(most: int) -> bool:
    """Whether there may be another map, now that old ones that nobody uses have gone."""
    for _ in range(LOOKS):
        if len(_alive) < most or not _oldest:
            break
        _drop_oldest()
    return len(_alive) < most


def _drop_oldest() -> None:
    """Unmap the oldest map. If it is in use, it is the newest from now on."""
    owner, number = _oldest.popleft()
    maps = owner()
    if maps is None:
        return
    found = maps.found.pop(number)
    viewed = weakref.ref(found)
    del found
    still = viewed()
    if still is not None:
        maps.found[number] = still
        _oldest.append((owner, number))
