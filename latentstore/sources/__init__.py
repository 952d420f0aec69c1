"""Where images and recordings come from: a folder, WebDataset tars or a Zarr array, each by any fsspec URL."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from latentstore.codecs.modality import IMAGE, Modality
from latentstore.loaders.columns import Field
from latentstore.loaders.remote.location import Location
from latentstore.sources.folder import list_folder
from latentstore.sources.item import AUDIO_EXTENSIONS, IMAGE_EXTENSIONS, BadItem, Item
from latentstore.sources.labels import Labels, apply_labels
from latentstore.sources.name_pattern import is_pattern, match_names
from latentstore.sources.places import find_tars, is_zarr, split_file
from latentstore.sources.remarks import Told
from latentstore.sources.tars import list_tars
from latentstore.sources.zarr_array import IMAGES, WAVEFORMS, list_array

__all__ = ["BadItem", "Field", "Item", "Source", "open_source"]

# By the name of the modality: extensions of its files, which decide inside tars, and what its arrays look like.
_EXTENSIONS = {"image": IMAGE_EXTENSIONS, "audio": AUDIO_EXTENSIONS}
_ARRAYS = {"image": IMAGES, "audio": WAVEFORMS}


@dataclass(frozen=True)
class Source:
    """All entries of a source, in an order that depends on nothing but the source.

    kind: "folder", "tars" or "zarr". classes: names of the labels, where the source has names for them. passed_over:
    how many entries are no part of the data set, by what they are ("hidden or system file"). remarks: what the report
    tells of the listing. Entries that cannot be read are among the items: reading them raises a SignalError.
    """

    url: str
    kind: str
    items: list[Item]
    classes: tuple[str, ...] | None = None
    passed_over: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[Told, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __getitem__(self, index: int) -> Item:
        return self.items[index]


def open_source(
    url: str | os.PathLike[str] | Sequence[str],
    labels: Labels | str | os.PathLike[str] | None = None,
    storage_options: dict[str, Any] | None = None,
    modality: Modality = IMAGE,
    rate: int | None = None,
    member: str | None = None,
) -> Source:
    """Lists a source.

    url: a folder of images or recordings; a folder of tars, one tar, a pattern ``x-{000000..000003}.tar``, or a
    list of those; or a Zarr array or group. labels: where labels come from; a text stands for `Labels.by`.
    storage_options: for fsspec, for both. modality: of the signals that are looked for. rate: in hertz, of waveforms in
    Zarr that do not say theirs. member: the extension of the members of tars that are signals; None is the first known
    one of a sample. Raises StoreError where it cannot be listed, ArgumentError where it is no source.
    """
    options = dict(storage_options or {})
    text = os.fspath(url) if isinstance(url, str | os.PathLike) else " ".join(url)
    chosen = labels if isinstance(labels, Labels) else Labels(None if labels is None else os.fspath(labels))
    names = chosen.by
    pattern = names if names is not None and is_pattern(names) else None
    beside = split_file(names, options) if names is not None and pattern is None else None
    classes, remarks = None, tuple[Told, ...]()
    extensions = _EXTENSIONS[modality.name]
    tars = find_tars(url, options, extensions)
    if tars is not None:
        items, passed = list_tars(tars, extensions, modality.nouns.one)
        kind = "tars"
    elif is_zarr(location := Location(text, options)):
        kind, passed = "zarr", {}
        items, remarks = list_array(location, _ARRAYS[modality.name], rate)
    else:
        kind = "folder"
        items, classes, passed = list_folder(location, without=_inside(location, beside))
    if beside is not None:
        items, named = apply_labels(items, *beside)
        classes = named or classes
    if pattern is not None:
        items, named = match_names(items, pattern)
        classes = named if "{label}" in pattern else classes
    return Source(text, kind, items, classes, passed, remarks)


def _inside(folder: Location, file: tuple[Location, str] | None) -> str | None:
    """The name of a file relative to a folder that holds it: labels among the entries are no entry."""
    if file is None:
        return None
    if folder.local is None:
        whole, prefix = file[0].at(file[1]), folder.url + "/"
        return whole.removeprefix(prefix) if whole.startswith(prefix) else None
    if file[0].local is None:
        return None
    path, root = file[0].path(file[1]).resolve(), folder.local.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None
