"""One entry of a source: where its signal lies, its key, what is known about it, and how to read it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Self

import numpy as np

from latentstore.codecs.errors import SignalError

__all__ = [
    "AUDIO_EXTENSIONS",
    "IMAGE_EXTENSIONS",
    "BadItem",
    "Field",
    "Item",
    "key_of",
    "text_of",
    "unique_keys",
]

Field = int | float | str | bytes

# What images and recordings are called where a name has to decide: in tars. In folders content decides.
# fmt: off
IMAGE_EXTENSIONS = {
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "tif", "tiff", "bmp", "dib", "ppm", "pgm", "pbm",
    "pnm", "avif", "jp2", "j2k", "jpx", "tga", "qoi", "pcx", "ico", "sgi",
}
AUDIO_EXTENSIONS = {"wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc"}
# fmt: on


@dataclass(frozen=True)
class Item:
    """Base of all items; they are small and pickle, so that a worker anywhere can read them.

    key: names the sample in the store, unique in the source. path: where it is, for people. size_bytes: of
    the file or member, None if unknown. stamp: changes when the content changes, as far as the source tells.
    fields: what the listing knows: the class of its folder, columns of a CSV, neighbours of a Zarr array.
    """

    key: str
    path: str
    size_bytes: int | None = None
    stamp: str = ""
    fields: dict[str, Field] = field(default_factory=dict)

    def read(self) -> bytes | np.ndarray:
        """The image or recording, for `read_image` or `read_audio`. Raises SignalError where there is none,
        StoreError where what holds the source does not answer."""
        return self.load()[0]

    def load(self) -> tuple[bytes | np.ndarray, dict[str, Field]]:
        """The signal and all its fields, also those that lie beside it, in one go. Errors as in `read`."""
        raise SignalError("nothing is stored for it")

    def opened(self) -> BinaryIO:
        """Its file, to read a header from. Errors as in `read`, and OSError."""
        raise SignalError("it is no file")

    def with_(self, **changes: Any) -> Self:
        """A copy with other values."""
        return replace(self, **changes)


@dataclass(frozen=True)
class BadItem(Item):
    """An entry that is known to hold no signal before it is read, so that it is reported like any other."""

    reason: str = ""

    def load(self) -> tuple[bytes | np.ndarray, dict[str, Field]]:
        raise SignalError(self.reason)


def text_of(name: str) -> str:
    """A file's name as text that can be stored: bytes of it that are no UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def key_of(path: str) -> str:
    """The key that a relative path asks for: without its extension, dots in the last part made underscores.

    WebDataset ends a key at the first dot of the last part, so it can hold none.
    """
    folder, slash, name = text_of(path).rpartition("/")
    return folder + slash + PurePosixPath(name).stem.replace(".", "_")


def unique_keys(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """A key for each (key, suffix): the key, or KEY_SUFFIX where it is taken, or KEY_SUFFIX_2, _3, ..."""
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
