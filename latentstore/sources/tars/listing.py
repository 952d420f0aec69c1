"""WebDataset tars as a source: members with one key that follow each other are one sample.

A sample's signal is the member that the user has named by its extension, or else the one with the extension of an
image (or of a recording). Its other members are fields by their extensions. A sample that cannot be told apart from
others, or has a member that is no file, is left out with its reason. Of a tar that is cut short or damaged, the samples
before the damage are kept, and the tar itself becomes an entry that cannot be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.modality import Modality
from latentstore.loaders.remote.location import Location
from latentstore.sources.item import BadItem, Item, text_of, unique_keys
from latentstore.sources.remarks import Remark, Told, tally
from latentstore.sources.tars.headers import Header, scan
from latentstore.sources.tars.item import CLASSES, Member, TarItem, field_name

__all__ = ["TarSample", "TarSamples", "cut_short", "list_tars", "samples_of"]

TARS_AT_A_TIME = 8
HIDDEN = "hidden or system member"
SPECIAL = "device or pipe"


@dataclass
class TarSample:
    """Members with one key. wrong: why it cannot be told what belongs to it, or ""."""

    name: str
    members: list[Member] = field(default_factory=list)
    wrong: str = ""


@dataclass
class TarSamples:
    """What was found in one tar. broken: why its rest could not be read, or ""."""

    samples: list[TarSample]
    passed_over: Counter[str]
    remarks: list[tuple[str, Remark]]
    broken: str


def list_tars(
    tars: Sequence[tuple[Location, str]], extensions: Collection[str], modality: Modality, member: str | None = None
) -> tuple[list[Item], dict[str, int], tuple[Told, ...]]:
    """List tars, each a folder and a name in it.

    Returns the items in the order of the tars, how many members are passed over, by kind, and what the report tells.
    extensions: of the members that are signals. modality: of these signals. member: the extension of
    the members that are signals, where the user has named it. StoreError if a tar cannot be read; ArgumentError if it
    is compressed, or if in no sample it can be told which member is the signal.
    """
    with ThreadPoolExecutor(TARS_AT_A_TIME) as pool:
        scanned = list(pool.map(lambda tar: samples_of(*tar), tars))
    rows: list[tuple[Location, str, TarSample, Member | None, str]] = []
    for (location, tar), found in zip(tars, scanned, strict=True):
        for sample in found.samples:
            signal, reason = _signal(sample.members, extensions, modality, member)
            wrong = sample.wrong or next((m.reason for m in sample.members if m.reason), "") or reason
            rows.append((location, tar, sample, None if wrong else signal, wrong))
        if found.broken:
            rows.append((location, tar, TarSample(_stem(tar)), None, cut_short(found)))
    _check_told_apart(rows)
    names = {
        field_name(m.extension) for _, _, sample, signal, _ in rows if signal for m in _others(sample.members, signal)
    }
    keys = unique_keys((text_of(sample.name), _stem(tar)) for _, tar, sample, _, _ in rows)
    items: list[Item] = []
    for key, (location, tar, sample, signal, wrong) in zip(keys, rows, strict=True):
        path = f"{tar}/{text_of(sample.name)}" if sample.members else tar
        if signal is None:
            items.append(BadItem(key, path, reason=text_of(wrong)))
            continue
        others = _others(sample.members, signal)
        lacking = tuple(sorted(names - {field_name(m.extension) for m in others}))
        stamp = " ".join(f"{m.start}+{m.length}@{m.time:g}" for m in (signal, *others))
        items.append(TarItem(key, path, signal.length, stamp, {}, location, tar, signal, others, lacking))
    passed = sum((found.passed_over for found in scanned), Counter[str]())
    return items, dict(passed), tally(remark for found in scanned for remark in found.remarks)


def cut_short(found: TarSamples) -> str:
    """Why the rest of a tar could not be read."""
    whole = sum(not sample.wrong for sample in found.samples)
    stored = f"the {whole:,} whole samples before it are kept" if whole else "no whole sample is before it"
    return f"the tar is cut short or damaged ({found.broken}); {stored}; download or write it again"


def _check_told_apart(rows: Sequence[tuple[Location, str, TarSample, Member | None, str]]) -> None:
    """ArgumentError if every sample has several members that could be its signal: one rule is missing, not samples."""
    unclear = [(location.at(tar), sample.name, wrong) for location, tar, sample, _, wrong in rows if SEVERAL in wrong]
    if unclear and all(signal is None for _, _, _, signal, _ in rows):
        where, name, wrong = unclear[0]
        raise ArgumentError(f"{where}: sample {name}: {wrong}")


SEVERAL = "could each be the"


def _signal(
    members: Sequence[Member], extensions: Collection[str], modality: Modality, wanted: str | None
) -> tuple[Member | None, str]:
    """The member that is the signal; or None and why."""
    if wanted is not None:
        found = [m for m in members if m.extension == wanted]
        said = f"the sample has no member .{wanted}"
    else:
        # image.png is the image even where mask.seg.png lies beside it
        found = [m for m in members if m.extension in extensions]
        found = found or [m for m in members if m.extension.rpartition(".")[2] in extensions]
        said = f"the sample has no {modality.nouns.one} among its members"
    if len(found) == 1:
        return found[0], ""
    if found:
        named = ", ".join(f".{m.extension}" for m in found)
        could = f"its members {named} {SEVERAL} {modality.nouns.one}"
        return None, f"{could}; say by {modality.name}_member which extension is meant"
    has = ", ".join(m.extension or "one without extension" for m in members)
    return None, f"{said} ({has})"


def _others(members: Sequence[Member], signal: Member) -> tuple[Member, ...]:
    """The members beside the signal. Where that is a.b.png, and no a.cls is there, a.b.cls is its class."""
    others = [m for m in members if m is not signal]
    prefix = signal.extension.rpartition(".")[0]
    if prefix and not any(m.extension in CLASSES for m in others):
        classes = [i for i, m in enumerate(others) if m.extension in {f"{prefix}.{one}" for one in CLASSES}]
        if len(classes) == 1:
            (i,) = classes
            others[i] = others[i]._replace(extension=others[i].extension.rpartition(".")[2])
    return tuple(others)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".tar").replace(".", "_")


# ---- one tar


def samples_of(location: Location, tar: str) -> TarSamples:
    """The samples of one tar, from its headers. Raises as `scan`."""
    found = scan(location, tar)
    passed = Counter({SPECIAL: found.special} if found.special else {})
    remarks: list[tuple[str, Remark]] = []
    done: list[TarSample] = []
    for part in _parts(found.headers):
        groups: list[TarSample] = []
        for header in part:
            name = header.name
            if name.startswith("/"):
                remarks.append((f"{tar}{text_of(name)}", Remark("absolute-member")))
            if header.link:
                remarks.append((f"{tar}/{text_of(name)}", Remark("linked-member")))
            key, extension = _key_and_extension(name)
            if key is None:
                passed[HIDDEN] += 1
                continue
            reason = header.reason
            if ".." in name.split("/"):
                reason = f"its name {name} leads out of the tar's own folder"
            if not groups or groups[-1].name != key:
                groups.append(TarSample(key))
            groups[-1].members.append(Member(extension, header.start, header.length, header.time, reason))
        if found.broken and groups and part[0].part >= found.ended:
            groups[-1].wrong = "the tar is cut short or damaged behind it, so it may lack members"
        done += _checked(groups)
    return TarSamples(done, passed, remarks, found.broken)


def _parts(headers: Sequence[Header]) -> Iterator[list[Header]]:
    """The members of each of the tars that one file holds: keys are unique in each."""
    parts: dict[int, list[Header]] = {}
    for header in headers:
        parts.setdefault(header.part, []).append(header)
    yield from parts.values()


def _checked(groups: list[TarSample]) -> list[TarSample]:
    """Samples of one tar. All pieces with one key become one sample, at the place of the first."""
    merged: dict[str, TarSample] = {}
    for group in groups:
        known = merged.setdefault(group.name, group)
        if known is not group:
            known.wrong = f"the members of sample {group.name} do not follow each other"
            known.members += group.members
    for sample in merged.values():
        extensions = Counter(m.extension for m in sample.members)
        twice = next((extension for extension, count in extensions.items() if count > 1), None)
        if twice is not None:
            sample.wrong = f"sample {sample.name} has two members with the extension {twice!r}"
        elif {"cls", "label"} <= set(extensions):
            sample.wrong = "it has both .cls and .label, and only one can be its label"
    return list(merged.values())


def _key_and_extension(path: str) -> tuple[str | None, str]:
    """WebDataset's rule: the key ends at the first dot of the last part. None for hidden members.

    As tar does when it unpacks, a slash at the beginning is dropped.
    """
    while path.startswith(("./", "/")):
        path = path.removeprefix("./").lstrip("/")
    parts = path.split("/")
    if any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts):
        return None, ""
    stem, _, extension = parts[-1].partition(".")
    return "/".join([*parts[:-1], stem]), extension.lower()
