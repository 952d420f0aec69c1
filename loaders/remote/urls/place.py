"""What a path or URL means: a folder of this machine, one elsewhere, a whole bucket, or no place at all."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from latentstore.codecs.errors import ArgumentError

__all__ = ["is_bucket", "is_marker", "local_path", "path_here", "require_place"]

# Protocols, whose names could also be those of folders of this machine.
_PROTOCOLS = "s3|s3a|gs|gcs|az|abfs|abfss|adl|hf|oci|oss|http|https|hdfs|webhdfs|ftp|sftp|ssh|smb|memory"
# One without two slashes and a name behind them. Where there are no buckets, three slashes may be meant.
_NO_PLACE = re.compile(rf"({_PROTOCOLS}):(/?$|/[^/]|(?<=s3:|gs:)///|(?<=s3a:|gcs:)///)")
_BUCKET = re.compile(r"(s3|s3a|gs|gcs)://[^/]+/*")


def local_path(url: str) -> Path | None:
    """Of a folder of this machine its path from the root on, so that it stays the same when the process changes its
    folder; None of a folder elsewhere."""
    if "://" not in url and "::" not in url:
        path = Path(url).expanduser()
    elif url.startswith(("file://", "local://")):
        path = Path(url.split("://", 1)[1])
    else:
        return None
    with suppress(OSError):  # the folder of the process is gone
        return path.absolute()
    return path


def path_here(path: str | os.PathLike[str], what: str) -> Path:
    """A path of this machine as users give it. ArgumentError if it is a URL. what: is said of it there."""
    text = os.fspath(path)
    require_place(text.rstrip("/"), text)
    if local_path(text) is None:
        raise ArgumentError(f"{text} is not on this machine, and {what}: give a path of this machine")
    return Path(text.split("://", 1)[-1])


def require_place(url: str, given: str) -> None:
    """ArgumentError for what looks like a URL and names no folder. url: without slashes at its end."""
    scheme = _NO_PLACE.match(url)
    if scheme is not None:
        raise ArgumentError(
            f"{given} names no place: a URL has two slashes and then a name, as in {scheme[1]}://bucket/name. "
            "pathlib leaves out one of the slashes, so give a URL as text"
        )
    if "?versionId=" in url:
        raise ArgumentError(f"{given} names a version of one object, and a folder is expected: give its URL alone")


def is_bucket(url: str) -> bool:
    """Whether it is a whole bucket, which has nothing beside it."""
    return _BUCKET.fullmatch(url) is not None


def is_marker(name: str) -> bool:
    """Whether an object of this name in a folder only shows that there is a folder: consoles of object stores and
    Hadoop write these, without bytes."""
    return not name or name.endswith(("/", "_$folder$"))
