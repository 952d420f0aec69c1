"""Where images and recordings come from: a folder, WebDataset tars or a Zarr array, each by any fsspec URL."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from latentstore.codecs.modality import IMAGE, Modality
from latentstore.loaders.columns import Field, require_free
from latentstore.loaders.remote.location import Location
from latentstore.sources.folder import list_folder
from latentstore.sources.item import AUDIO_EXTENSIONS, IMAGE_EXTENSIONS, BadItem, Item
from latentstore.sources.labels import Labels
from latentstore.sources.labels.apply import Labelled, apply_labels, relabelled
from latentstore.sources.labels.classes import Numbering, read_classes
from latentstore.sources.labels.name_pattern import is_pattern, match_names
from latentstore.sources.places import find_tars, inside, is_zarr, split_file
from latentstore.sources.remarks import Told, merged
from latentstore.sources.tars.listing import list_tars
from latentstore.sources.zarr_array import IMAGES, WAVEFORMS, list_array

__all__ = ["BadItem", "Field", "Item", "Source", "open_source"]

# By the name of the modality: extensions of its files, which decide inside tars, and what its arrays look like.
_EXTENSIONS = {"image": IMAGE_EXTENSIONS, "audio": AUDIO_EXTENSIONS}
_ARRAYS = {"image": IMAGES, "audio": WAVEFORMS}


@dataclass(frozen=True)
class Source:
    """All entries of a source, in an order that depends on nothing but the source.

    kind: "folder", "tars" or "zarr". classes: names of the labels, where the source has names for them. by_folder:
    whether these are the folders; otherwise they may be `fixed`, the classes that were given. passed_over:
    how many entries are no part of the data set, by what they are ("hidden or system file"). remarks: what the report
    tells of the listing. Entries that cannot be read are among the items: reading them raises a SignalError.
    """

    url: str
    kind: str
    items: list[Item]
    classes: tuple[str, ...] | None = None
    passed_over: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[Told, ...] = ()
    by_folder: bool = False
    fixed: Numbering | None = None

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
    without: Sequence[str] = (),
) -> Source:
    """Lists a source.

    url: a folder of images or recordings; a folder of tars, one tar, a pattern ``x-{000000..000003}.tar``, or a
    list of those; or a Zarr array or group. labels: where labels come from; a text stands for `Labels.by`.
    storage_options: for fsspec, for both. modality: of the signals that are looked for. rate: in hertz, of waveforms in
    Zarr that do not say theirs. member: the extension of the members of tars that are signals; None is the first known
    one of a sample. without: paths or URLs of what is no part of the source, such as the target of a conversion. Raises
    StoreError where it cannot be listed, ArgumentError where it is no source, or its labels cannot be meant.
    """
    options = dict(storage_options or {})
    text = os.fspath(url) if isinstance(url, str | os.PathLike) else " ".join(url)
    chosen = labels if isinstance(labels, Labels) else Labels(None if labels is None else os.fspath(labels))
    pattern = chosen.by if chosen.by is not None and is_pattern(chosen.by) else None
    table = split_file(chosen.by, options) if chosen.by is not None and pattern is None else None
    fixed = None if chosen.classes is None else read_classes(chosen.classes, options)
    apart = {**dict.fromkeys(without, ""), **dict(_beside(chosen))}
    classes = None
    told: tuple[Told, ...] = ()
    extensions = _EXTENSIONS[modality.name]
    tars = find_tars(url, options, extensions, apart)
    if tars is not None:
        items, passed, told = list_tars(tars.at, extensions, modality, member)
        passed = Counter(passed) + Counter(tars.passed_over)
        kind = "tars"
    elif is_zarr(location := Location(text, options)):
        kind, passed = "zarr", {}
        items, told = list_array(location, _ARRAYS[modality.name], rate)
    else:
        kind = "folder"
        items, classes, passed = list_folder(location, inside(location, apart))
    named: Labelled | None = None
    if table is not None:
        named = apply_labels(items, text, *table, chosen, fixed)
    elif pattern is not None:
        named = match_names(items, pattern, fixed)
    elif kind == "zarr":
        named = relabelled(items, text, fixed)
    if named is not None:
        items, told = named.items, (*told, *named.remarks)
        classes = named.classes if named.labelled else classes
    by_folder = kind == "folder" and not (named is not None and named.labelled)
    if fixed is not None and not by_folder:
        classes = fixed.names
    # All entries of a source have the same fields. Members of tars are known when they are read, and checked then.
    require_free(next((i.fields for i in items if not isinstance(i, BadItem)), {}), modality, text)
    return Source(text, kind, items, classes, passed, merged(told), by_folder, fixed)


def _beside(labels: Labels) -> Iterator[tuple[str, str]]:
    """(path, what it is) of files that say something of the entries, and are none."""
    if labels.by is not None and not is_pattern(labels.by):
        yield labels.by, "table of labels"
    if labels.classes is not None:
        yield labels.classes, "list of classes"
