"""One task of a conversion: reads, encodes and writes the samples of one shard."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentstore.codecs.errors import ArgumentError, LatentstoreError, SignalError
from latentstore.codecs.load import codec_of
from latentstore.conversion.quarantine import Failure
from latentstore.conversion.report import Limited
from latentstore.conversion.tasks import Monitor
from latentstore.loaders.manifest import ARTIFACT
from latentstore.sources import Item
from latentstore.sources.signals.base import Signal
from latentstore.sources.signals.front_ends import front_end_of
from latentstore.sources.signals.settings import Settings
from latentstore.writing.spec import Sample, ShardSummary
from latentstore.writing.staged import StagedWriter

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["ShardResult", "ShardTask", "ShardWork"]


@dataclass(frozen=True)
class ShardTask:
    """The number of a shard, and the entries of the source that it is made of."""

    index: int
    items: Sequence[Item]


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard.

    stored: samples in it. failures: entries that could not be read. limited: samples with limited coefficients.
    bytes_in: read from the source; bytes_out: of the blobs. extent: pixels of the images, or samples of the audio.
    """

    index: int
    stored: int
    failures: tuple[Failure, ...]
    limited: tuple[Limited, ...]
    bytes_in: int
    bytes_out: int
    extent: int

    @property
    def entries(self) -> int:
        """Entries of the source that the shard was made of."""
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
    """The work on any shard, called with a task. It pickles, so that other processes and machines can run it."""

    writer: StagedWriter
    settings: Settings

    def __call__(self, task: ShardTask, monitor: Monitor) -> ShardResult:
        codec = codec_of(self.writer.spec.sha256, self._artifact)
        samples: list[Sample] = []
        failures: list[Failure] = []
        limited: list[Limited] = []
        bytes_out = 0
        with closing(front_end_of(codec.modality).signals(self.settings, codec)) as signals:
            for done, item in enumerate(task.items):
                monitor.report(task.index, (done, signals.bytes_in, bytes_out))
                try:
                    sample, outliers = self._sample(codec, item.key, signals.read(item))
                except SignalError as error:
                    if self.settings.raise_errors:
                        raise codec.modality.error(f"{item.path}: {error}") from error
                    failures.append(Failure.of(item.key, item.path, str(error)))
                    continue
                except MemoryError as error:
                    raise LatentstoreError(
                        f"{item.path}: there is not enough memory to read it: use fewer workers"
                    ) from error
                bytes_out += sum(map(len, sample.groups))
                samples.append(sample)
                if outliers:
                    limited.append(Limited(item.key, outliers))
        monitor.report(task.index, (len(task.items), signals.bytes_in, bytes_out))
        notes = [failure.note() for failure in failures] + [one.note() for one in limited]
        notes.append({"bytes_in": signals.bytes_in})
        return ShardResult.of(self.writer.write_shard(task.index, samples, notes))

    def _artifact(self) -> bytes:
        # It lies beside the growing store, so that it need not travel with every task.
        return self.writer.staging.partial.read(ARTIFACT)

    def _sample(self, codec: Codec, key: str, signal: Signal) -> tuple[Sample, int]:
        """The sample, and how many of its coefficients had to be limited."""
        settings = self.settings
        try:
            made = codec.compress_counted(signal.values, settings.quality, settings.effort)
        except ArgumentError as error:  # the options were checked before: it is this signal's size
            raise SignalError(str(error)) from error
        fields = {**signal.fields, **codec.sample_fields(made.groups)}
        return Sample(key, made.groups, signal.width, signal.height, fields), made.limited
