"""Which kind of source a URL is, and where its parts are."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.manifest import PARTIAL
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout as tensors
from latentstore.loaders.webdataset.layout import MANIFEST
from latentstore.sources.apart import Apart
from latentstore.sources.folder import HIDDEN, left_out

__all__ = ["Tars", "beside_target", "expand_braces", "find_tars", "inside", "is_zarr", "split_file"]

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup")
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")
BESIDE = "file beside the tars"


class Tars(NamedTuple):
    """The tars of a source. at: (folder, name in it) of each. passed_over: what else their folder holds, by kind."""

    at: list[tuple[Location, str]]
    passed_over: Mapping[str, int] = {}


def is_zarr(location: Location) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any(location.exists(mark) for mark in ZARR_MARKS)


def find_tars(
    url: str | os.PathLike[str] | Sequence[str],
    options: dict[str, Any],
    extensions: Collection[str],
    without: Mapping[str, str],
) -> Tars | None:
    """The tars of a source; None if it is not made of tars.

    extensions: of images or recordings. without: paths or URLs of what is no part of the source, and what that is; ""
    is not counted. ArgumentError if a folder holds tars and such files too, because either could be the source.
    """
    if not isinstance(url, str | os.PathLike):
        urls = [tar for pattern in url for tar in expand_braces(pattern)]
        if not urls or not all(tar.endswith(".tar") for tar in urls):
            raise ArgumentError("a list is a source only if each of its names ends in .tar")
        return Tars([split_file(tar, options) for tar in urls])
    text = os.fspath(url)
    if text.endswith(COMPRESSED):
        raise ArgumentError(f"{text} is compressed: samples in it cannot be read one by one; unpack it to .tar first")
    if text.endswith(".tar") and not Path(text).is_dir():
        return Tars([split_file(tar, options) for tar in expand_braces(text)])
    location = Location(text, options)
    return _tars_in(location, extensions, inside(location, without))


def _tars_in(location: Location, extensions: Collection[str], without: Mapping[str, str]) -> Tars | None:
    """The tars directly in a folder; ArgumentError if it also holds other things that could be the source."""
    try:
        files, folders = location.children()
    except MissingError:
        return None  # listing it as a folder says what is wrong with it
    if MANIFEST in files or tensors.MANIFEST in files:
        raise ArgumentError(f"the source {location.url} is a latentstore store already; `latentstore export` reads it")
    tars = [name for name in files if name.endswith(".tar") and not left_out(name)]
    if not tars:
        return None
    signals = [name for name in files if PurePosixPath(name).suffix[1:].lower() in extensions]
    for other in [*signals, *folders]:
        if not left_out(other) and other not in without:
            raise ArgumentError(
                f"the source {location.url} holds tars and {other!r} too: name the tars by a pattern "
                "(x-{000..012}.tar), or move them to a folder of their own"
            )
    hidden = sum(map(left_out, [*files, *folders]))
    shown, apart = [name for name in files if not left_out(name) and name not in tars], Apart(location, (), without)
    kinds = Counter({HIDDEN: hidden}) + Counter(BESIDE if kind is None else kind for kind in map(apart.kind, shown))
    return Tars([(location, name) for name in tars], {kind: count for kind, count in kinds.items() if kind})


def inside(folder: Location, paths: Mapping[str, str]) -> dict[str, str]:
    """The same values by names relative to a folder, of those paths or URLs that lie in it."""
    found = {}
    for path, value in paths.items():
        if folder.local is None:
            at = Location(path).url
            name = at.removeprefix(folder.url.rstrip("/") + "/") if at.startswith(folder.url.rstrip("/") + "/") else ""
        else:
            local, root = Location(path).local, folder.local.resolve()
            whole = None if local is None else local.parent.resolve() / local.name
            name = whole.relative_to(root).as_posix() if whole is not None and whole.is_relative_to(root) else ""
        if name and name != ".":
            found[name] = value
    return found


def beside_target(source: str, target: str) -> tuple[str, ...]:
    """What belongs to the store that is made, and so not to the source; ArgumentError where one would replace the
    other."""
    place = target.rstrip("/")
    here, there = (Location(one) for one in (source, place))
    if here.local is not None and there.local is not None:
        same = here.local.resolve().is_relative_to(there.local.resolve())
    else:
        same = f"{here.url}/".startswith(f"{there.url}/")
    if same:
        raise ArgumentError(f"the target {target} is the source, or holds it: choose another place for the store")
    return place, f"{place}{PARTIAL}"


def split_file(url: str, options: dict[str, Any]) -> tuple[Location, str]:
    """(the folder of a file, the file's name in it)."""
    folder, slash, name = url.rpartition("/")
    return Location((folder or slash) or ".", options), name


def expand_braces(pattern: str) -> list[str]:
    """The names that a pattern stands for, in order: ``{000..012}`` counts with three digits, ``{a,b}`` lists."""
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
