"""The names of classes and their numbers.

Names are compared in Unicode's composed form (NFC): two systems may write the same letter in one code point or in two.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout as tensors
from latentstore.loaders.webdataset.layout import MANIFEST
from latentstore.loaders.zarr.layout import ROOT

__all__ = ["NO_CLASS", "Numbering", "normal", "read_classes"]

NO_CLASS = -1
"""The label of an entry without a class."""
SHOWN = 5


def normal(name: str) -> str:
    """A name as it is compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class Numbering:
    """Names of classes in the order of their numbers. where: what says so, for messages."""

    names: tuple[str, ...]
    where: str = ""

    @classmethod
    def of_found(cls, names: Iterable[str]) -> Numbering:
        """Names that are found in the data, in alphabetical order; those that are equal in NFC are one."""
        first: dict[str, str] = {}
        for name in sorted(names):
            first.setdefault(normal(name), name)
        return cls(tuple(first.values()))

    def numbers(self, names: Iterable[str], strict: bool = True) -> tuple[dict[str, int], list[str]]:
        """(the number of each name, the names that are written here in another composition of Unicode).

        strict: a name that is no class is an ArgumentError; else it gets no number.
        """
        known = {normal(name): i for i, name in enumerate(self.names)}
        found: dict[str, int] = {}
        recomposed = []
        for name in names:
            number = known.get(normal(name))
            if number is not None:
                found[name] = number
                if self.names[number] != name:
                    recomposed.append(name)
            elif strict:
                raise self.unknown(name, "the source")
        return found, recomposed

    def unknown(self, name: str, where: str) -> ArgumentError:
        """The error for a name that is not here. where: what has it."""
        some = ", ".join(map(repr, self.names[:SHOWN])) + (", ..." if len(self.names) > SHOWN else "")
        return ArgumentError(f"{where} has the class {name!r}, which is not in {self.where} ({some}): add it there")


def read_classes(url: str, options: dict[str, Any]) -> Numbering:
    """The classes that a file or a store names, in order.

    url: of a text file in UTF-8 with a name on each line, of a JSON file with a list of names, or of a store with
    classes. StoreError if it cannot be read; ArgumentError if it names no classes, or one twice.
    """
    folder, slash, name = url.rpartition("/")
    location = Location((folder or slash) or ".", options)
    if url.endswith(".tar") or any(Location(url, options).exists(name) for name in (ROOT, MANIFEST, tensors.MANIFEST)):
        names = _of_store(url, options)
    elif location.local is not None and not location.path(name).is_file():
        raise ArgumentError(f"{url} is neither a file with the names of classes nor a store that has them")
    else:
        names = _listed(location.at(name), location.read(name))
    twice: set[str] = set()
    for one in names:
        if normal(one) in twice:
            raise ArgumentError(f"{url} names the class {one!r} twice: each class stands there once")
        twice.add(normal(one))
    return Numbering(tuple(names), url)


def _listed(where: str, content: bytes) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(
            f"{where} is not text in UTF-8 ({error}): it has the name of a class on each line"
        ) from error
    if where.lower().endswith(".json") or text.lstrip().startswith("["):
        names = _json(where, text)
    else:
        names = [line.strip() for line in text.rstrip().split("\n")]
    if not names or names == [""]:
        raise ArgumentError(f"{where} is empty: it has the name of a class on each line")
    if "" in names:
        raise ArgumentError(f"{where}: line {names.index('') + 1} is empty: each line has the name of a class")
    return names


def _json(where: str, text: str) -> list[str]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{where} is not JSON ({error}): a list of names of classes is expected") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(f"{where} is no JSON list of strings: a list of names of classes is expected")
    return [name.strip() for name in names]


def _of_store(url: str, options: dict[str, Any]) -> list[str]:
    from latentstore.loaders.opening import open_latents  # stores of tensors bring ml_dtypes, which takes long

    classes = open_latents(url, storage_options=options or None).classes
    if not classes:
        raise ArgumentError(f"the store {url} has no classes: give a store that has them, or a file of their names")
    return list(classes)
