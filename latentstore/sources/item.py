"""One entry of a source: its key, what is known about it, and how to read its signal."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Self

import numpy as np

from latentstore.codecs.errors import SignalError
from latentstore.loaders.columns import Field

__all__ = [
    "AUDIO_EXTENSIONS",
    "IMAGE_EXTENSIONS",
    "MAX_FILE_BYTES",
    "BadItem",
    "Item",
    "key_of",
    "text_of",
    "unique_keys",
]

MAX_FILE_BYTES = 1 << 30
"""Of a file that is read whole. No image of as many pixels as are read needs a larger one."""
# Extensions by which images and recordings are recognised in tars. In folders the content of a file decides.
# fmt: off
IMAGE_EXTENSIONS = {
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "tif", "tiff", "bmp", "dib", "ppm", "pgm", "pbm",
    "pnm", "avif", "jp2", "j2k", "jpx", "tga", "qoi", "pcx", "ico", "sgi",
}
AUDIO_EXTENSIONS = {
    "wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc", "w64", "rf64", "bw64", "au", "caf",
    "sph",
}
# fmt: on


@dataclass(frozen=True)
class Item:
    """Base of all items. They are small and can be pickled, so that a worker on any machine can read them.

    key: the name of the sample in the store, unique in the source. path: where it is, for people. size_bytes: of the
    file or member, None if unknown. stamp: a text that changes when the content changes, if the source tells.
    fields: what the listing knows: the class of its folder, columns of a CSV file, arrays beside a Zarr array.
    """

    key: str
    path: str
    size_bytes: int | None = None
    stamp: str = ""
    fields: dict[str, Field] = field(default_factory=dict)

    def read(self) -> bytes | np.ndarray:
        """The image or recording, for `read_image` or `read_audio`.

        SignalError if there is none; StoreError if what holds the source does not answer.
        """
        return self.load()[0]

    def load(self) -> tuple[bytes | np.ndarray, dict[str, Field]]:
        """(the signal, all its fields), also those fields that are stored beside it. Errors as in `read`."""
        raise SignalError("nothing is stored for it")

    def opened(self) -> BinaryIO:
        """Its file, to read a header from. Errors as in `read`; reading from it may raise OSError too."""
        raise SignalError("it is not a file")

    def origin(self) -> tuple[Item, str]:
        """(the entry of the source that it is of, which piece of it, as text): most are whole entries, which are "" of
        themselves."""
        return self, ""

    @property
    def stamp_tells(self) -> bool:
        """Whether its stamp changes whenever its content does."""
        return bool(self.stamp)

    def fingerprint(self) -> str:
        """A hash of what is stored for it, where that costs far less than to make a sample of it; else "", and only its
        stamp tells whether it has changed. SignalError if it cannot be read."""
        return ""

    @property
    def is_local(self) -> bool:
        """Whether its file lies on this machine, so that all of it can be read at little cost."""
        return False

    def with_(self, **changes: Any) -> Self:
        """A copy with other values."""
        return replace(self, **changes)


@dataclass(frozen=True)
class BadItem(Item):
    """An entry of which the listing knows that it cannot be read. It is an item so that it is reported like others.

    reason: the message of the SignalError that reading it raises.
    """

    reason: str = ""

    def load(self) -> tuple[bytes | np.ndarray, dict[str, Field]]:
        raise SignalError(self.reason)


def text_of(name: str) -> str:
    """The name of a file as text that can be stored: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def key_of(path: str) -> str:
    """The key for a relative path: the path without its extension, and with underscores for dots in its last part.

    WebDataset ends a key at the first dot of the last part, so a key can hold none there.
    """
    folder, slash, name = text_of(path).rpartition("/")
    return folder + slash + PurePosixPath(name).stem.replace(".", "_")


def unique_keys(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """A key for each (key, suffix): KEY, or KEY_SUFFIX if that is taken already, or KEY_SUFFIX_2, _3, ..."""
    taken: set[str] = set()
    keys = []
    for key, suffix in wanted:
        unique, count = key, 1
        while unique in taken:
            unique = f"{key}_{suffix}" if suffix else key
            unique = f"{unique}_{count}" if count > 1 else unique
            count += 1
        taken.add(unique)
        keys.append(unique)
    return keys
