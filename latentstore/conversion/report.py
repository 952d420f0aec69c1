"""What a conversion reports when it has ended: one page on the screen, and `report.json` in the store.

Its numbers add up: entries found = stored + left out + passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latentstore.codecs.modality import IMAGE, Modality, Nouns
from latentstore.conversion.quarantine import Failure, count_lines, quarantine_name, read_lines, reasons
from latentstore.progress import clock, counted, megabytes, printable
from latentstore.sources.remarks import KINDS, Kind, Told

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset

__all__ = ["Report", "Spell", "report_name"]

SHOWN_CLASSES = 12
# More values than this without names are numbers, and no classes to be listed.
MOST_LABELS = 1000
NO_CLASS = -1
_INDENT = "  "

Spell = Callable[[str, str], str]
"""(name, value) of an option of `convert` -> how whoever reads the report gives it."""


def report_name(format: str) -> str:
    """The path of `report.json` inside a store of this format."""
    return "key/report.json" if format == "zarr" else "report.json"


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    url: of the store. codec: its name. stored: samples in the store. failures: entries that could not be read, in the
    order of the source. shards: of the store. resumed: how
    many of them an earlier run had finished. bytes_in: read from the source. bytes_out: of all blobs, with headers.
    extent: pixels of the stored images; of audio, samples, all inputs counted as one. seconds: how long this run took.
    modality, nouns: of the samples. passed_over: entries that are no part of the data set, by what they are. remarks:
    what is worth knowing of stored entries and of the source. classes: names of the labels, where there are names.
    labels: how many stored samples have each label; empty where samples have none. chosen: why the store has its codec,
    where `convert` chose it.
    """

    url: str
    codec: str
    stored: int
    failures: tuple[Failure, ...]
    shards: int
    resumed: int
    bytes_in: int
    bytes_out: int
    extent: int
    seconds: float
    modality: Modality = IMAGE
    nouns: Nouns = IMAGE.nouns
    passed_over: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[Told, ...] = ()
    classes: tuple[str, ...] | None = None
    labels: Mapping[int, int] = field(default_factory=dict)
    chosen: str = ""

    @property
    def found(self) -> int:
        """Entries of the source: stored, left out, or passed over."""
        return self.stored + len(self.failures) + sum(self.passed_over.values())

    @classmethod
    def of_store(cls, dataset: LatentDataset, format: str, seconds: float) -> Report:
        """The report of a store that an earlier run has published."""
        location, modality = dataset.reader.location, dataset.modality
        name, listed = report_name(format), quarantine_name(format)
        said = json.loads(location.read(name)) if location.exists(name) else {}
        shards = len(dataset.shard_starts) - 1
        return cls(
            url=dataset.url,
            codec=dataset.codec.name,
            stored=len(dataset),
            failures=tuple(read_lines(location.read(listed))) if location.exists(listed) else (),
            shards=shards,
            resumed=shards,
            bytes_in=int(said.get("bytes_in", 0)),
            bytes_out=int(dataset.info["blob_bytes"]),
            extent=int(dataset.info["extent"]),
            seconds=seconds,
            modality=modality,
            nouns=modality.nouns if dataset.size is None else modality.window_nouns,
            passed_over={str(kind): int(count) for kind, count in said.get("passed_over", {}).items()},
            remarks=tuple(map(Told.from_json, said.get("remarks", ()))),
            classes=None if dataset.classes is None else tuple(dataset.classes),
            labels={int(one["label"]): int(one["count"]) for one in said.get("labels", ())},
            chosen=str(said.get("chosen", "")),
        )

    def as_json(self) -> bytes:
        """The content of `report.json`: it depends on the source and the options only, not on how a run went."""
        said = {
            "found": self.found,
            "stored": self.stored,
            "left_out": len(self.failures),
            "passed_over": dict(sorted(self.passed_over.items())),
            "codec": self.codec,
            "chosen": self.chosen,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "labels": self._labels(),
            "reasons": [{"reason": reason, "count": count} for reason, count in reasons(self.failures)],
            "remarks": [told.as_json() for told in self.remarks],
        }
        return (json.dumps(said, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")

    def _labels(self) -> list[dict[str, Any]]:
        """Every class with its number, name and count. Without names, labels of many values are no classes."""
        names = self.classes or ()
        if not names and len(self.labels) > MOST_LABELS:
            return []
        return [
            {"label": label, "name": self._class(label), "count": self.labels.get(label, 0)}
            for label in sorted({*self.labels, *range(len(names))})
        ]

    def _class(self, label: int) -> str | None:
        return self.classes[label] if self.classes is not None and 0 <= label < len(self.classes) else None

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the blobs for each pixel; of audio, for each sample of all inputs."""
        return 8 * self.bytes_out / self.extent if self.extent else 0.0

    def __str__(self) -> str:
        bits = f"({self.bits_per_pixel:.3f} bits per {self.nouns.unit})"
        done = f"{megabytes(self.bytes_in)} in, {megabytes(self.bytes_out)} out {bits}"
        if not self.extent:  # a run that only leaves out what is gone
            done = "nothing encoded"
        text = (
            f"{self.url}: {counted(self.stored, self.nouns.one)} in {counted(self.shards, 'shard')}, {done}, "
            f"{clock(self.seconds)}"
        )
        return text + (f"; {counted(self.resumed, 'shard')} from an earlier run" if self.resumed else "")

    def page(self, spell: Spell = "{}={!r}".format, choice: bool = True) -> str:
        """What there is to know, on a page: the sentence of `str`, counts, classes, reasons and remarks.

        spell: how the reader gives an option of `convert`; by default as a keyword of Python. choice: say why the store
        has its codec.
        """
        chosen = [self.chosen] if self.chosen and choice else []
        counts = count_lines(self.stored, self.failures, self.passed_over)
        lines = [str(self), *chosen, *counts, *self._classes(), *self._told(spell)]
        return "\n".join(map(printable, lines))

    def _classes(self) -> list[str]:
        if self.classes is None:
            return self._numbers()
        shown = [f"{label} {name}" for label, name in enumerate(self.classes[:SHOWN_CLASSES])]
        more = len(self.classes) - len(shown)
        lines = [
            f"label: {counted(len(self.classes), 'class', 'classes')}: {', '.join(shown)}"
            + (f" and {more:,} more" if more else "")
        ]
        if none := self.labels.get(NO_CLASS):
            lines.append(f"{_INDENT}{counted(none, self.nouns.one)} without a class (label {NO_CLASS})")
        return lines

    def _numbers(self) -> list[str]:
        if not self.labels:
            return []
        low, high = min(self.labels), max(self.labels)
        lines = [f"label: whole numbers from {low} to {high}, {counted(len(self.labels), 'value')}"]
        if none := self.labels.get(NO_CLASS):
            lines.append(f"{_INDENT}{counted(none, self.nouns.one)} without a label (label {NO_CLASS})")
        return lines

    def _told(self, spell: Spell) -> list[str]:
        return [self._line(told, KINDS[told.kind], spell) for told in self.remarks]

    def _line(self, told: Told, kind: Kind, spell: Spell) -> str:
        noun = kind.noun or (self.nouns.one, self.nouns.many)
        said = f"{counted(told.count, *noun)} {kind.one if told.count == 1 else kind.many}"
        examples = [path + (f" ({detail})" if detail else "") for path, detail in told.examples if path]
        named = f": {', '.join(examples)}{', ...' if told.count > len(examples) else ''}" if examples else ""
        remedy = f"; {spell(*kind.option)} {kind.does}" if kind.option else ""
        return f"{said}{remedy}{named}"
