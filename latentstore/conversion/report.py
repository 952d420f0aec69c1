"""What a conversion reports when it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentstore.codecs.modality import IMAGE, Modality, Nouns
from latentstore.conversion.quarantine import Failure, file_name, read_lines
from latentstore.progress import clock, counted, megabytes, printable

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset

__all__ = ["Limited", "Report"]


@dataclass(frozen=True)
class Limited:
    """A stored sample with coefficients that int8 cannot hold: they were limited, so they come back too weak."""

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

    url: of the store. codec: its name. stored: samples in the store. failures: entries that could not be read, in the
    order of the source. limited: samples that a lower quality would serve better. shards: of the store. resumed: how
    many of them an earlier run had finished. bytes_in: read from the source. bytes_out: of all blobs, with headers.
    extent: pixels of the stored images; of audio, samples, all inputs counted as one. seconds: how long this run took.
    modality, nouns: of the samples.
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
    extent: int
    seconds: float
    modality: Modality = IMAGE
    nouns: Nouns = IMAGE.nouns

    @classmethod
    def of_store(cls, dataset: LatentDataset, format: str, seconds: float) -> Report:
        """The report of a store that an earlier run has published; what was read for it is no longer known."""
        place, location, modality = file_name(format), dataset.reader.location, dataset.modality
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
            extent=int(dataset.info["extent"]),
            seconds=seconds,
            modality=modality,
            nouns=modality.nouns if dataset.size is None else modality.window_nouns,
        )

    def advice(self) -> str:
        """One sentence about `limited`; "" if that is empty."""
        if not self.limited:
            return ""
        worst = max(self.limited, key=lambda one: one.coefficients)
        return printable(
            f"{counted(len(self.limited), self.nouns.one)} had coefficients too large for this quality. They were "
            f"limited, so {self.modality.weak} come back too weak: use a lower quality to avoid that; "
            f"the worst is {worst.key!r}, with {counted(worst.coefficients, 'coefficient')}"
        )

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the blobs for each pixel; of audio, for each sample of all inputs."""
        return 8 * self.bytes_out / self.extent if self.extent else 0.0

    def __str__(self) -> str:
        text = (
            f"{self.url}: {counted(self.stored, self.nouns.one)} in {counted(self.shards, 'shard')}, "
            f"{megabytes(self.bytes_in)} in, {megabytes(self.bytes_out)} out "
            f"({self.bits_per_pixel:.3f} bits per {self.nouns.unit}), {clock(self.seconds)}"
        )
        return text + (f"; {counted(self.resumed, 'shard')} from an earlier run" if self.resumed else "")
