"""What `verify` reports, of every kind of store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from latentstore.codecs.errors import LatentstoreError
from latentstore.progress import counted

__all__ = ["Checked", "Report", "caught"]

Checked = Callable[[int, int], None]
"""Called with (samples done, all)."""


@dataclass
class Report:
    """What `verify` has found.

    url: of the store. samples, shards, bytes: what was checked. problems: one line each, which names shard and key;
    empty if the store is good.
    """

    url: str
    samples: int = 0
    shards: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        found = len(self.problems)
        verdict = counted(found, "problem") if found else f"{self.bytes:,} bytes of blobs, all good"
        return f"{self.url}: {counted(self.samples, 'sample')} in {counted(self.shards, 'shard')}, {verdict}"


def caught(check: Callable[[], list[str]]) -> list[str]:
    """The problems that a check finds, or the error that ends it."""
    try:
        return check()
    except LatentstoreError as error:
        return [str(error)]
