"""What kind of source a URL is, and where its parts are."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.loaders.remote.location import Location
from latentstore.sources.folder import left_out

__all__ = ["expand_braces", "find_tars", "is_zarr", "split_file"]

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup")
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")


def is_zarr(location: Location) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any(location.exists(mark) for mark in ZARR_MARKS)


def find_tars(
    url: str | os.PathLike[str] | Sequence[str], options: dict[str, Any], extensions: Collection[str]
) -> list[tuple[Location, str]] | None:
    """Each tar as its folder and its name in it; None where the source is no tars.

    extensions: of files that, beside tars, could be meant as well.
    """
    if not isinstance(url, str | os.PathLike):
        urls = [tar for pattern in url for tar in expand_braces(pattern)]
        if not urls or not all(tar.endswith(".tar") for tar in urls):
            raise ArgumentError("a list is a source where each of its names ends in .tar")
        return [split_file(tar, options) for tar in urls]
    text = os.fspath(url)
    if text.endswith(COMPRESSED):
        raise ArgumentError(f"{text} is compressed: samples in it cannot be read one by one; unpack it to .tar first")
    if text.endswith(".tar") and not Path(text).is_dir():
        return [split_file(tar, options) for tar in expand_braces(text)]
    location = Location(text, options)
    names = _tars_in(location, extensions)
    return [(location, name) for name in names] if names else None


def _tars_in(location: Location, extensions: Collection[str]) -> list[str]:
    """Names of the tars directly in a folder, which then holds nothing else that could be meant."""
    files, folders = _level(location)
    tars = [name for name in files if name.endswith(".tar") and not left_out(name)]
    if tars:
        signals = [name for name in files if PurePosixPath(name).suffix[1:].lower() in extensions]
        for other in [*signals, *folders]:
            if not left_out(other):
                raise ArgumentError(
                    f"the source {location.url} holds tars and {other!r} too: name the tars by a pattern, or "
                    "move them apart"
                )
    return tars


def _level(location: Location) -> tuple[list[str], list[str]]:
    """(files, folders) directly in a folder, sorted; nothing where it is no folder."""
    if location.local is not None:
        try:
            with os.scandir(location.local) as scan:
                found = [(entry.name, entry.is_dir()) for entry in scan]
        except OSError:
            return [], []  # listing it as a source says what is wrong with it
    else:
        import fsspec

        try:
            fs, root = fsspec.core.url_to_fs(location.url, **location.storage_options)
            infos = fs.ls(root, detail=True)
        except FileNotFoundError:
            return [], []
        except (OSError, ValueError, ImportError) as error:
            raise StoreError(f"the source {location.url} cannot be listed: {error}") from error
        found = [(info["name"].rstrip("/").rpartition("/")[2], info["type"] == "directory") for info in infos]
    return sorted(n for n, folder in found if not folder), sorted(n for n, folder in found if folder)


def split_file(url: str, options: dict[str, Any]) -> tuple[Location, str]:
    """A file's folder and its name in it."""
    folder, slash, name = url.rpartition("/")
    return Location((folder or slash) or ".", options), name


def expand_braces(pattern: str) -> list[str]:
    """Names of a pattern, in order: ``{000..012}`` counts with as many digits, ``{a,b}`` lists."""
    parts = BRACES.split(pattern)
    choices = [[part] if i % 2 == 0 else _choices(part, pattern) for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(inside: str, pattern: str) -> list[str]:
    if "," in inside:
        return inside.split(",")
    counted = RANGE.fullmatch(inside)
    if counted is None or int(counted[2]) < int(counted[1]):
        raise ArgumentError(f"{pattern!r}: {{{inside}}} is neither a range {{000..012}} nor a list {{a,b}}")
    return [f"{n:0{len(counted[1])}d}" for n in range(int(counted[1]), int(counted[2]) + 1)]
