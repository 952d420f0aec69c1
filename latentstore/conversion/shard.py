"""What one task of a conversion does: read, decode, compress and write one whole shard."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentstore.codecs.bitstream.segments import step_code_of
from latentstore.codecs.errors import ArgumentError, LatentstoreError, SignalError
from latentstore.codecs.load import codec_of
from latentstore.codecs.modality import AUDIO, modality_of
from latentstore.conversion.dispatch import Monitor
from latentstore.conversion.quarantine import Failure
from latentstore.conversion.report import Limited
from latentstore.loaders.manifest import ARTIFACT
from latentstore.sources.signals import Signal, signals_of
from latentstore.words import Words, words_of
from latentstore.writing.spec import Sample, ShardSummary
from latentstore.writing.staged import StagedWriter

if TYPE_CHECKING:
    from latentstore.codecs import Codec
    from latentstore.codecs.codec import Effort
    from latentstore.sources import Item

__all__ = ["Settings", "ShardResult", "ShardTask", "ShardWork"]


@dataclass(frozen=True)
class Settings:
    """How every signal is treated.

    mode: what the codec takes, "RGB", "L" or "audio". size: side of the square in pixels, or None for the image's
    own size. effort: "default" or "fast". raise_errors: a bad entry ends the run instead of being left out. Of
    audio, window: samples of a window, None for whole recordings; rate: in hertz, None for each one's own.
    """

    mode: str
    size: int | None
    quality: int
    effort: Effort
    raise_errors: bool
    window: int | None = None
    rate: int | None = None

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) of every signal, None where they differ."""
        if self.window is not None:
            return 1, self.window
        return None if self.size is None else (self.size, self.size)

    @property
    def words(self) -> Words:
        return words_of(self.mode, self.window is not None)


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
        return cls(summary.index, summary.count, failures, limited, bytes_in, summary.bytes, summary.extent)


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
        bytes_out = 0
        with closing(signals_of(self.settings, codec)) as signals:
            for done, item in enumerate(task.items):
                monitor.report(task.index, (done, signals.bytes_in, bytes_out))
                try:
                    sample, outliers = self._sample(codec, item.key, signals.read(item))
                except SignalError as error:
                    if self.settings.raise_errors:
                        raise self.settings.words.error(f"{item.path}: {error}") from error
                    failures.append(Failure.of(item.key, item.path, str(error)))
                    continue
                except MemoryError as error:
                    raise LatentstoreError(f"{item.path}: not enough memory for it; use fewer workers") from error
                bytes_out += sum(map(len, sample.groups))
                samples.append(sample)
                if outliers:
                    limited.append(Limited(item.key, outliers))
        monitor.report(task.index, (len(task.items), signals.bytes_in, bytes_out))
        told: list[Failure | Limited] = [*failures, *limited]
        notes = [*(one.note() for one in told), {"bytes_in": signals.bytes_in}]
        return ShardResult.of(self.writer.write_shard(task.index, samples, notes))

    def _artifact(self) -> bytes:
        # It lies beside the growing store, so that it need not travel with every task.
        return self.writer.staging.partial.read(ARTIFACT)

    def _sample(self, codec: Codec, key: str, signal: Signal) -> tuple[Sample, int]:
        """The sample, and how many of its coefficients had to be limited."""
        settings = self.settings
        try:
            groups, outliers = codec.compress_counted(signal.values, settings.quality, settings.effort)
        except ArgumentError as error:  # the options were checked before: it is this signal's size
            raise SignalError(str(error)) from error
        fields = signal.fields
        if modality_of(settings.mode) is AUDIO:
            fields = {**fields, "step": step_code_of(groups[0])}
        return Sample(key, groups, signal.width, signal.height, fields), outliers
