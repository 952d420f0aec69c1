"""What one task of a conversion does: read, decode, compress and write one whole shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.codecs.errors import ArgumentError, LatentstoreError, PictureError
from latentstore.codecs.resolve import codec_of
from latentstore.dispatch import Monitor
from latentstore.loaders.staged_writer import StagedWriter
from latentstore.loaders.staging import ARTIFACT
from latentstore.loaders.writer import Field, Sample, ShardSummary
from latentstore.pictures import read_picture
from latentstore.quarantine import Failure
from latentstore.report import Limited

if TYPE_CHECKING:
    from latentstore.codecs import Codec
    from latentstore.codecs.codec import Effort
    from latentstore.sources import Item

__all__ = ["Settings", "ShardResult", "ShardTask", "ShardWork"]


@dataclass(frozen=True)
class Settings:
    """How every picture is treated.

    mode: what the codec takes, "RGB" or "L". size: side of the square in pixels, or None for the picture's
    own size. effort: "default" or "fast". raise_errors: a bad picture ends the run instead of being left out.
    """

    mode: str
    size: int | None
    quality: int
    effort: Effort
    raise_errors: bool


@dataclass(frozen=True)
class ShardTask:
    """One shard's number and the source items that belong to it."""

    index: int
    items: Sequence[Item]


@dataclass(frozen=True)
class ShardResult:
    """What became of one shard; `bytes_in` counts the source's bytes that were read for it."""

    index: int
    stored: int
    failures: tuple[Failure, ...]
    limited: tuple[Limited, ...]
    bytes_in: int
    bytes_out: int
    pixels: int

    @property
    def entries(self) -> int:
        """Items of the source that it was made of."""
        return self.stored + len(self.failures)

    @classmethod
    def of(cls, summary: ShardSummary) -> ShardResult:
        """From what the writer recorded, in this run or in an earlier one."""
        notes = summary.notes
        failures = tuple(Failure.from_note(note) for note in notes if "reason" in note)
        limited = tuple(Limited.from_note(note) for note in notes if "limited" in note)
        bytes_in = sum(note["bytes_in"] for note in notes if "bytes_in" in note)
        return cls(summary.index, summary.count, failures, limited, bytes_in, summary.bytes, summary.pixels)


@dataclass(frozen=True)
class ShardWork:
    """The work itself, called with a task; pickles, so that it can be sent to another machine."""

    writer: StagedWriter
    settings: Settings

    def __call__(self, task: ShardTask, monitor: Monitor) -> ShardResult:
        codec = codec_of(self.writer.spec.sha256, self._artifact)
        samples: list[Sample] = []
        failures: list[Failure] = []
        limited: list[Limited] = []
        bytes_in = bytes_out = 0
        for done, item in enumerate(task.items):
            monitor.report(task.index, (done, bytes_in, bytes_out))
            try:
                data, fields = item.load()
                bytes_in += data.nbytes if isinstance(data, np.ndarray) else len(data)
                sample, outliers = self._sample(codec, item.key, data, fields)
            except PictureError as error:
                if self.settings.raise_errors:
                    raise PictureError(f"{item.path}: {error}") from error
                failures.append(Failure.of(item.key, item.path, str(error)))
                continue
            except MemoryError as error:
                raise LatentstoreError(f"{item.path}: not enough memory for it; use fewer workers") from error
            bytes_out += sum(map(len, sample.groups))
            samples.append(sample)
            if outliers:
                limited.append(Limited(item.key, outliers))
        monitor.report(task.index, (len(task.items), bytes_in, bytes_out))
        told: list[Failure | Limited] = [*failures, *limited]
        notes = [*(one.note() for one in told), {"bytes_in": bytes_in}]
        return ShardResult.of(self.writer.write_shard(task.index, samples, notes))

    def _artifact(self) -> bytes:
        # It lies beside the growing store, so that it need not travel with every task.
        return self.writer.staging.partial.read(ARTIFACT)

    def _sample(
        self, codec: Codec, key: str, data: bytes | np.ndarray, fields: dict[str, Field]
    ) -> tuple[Sample, int]:
        """The sample, and how many of its coefficients had to be limited."""
        settings = self.settings
        picture = read_picture(data, settings.mode, settings.size)
        try:
            groups, outliers = codec.compress_counted(picture, settings.quality, settings.effort)
        except ArgumentError as error:  # the options were checked before: it is this picture's size
            raise PictureError(str(error)) from error
        return Sample(key, groups, picture.shape[1], picture.shape[0], fields), outliers
