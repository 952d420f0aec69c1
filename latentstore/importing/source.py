"""What a source of tensors is: a file, tars, MosaicML Streaming, Zarr, or a folder of files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentstore.codecs.errors import ArgumentError
from latentstore.importing.files.read import TENSORS
from latentstore.importing.places.folder import list_folder
from latentstore.importing.places.mds import is_mds, list_mds
from latentstore.importing.places.rows import list_file, list_zarr
from latentstore.importing.places.tars import list_tars
from latentstore.importing.sample import Source
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors.layout import MANIFEST
from latentstore.sources.places import find_tars, inside, is_zarr, split_file

__all__ = ["open_tensors"]


def open_tensors(
    url: str | os.PathLike[str] | Sequence[str],
    storage_options: Mapping[str, Any] | None = None,
    *,
    skipped: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Source:
    """Lists a source of tensors.

    url: a folder of files, a file whose first axis counts the samples, tars, a folder of MosaicML Streaming, or a Zarr
    array or group. skipped: names of fields that are left out. without: paths or URLs of what is no part of the source,
    such as the target. StoreError where it cannot be listed; ArgumentError where it is no source.
    """
    options = dict(storage_options or {})
    apart = dict.fromkeys(without, "")
    tars = find_tars(url, options, set(TENSORS), apart)
    if tars is not None:
        return list_tars(os.fspath(url) if isinstance(url, str | os.PathLike) else " ".join(url), tars)
    assert isinstance(url, str | os.PathLike)
    text = os.fspath(url)
    if text.rpartition(".")[2].lower() in TENSORS and not Path(text).is_dir():
        return list_file(*split_file(text, options))
    location = Location(text, options)
    if location.exists(MANIFEST):
        raise ArgumentError(f"the source {text} is a store of tensors already; `latentstore.open` reads it")
    if is_mds(location):
        return list_mds(location, skipped)
    if is_zarr(location):
        return list_zarr(location)
    return list_folder(location, inside(location, apart))
