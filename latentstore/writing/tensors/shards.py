"""Shards that are written while they are made: by a thread of their own, one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Condition, Thread

from latentstore.codecs.errors import LatentstoreError, StoreError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout

MOST_WAITING = 8 << 20
"""Bytes that wait to be written, before whoever makes them waits, too: so much is coded while a shard is synced."""


class Shards:
    """Shards on their way to a store.

    A piece is written as soon as it is there, and a shard gets its name once it is whole and synced. What fails in the
    thread is raised by every later call. check: called before a shard gets its name; it raises what keeps it from it.
    """

    def __init__(self, target: Location, check: Callable[[], None]) -> None:
        self._target, self._check = target, check
        self._changed = Condition()
        self._pieces: deque[_Piece] = deque()
        self._waiting = 0  # bytes, also of the piece that is being written
        self._whole = 0  # shards that have all their pieces, and no name yet
        self._error: Exception | None = None  # set when the thread ends
        self._stopped = False
        self._thread: Thread | None = None

    def add(self, name: str, parts: Sequence[bytes], last: bool = False) -> None:
        """The next bytes of the shard `name`; of another one after the last piece of the one before."""
        size = sum(map(len, parts))
        with self._changed:
            self._changed.wait_for(
                lambda: self._error is not None or not self._waiting or self._waiting + size <= MOST_WAITING
            )
            self._raise()
            self._pieces.append(_Piece(name, parts, size, last))
            self._waiting += size
            self._whole += last
            self._changed.notify_all()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="latentstore-shards", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Wait until all shards that have their last piece have their names."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or not self._whole)
            self._raise()

    def stop(self) -> None:
        """Forget the shard that is not whole; nothing comes any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop, and wait until nothing is written any more."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    # ---- in the thread

    def _run(self) -> None:
        try:
            while True:
                piece = self._take()
                self._target.write(layout.shard_name(piece.name), self._parts(piece))
                with self._changed:
                    self._whole -= 1
                    self._changed.notify_all()
        except _StoppedError:
            pass
        except (LatentstoreError, OSError, MemoryError) as error:
            self._error = error
        finally:
            with self._changed:
                self._error = self._error or StoreError("the thread that writes shards has ended")
                self._changed.notify_all()

    def _take(self) -> _Piece:
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._stopped)
            if not self._pieces:
                raise _StoppedError
            return self._pieces.popleft()

    def _parts(self, piece: _Piece) -> Iterator[bytes]:
        """All bytes of a shard, from its first piece on."""
        while True:
            yield from piece.parts
            with self._changed:
                self._waiting -= piece.size
                self._changed.notify_all()
            if piece.last:
                break
            piece = self._take()
        self._check()


@dataclass(frozen=True)
class _Piece:
    """Bytes of a shard."""

    name: str
    parts: Sequence[bytes]
    size: int
    last: bool


class _StoppedError(Exception):
    """Nothing more will come."""
