"""A store that was removed, or replaced by another one, while somebody reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from latentstore.codecs.errors import CorruptError, LatentstoreError, StoreError
from latentstore.loaders.reader import BlockReader
from latentstore.loaders.remote.client import MissingError, ServerError


class ChangedError(StoreError):
    """The store is not the one that was opened. Nothing more can be read of it."""


@contextmanager
def still_there(reader: BlockReader) -> Iterator[None]:
    """Within this block, what goes wrong because the store was removed or replaced is raised as ChangedError.

    After an error, the manifest is read again and compared with the one that the reader has.
    """
    try:
        yield
    except (CorruptError, StoreError) as error:
        if not isinstance(error, ServerError | ChangedError):
            said = _change(reader)
            if said is not None:
                raise ChangedError(f"{reader.location.url} {said} ({error})") from error
        raise


def _change(reader: BlockReader) -> str | None:
    """What has happened to the store, if anything did."""
    try:
        now = reader.digest_now()
    except MissingError:
        return "was removed while it was being read"
    except LatentstoreError:
        return None
    return "was replaced while it was being read: open it again" if now != reader.digest else None
