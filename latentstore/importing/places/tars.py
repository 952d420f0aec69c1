"""WebDataset tars: members with one key are a sample, and their extensions name its fields.

``b.latent.npy`` is the field ``latent``, ``b.npy`` is `UNNAMED`, and the arrays of ``b.te.npz`` are ``te.NAME``. Texts,
numbers and other members are fields as `latentstore convert` makes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.conversion.quarantine import Failure
from latentstore.importing.files.kohya import resolutions
from latentstore.importing.files.read import TENSORS, named, read_tensors, require_size
from latentstore.importing.sample import Part, Sample, Source, Value, cut
from latentstore.loaders.remote.location import Location
from latentstore.sources.item import unique_keys
from latentstore.sources.places import Tars
from latentstore.sources.tars.item import Member, field_name, field_value, filling
from latentstore.sources.tars.listing import TarSample, cut_short, samples_of

__all__ = ["list_tars"]

TARS_AT_A_TIME = 8


def list_tars(url: str, tars: Tars) -> Source:
    """The samples of tars, in their order. StoreError if a tar cannot be read; ArgumentError if none holds tensors."""
    with ThreadPoolExecutor(TARS_AT_A_TIME) as pool:
        scanned = list(pool.map(lambda tar: samples_of(*tar), tars.at))
    passed, failures = Counter(tars.passed_over), list[Failure]()
    good: list[tuple[Location, str, list[TarSample]]] = []
    for (location, tar), found in zip(tars.at, scanned, strict=True):
        passed.update(found.passed_over)
        here: list[TarSample] = []
        for sample in found.samples:
            reason = sample.wrong or next((m.reason for m in sample.members if m.reason), "")
            if not reason and not any(_is_tensor(m) for m in sample.members):
                has = ", ".join(m.extension or "one without extension" for m in sample.members)
                reason = f"the sample has no tensor among its members ({has})"
            if reason:
                failures.append(Failure.of(sample.name, f"{tar}/{sample.name}", reason))
            else:
                here.append(sample)
        good.append((location, tar, here))
        if found.broken:
            failures.append(Failure.of(_stem(tar), tar, cut_short(found)))
    if not any(here for _, _, here in good):
        first = f"; the first: {failures[0]}" if failures else ""
        raise ArgumentError(f"the source {url} holds no sample with a tensor{first}")
    members = (m for _, _, here in good for sample in here for m in sample.members)
    fields = {field_name(m.extension) for m in members if not _is_tensor(m)}
    keys = iter(unique_keys((sample.name, _stem(tar)) for _, tar, here in good for sample in here))
    parts: list[Part] = []
    for location, tar, here in good:
        own = [next(keys) for _ in here]
        sizes = [sum(m.length for m in sample.members) for sample in here]
        parts += [_Members(location, tar, own[part], here[part], fields) for part in cut(sizes)]
    return Source(url, "tars", parts, tuple(failures), {kind: count for kind, count in passed.items() if count})


def _is_tensor(member: Member) -> bool:
    return member.extension.rpartition(".")[2] in TENSORS


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".tar")


class _Members(Part):
    """Samples of one tar that follow each other. fields: those that are no tensors, of any sample of the source."""

    def __init__(
        self, location: Location, tar: str, keys: Sequence[str], samples: Sequence[TarSample], fields: set[str]
    ) -> None:
        self.keys, self._samples, self._fields = keys, samples, fields
        self._location, self._tar = location, tar

    def read(self, rows: Sequence[int]) -> list[Sample | Failure]:
        """See `Part.read`."""
        found: list[Sample | Failure] = []
        ranges = [
            (self._tar, m.start, m.start + m.length) for row in rows for m in self._samples[row].members if _small(m)
        ]
        content = iter(self._location.read_ranges(ranges))
        for row in rows:
            members = self._samples[row].members
            data = [next(content) if _small(m) else b"" for m in members]
            key, path = self.keys[row], f"{self._tar}/{self._samples[row].name}"
            try:
                values = self._values(members, data)
            except SignalError as error:
                found.append(Failure.of(key, path, str(error)))
                continue
            common = values.pop("", {})
            sizes = sorted(values) or [""]
            suffixes = [f"_{size}" for size in sizes] if len(sizes) > 1 else [""]
            found += [
                Sample(key + suffix, path, {**common, **values.get(size, {})})
                for size, suffix in zip(sizes, suffixes, strict=True)
            ]
        return found

    def _values(self, members: Sequence[Member], data: Sequence[bytes]) -> dict[str, dict[str, Value]]:
        """The values of a sample by the size of its latents; "" has those of every size."""
        found: dict[str, dict[str, Value]] = {"": {name: filling(name) for name in self._fields}}
        tensors: set[str] = set()
        for member, content in zip(members, data, strict=True):
            require_size(member.length)
            prefix, _, last = member.extension.rpartition(".")
            if last not in TENSORS:
                found[""][field_name(member.extension)] = field_value(member.extension, content)
                continue
            try:
                values = read_tensors(last, content)
            except SignalError as error:
                raise SignalError(f"its member .{member.extension}: {error}") from error
            for size, more in resolutions(values).items():
                for name, value in named(more, prefix).items():
                    if f"{size} {name}" in tensors or name in self._fields:
                        raise SignalError(f"two of its members hold {name!r}")
                    tensors.add(f"{size} {name}")
                    found.setdefault(size, {})[name] = value
        return found


def _small(member: Member) -> bool:
    try:
        require_size(member.length)
    except SignalError:
        return False
    return True
