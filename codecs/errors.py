"""Every error that latentstore raises on purpose.

A message is one sentence or two: what happened, where (file, shard, key), what was expected, what to do.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "ArgumentError",
    "ArtifactError",
    "AudioError",
    "CorruptError",
    "ImageError",
    "LatentstoreError",
    "SignalError",
    "StoreError",
    "TruncatedError",
    "UnsupportedVersionError",
]

Remedy = Literal["resume", "overwrite"]


class LatentstoreError(Exception):
    """Base of every error here: catch this one to catch them all.

    index: where several blobs were decoded in one call, the position of the first bad one; otherwise None.
    remedy: the option of `convert` that helps, if one does: "resume" goes on with an interrupted conversion,
    "overwrite" replaces what is at the target. option: the argument of the function that was called, such as
    "key_column", that would decide what is not clear. Messages do not name options of the command line, which adds
    them.
    """

    def __init__(
        self,
        message: str = "",
        index: int | None = None,
        remedy: Remedy | None = None,
        option: str | None = None,
    ) -> None:
        super().__init__(message)
        self.index = index
        self.remedy = remedy
        self.option = option


class ArgumentError(LatentstoreError, ValueError):
    """An argument, an option or a shape that cannot be meant: the caller is to change it."""


class CorruptError(LatentstoreError):
    """Bytes that contradict themselves: a checksum, a size or a reserved value is wrong."""


class TruncatedError(CorruptError):
    """Bytes that end before what they announce."""


class UnsupportedVersionError(LatentstoreError):
    """Written by a format version that this release does not read: a newer release may."""


class ArtifactError(LatentstoreError):
    """The artifact that made these bytes is missing, damaged or another one."""


class StoreError(LatentstoreError):
    """A store that is missing, unfinished, or lacks one of its parts."""


class SignalError(LatentstoreError):
    """An entry of a source that cannot be read; the message is the reason alone, without its name."""


class ImageError(SignalError):
    """A file or array that cannot be read as an image."""


class AudioError(SignalError):
    """A file or array that cannot be read as audio."""
