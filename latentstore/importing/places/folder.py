"""A folder of files of tensors, by path or URL: files of one name are one sample.

``a/b.npy`` is the sample ``a/b``. A text, a number or JSON of that name (``a/b.txt``, ``a/b.cls``, ``a/b.json``) are
fields of it, and so are those of ``fields.jsonl``, which an export writes. The caches of kohya's scripts for ``b.jpg``
are the sample ``b``. Hidden files and all others are passed over and counted.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from latentstore.codecs.errors import ArgumentError, SignalError, StoreError
from latentstore.conversion.quarantine import Failure
from latentstore.importing.files.kohya import name_of, resolutions
from latentstore.importing.files.read import TENSORS, read_tensors, require_size
from latentstore.importing.places.fields_file import FIELDS, read_fields
from latentstore.importing.sample import Part, Sample, Source, Value, cut
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location
from latentstore.sources.apart import Apart
from latentstore.sources.folder import GONE, HIDDEN, Entry, list_names
from latentstore.sources.item import text_of
from latentstore.sources.tars.item import CLASSES, TEXTS, field_name, field_value, filling

__all__ = ["list_folder"]

BESIDE = TEXTS | CLASSES
"""Extensions of files that are fields of the sample of that name."""


def list_folder(location: Location, without: Mapping[str, str]) -> Source:
    """The samples of a folder, in the order of their names. without: what is no part of it, see `Apart`.

    StoreError if it cannot be listed; ArgumentError if no file in it holds tensors.
    """
    found = list(list_names(location))
    apart = Apart(location, (one.name for one in found if one is not None), without)
    passed = Counter({HIDDEN: found.count(None)})
    failures: list[Failure] = []
    tensors: dict[str, list[Entry]] = {}
    texts: dict[str, list[Entry]] = {}
    told: dict[str, dict[str, Value]] = {}
    for one in found:
        if one is None:
            continue
        stem, extension = _stem(one.name)
        kind = None if one.reason else apart.kind(one.name)
        if one.name == FIELDS and not one.reason:
            told = read_fields(location)
        elif extension in BESIDE and not one.reason and (kind is None or kind.startswith("text")):
            texts.setdefault(stem, []).append(one)
        elif kind is not None:
            passed[kind] += bool(kind)
        elif extension in TENSORS or one.reason:
            tensors.setdefault(stem, []).append(one)
        else:
            passed[f"file of another kind (.{extension})" if extension else "file of another kind"] += 1
    for stem in texts.keys() - tensors.keys():
        for one in texts.pop(stem):
            passed[apart.kind(one.name) or "text beside the data"] += 1
    if not tensors:
        raise ArgumentError(
            f"the source {location.url} holds no file of tensors; files are recognised by their names: "
            f"{', '.join(f'.{name}' for name in TENSORS)}"
        )
    groups = []
    for stem in sorted(tensors):
        bad = next((one for one in tensors[stem] if one.reason), None)
        if bad is not None:
            failures.append(Failure.of(text_of(stem), bad.name, bad.reason))
        else:
            files = sorted((*tensors[stem], *texts.get(stem, ())), key=lambda one: one.name)
            groups.append((text_of(stem), files))
    fields = {field_name(_stem(one.name)[1]) for files in texts.values() for one in files}
    sizes = [sum(one.size_bytes or 0 for one in files) for _, files in groups]
    parts = [_Files(location, groups[part], fields, told) for part in cut(sizes)]
    return Source(location.url, "folder", parts, tuple(failures), {k: n for k, n in passed.items() if n})


def _stem(name: str) -> tuple[str, str]:
    """(the name of the sample, the extension in small letters) of a file."""
    path = PurePosixPath(name)
    extension = path.suffix[1:].lower()
    stem = name.removesuffix(path.suffix)
    return (name_of(stem) if extension == "npz" else stem), extension


def _source(files: Sequence[Entry], told: Mapping[str, Value]) -> str:
    """See `Sample.source`: the names, sizes and times of files, or what else an object store tells of them; and what
    `FIELDS` says of the sample."""
    if not all(one.stamp for one in files):
        return ""
    said = json.dumps([[one.name, one.size_bytes, one.stamp] for one in files])
    if told:
        said += repr(sorted(told.items()))
    return hashlib.blake2b(said.encode(errors="surrogateescape"), digest_size=16).hexdigest()


class _Files(Part):
    """Files of some samples. fields: text and numbers that any sample of the source has. told: further fields, by
    key."""

    def __init__(
        self,
        location: Location,
        groups: Sequence[tuple[str, list[Entry]]],
        fields: set[str],
        told: Mapping[str, Mapping[str, Value]],
    ) -> None:
        self._told = told
        self.keys = [key for key, _ in groups]
        self.sources = [_source(files, told.get(key, {})) for key, files in groups]
        self._location, self._files, self._fields = location, [files for _, files in groups], fields

    def read(self, rows: Sequence[int]) -> list[Sample | Failure]:
        """See `Part.read`."""
        content = self._content([one for row in rows for one in self._files[row]])
        found: list[Sample | Failure] = []
        for row in rows:
            found += [
                replace(one, source=self.sources[row]) if isinstance(one, Sample) else one
                for one in self._sample(self.keys[row], self._files[row], content)
            ]
        return found

    def _content(self, files: Sequence[Entry]) -> dict[str, bytes]:
        """The bytes of remote files, asked for at once; nothing where one of them is gone, or of local files."""
        small = [one for one in files if one.size_bytes is not None]
        if self._location.local is not None or len(small) < len(files):
            return {}
        try:
            data = self._location.read_ranges([(one.at or one.name, 0, None) for one in files])
        except MissingError:
            return {}
        return {one.name: bytes(some) for one, some in zip(files, data, strict=True)}

    def _sample(self, key: str, files: Sequence[Entry], content: Mapping[str, bytes]) -> list[Sample | Failure]:
        values: dict[str, Value] = {**{name: filling(name) for name in self._fields}, **self._told.get(key, {})}
        homes: dict[str, str] = {}
        sized: dict[str, dict[str, Value]] = {"": {}}
        path = files[0].name
        for one in files:
            try:
                require_size(one.size_bytes)
                data = content[one.name] if one.name in content else self._read(one)
                extension = _stem(one.name)[1]
                if extension in BESIDE:
                    parts: dict[str, dict[str, Value]] = {"": {field_name(extension): field_value(extension, data)}}
                else:
                    path = one.name if path not in homes.values() else path
                    parts = resolutions(read_tensors(extension, data))
            except SignalError as error:
                return [Failure.of(key, one.name, str(error))]
            for size, more in parts.items():
                for name in more:
                    other = homes.setdefault(f"{size} {name}", one.name)
                    if other != one.name:
                        both = f"{PurePosixPath(other).name} and {PurePosixPath(one.name).name}"
                        return [Failure.of(key, one.name, f"{both} are one sample, and both hold {name!r}")]
                sized.setdefault(size, {}).update(more)
        common = {**values, **sized.pop("")}
        if not sized:
            return [Sample(key, path, common)]
        if len(sized) == 1:
            return [Sample(key, path, {**common, **next(iter(sized.values()))})]
        return [Sample(f"{key}_{size}", path, {**common, **more}) for size, more in sorted(sized.items())]

    def _read(self, one: Entry) -> bytes:
        try:
            return self._location.read(one.at or one.name)
        except MissingError as error:
            raise SignalError(GONE) from error
        except StoreError as error:
            if self._location.local is None:
                raise
            raise SignalError(f"cannot be read: {error}") from error
