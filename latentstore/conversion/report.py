"""What a conversion says when it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentstore.conversion.quarantine import Failure, file_name, read_lines
from latentstore.progress import clock, counted, megabytes, printable
from latentstore.words import IMAGES, Words, words_of

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset

__all__ = ["Limited", "Report"]


@dataclass(frozen=True)
class Limited:
    """A stored signal with coefficients that int8 cannot hold: there it is rebuilt too weakly."""

    key: str
    coefficients: int

    def note(self) -> dict[str, Any]:
        """As a note of the shard, so that a resumed run knows it too."""
        return {"key": self.key, "limited": self.coefficients}

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> Limited:
        return cls(str(note["key"]), int(note["limited"]))


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    url: of the store. stored: samples in it. failures: the entries left out, in source order. limited: the
    stored ones that ask for a lower quality. shards: of the store. resumed: how many of them an earlier run had
    finished. bytes_in: read from the source; bytes_out: of all blobs, headers included. pixels: of the stored
    images, or samples of the stored audio, inputs counted once. seconds: of this run. words: for what is stored.
    """

    url: str
    codec: str
    stored: int
    failures: tuple[Failure, ...]
    limited: tuple[Limited, ...]
    shards: int
    resumed: int
    bytes_in: int
    bytes_out: int
    pixels: int
    seconds: float
    words: Words = IMAGES

    @classmethod
    def of_store(cls, dataset: LatentDataset, format: str, seconds: float) -> Report:
        """Of a store that an earlier run had published; what was read for it is not known any more."""
        place, location = file_name(format), dataset.reader.location
        shards = len(dataset.shard_starts) - 1
        return cls(
            url=dataset.url,
            codec=dataset.codec.name,
            stored=len(dataset),
            failures=tuple(read_lines(location.read(place))) if location.exists(place) else (),
            limited=(),
            shards=shards,
            resumed=shards,
            bytes_in=0,
            bytes_out=int(dataset.info["blob_bytes"]),
            pixels=int(dataset.info["extent"]),
            seconds=seconds,
            words=words_of(dataset.codec.mode, dataset.size is not None),
        )

    def advice(self) -> str:
        """One sentence on what is in `limited`; "" if that is empty."""
        if not self.limited:
            return ""
        worst = max(self.limited, key=lambda one: one.coefficients)
        return printable(
            f"{counted(len(self.limited), self.words.one)} had coefficients too large for this quality, which were "
            f"limited, so {self.words.weak} come back too weak: a lower quality avoids that; "
            f"the worst is {worst.key!r}, with {counted(worst.coefficients, 'coefficient')}"
        )

    @property
    def bits_per_pixel(self) -> float:
        return 8 * self.bytes_out / self.pixels if self.pixels else 0.0

    def __str__(self) -> str:
        text = (
            f"{self.url}: {counted(self.stored, self.words.one)} in {counted(self.shards, 'shard')}, "
            f"{megabytes(self.bytes_in)} in, {megabytes(self.bytes_out)} out "
            f"({self.bits_per_pixel:.3f} bits per {self.words.unit}), {clock(self.seconds)}"
        )
        return text + (f"; {counted(self.resumed, 'shard')} there already" if self.resumed else "")
