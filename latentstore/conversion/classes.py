"""Classes that are folders: which of them are classes at all, and their numbers.

A folder none of whose entries can be read is no class, and does not shift the numbers of the others. So one entry of
each folder is read when a conversion is planned, as the conversion reads it; if that fails, the next. Few
entries are read so, those of the smallest folders first: `FEWEST_READ`, and one in `SHARE` of all, up to `MOST_READ`.
Folders that are left then are classes, and the report names those without a sample.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, cast

from latentstore.codecs.errors import SignalError
from latentstore.conversion.cores import usable_cores
from latentstore.sources import Item, Source
from latentstore.sources.item import BadItem
from latentstore.sources.labels.classes import NO_CLASS, Numbering
from latentstore.sources.remarks import Remark, Told, tally
from latentstore.sources.signals.front_ends import front_end_of
from latentstore.sources.signals.settings import Settings

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["keep_numbers", "settle_folders"]

FEWEST_READ = 64
SHARE = 64
MOST_READ = 1000


def settle_folders(
    listed: Source, items: Sequence[Item], settings: Settings, codec: Codec, stored: Collection[str] = ()
) -> tuple[Sequence[Item], tuple[str, ...] | None, tuple[Told, ...]]:
    """(entries with the numbers of their classes, the names of the classes or None, what the report tells).

    items: entries of the source, or pieces of them, whose labels are positions in its classes. stored: keys of entries
    that are known to be readable. ArgumentError where the classes are given, and a folder with entries that can be read
    is none of them.
    """
    folders = listed.classes
    if not listed.by_folder or folders is None:
        return items, listed.classes, ()
    empty = _unreadable(items, len(folders), settings, codec, stored)
    kept = [folder for i, folder in enumerate(folders) if i not in empty]
    if not kept and listed.fixed is None:
        return [_without_label(item) for item in items], None, ()
    numbering = listed.fixed or Numbering.of_found(kept)
    numbers, recomposed = numbering.numbers(kept)
    new = [numbers.get(folder, NO_CLASS) if i not in empty else NO_CLASS for i, folder in enumerate(folders)]
    said = [(name, Remark("composition")) for name in recomposed]
    said += [
        (name, Remark("class-number", f"label {i}"))
        for i, name in enumerate(numbering.names)
        if name.isascii() and name.isdigit() and int(name) != i
    ]
    if new == list(range(len(folders))):
        return items, numbering.names, tally(said)
    return [_renumbered(item, new) for item in items], numbering.names, tally(said)


def keep_numbers(
    items: Sequence[Item], classes: Sequence[str], before: Sequence[str]
) -> tuple[Sequence[Item], tuple[str, ...]]:
    """(entries with the numbers that their classes had before, the names of all classes).

    Classes that are new have the numbers after those, in the order of `classes`, which the entries' labels are
    positions in. A class that no entry has any more keeps its number too: whoever learned the numbers can go on.
    """
    names = tuple(dict.fromkeys((*before, *classes)))
    number = {name: i for i, name in enumerate(names)}
    new = [number[name] for name in classes]
    if new == list(range(len(classes))):
        return items, names
    return [_renumbered(item, new) for item in items], names


def _unreadable(
    items: Sequence[Item], folders: int, settings: Settings, codec: Codec, stored: Collection[str]
) -> set[int]:
    """The folders of which no entry can be read."""
    entries: list[list[Item]] = [[] for _ in range(folders)]
    readable = [False] * folders
    for item in items:
        label = _label(item)
        if label != NO_CLASS and not isinstance(item, BadItem):
            entries[label].append(item)
            readable[label] = readable[label] or item.key in stored
    undecided = sorted(
        (folder for folder in range(folders) if not readable[folder]), key=lambda folder: (len(entries[folder]), folder)
    )
    left = min(MOST_READ, FEWEST_READ + len(items) // SHARE)
    empty: set[int] = set()
    with ThreadPoolExecutor(usable_cores()) as pool:
        turn = 0
        while undecided:
            empty.update(folder for folder in undecided if turn >= len(entries[folder]))
            asked = [folder for folder in undecided if turn < len(entries[folder])][:left]
            read = pool.map(lambda item: _can_be_read(item, settings, codec), [entries[f][turn] for f in asked])
            undecided = [folder for folder, good in zip(asked, read, strict=True) if not good]
            left, turn = left - len(asked), turn + 1
    return empty


def _can_be_read(item: Item, settings: Settings, codec: Codec) -> bool:
    with closing(front_end_of(codec.modality).signals(settings, codec)) as signals:
        try:
            signals.read(item)
        except SignalError:
            return False
    return True


def _renumbered(item: Item, new: Sequence[int]) -> Item:
    label = _label(item)
    return item if label == NO_CLASS else item.with_(fields={**item.fields, "label": new[label]})


def _label(item: Item) -> int:
    return cast(int, item.fields.get("label", NO_CLASS))  # an entry whose key is refused has no fields


def _without_label(item: Item) -> Item:
    return item.with_(fields={name: value for name, value in item.fields.items() if name != "label"})
