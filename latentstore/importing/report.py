"""What an import reports when it has ended: lines on the screen, and `report.json` in the store.

Its numbers add up: entries found = stored + left out + passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from latentstore.conversion.quarantine import Failure, count_lines, reasons
from latentstore.progress import clock, counted, megabytes, printable

__all__ = ["QUARANTINE", "REPORT", "ImportReport"]

QUARANTINE = "quarantine.jsonl"
REPORT = "report.json"


@dataclass(frozen=True)
class ImportReport:
    """What `import_tensors` did.

    url: of the store. kind: what the source is. stored: samples of the source that are in the store; resumed: how many
    of them were there before. failures: samples that are left out, in the order of the source. passed_over: files that
    are no part of the data set, by what they are. shards: of the store. bytes_in: of the tensors and other values that
    this run has stored. bytes_out: of all shards of the store. seconds: how long this run took. fields: what each field
    is, by name.
    """

    url: str
    kind: str
    stored: int
    failures: tuple[Failure, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)
    resumed: int = 0
    shards: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """Entries of the source: stored, left out, or passed over."""
        return self.stored + len(self.failures) + sum(self.passed_over.values())

    def as_json(self) -> bytes:
        """The content of `report.json`: it depends on the source and the options only, not on how a run went."""
        said = {
            "found": self.found,
            "stored": self.stored,
            "left_out": len(self.failures),
            "passed_over": dict(sorted(self.passed_over.items())),
            "source": self.kind,
            "fields": dict(self.fields),
            "reasons": [{"reason": reason, "count": count} for reason, count in reasons(self.failures)],
        }
        return (json.dumps(said, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")

    def __str__(self) -> str:
        text = (
            f"{self.url}: {counted(self.stored, 'sample')} in {counted(self.shards, 'shard')}, source: {self.kind}, "
            f"{megabytes(self.bytes_in)} in, {megabytes(self.bytes_out)} in the store, {clock(self.seconds)}"
        )
        return text + (f"; {counted(self.resumed, 'sample')} from an earlier run" if self.resumed else "")

    def page(self) -> str:
        """The sentence of `str`, the fields, and where the entries of the source are."""
        fields = [f"  {name}: {said}" for name, said in self.fields.items()]
        lines = [str(self), *fields, *count_lines(self.stored, self.failures, self.passed_over)]
        return "\n".join(map(printable, lines))
