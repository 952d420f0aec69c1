"""One task of a conversion: reads, encodes and writes the samples of one shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentstore.codecs.errors import ArgumentError, LatentstoreError, SignalError
from latentstore.codecs.load import codec_of
from latentstore.conversion.quarantine import Failure
from latentstore.conversion.tasks import Monitor
from latentstore.loaders.manifest import ARTIFACT
from latentstore.progress import counted
from latentstore.sources import Item
from latentstore.sources.identity import Fingerprints, source_of
from latentstore.sources.remarks import Remark, Told, merged, tally
from latentstore.sources.signals.base import Signal
from latentstore.sources.signals.contents import reason_of
from latentstore.sources.signals.front_ends import front_end_of
from latentstore.sources.signals.settings import Settings
from latentstore.stores.labels import label_problem, outside_classes
from latentstore.writing.sharded import ShardWriter
from latentstore.writing.spec import Sample, ShardSummary

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

    stored: samples in it. failures: entries that could not be read. remarks: what is worth knowing of the others.
    labels: how many samples have each label. bytes_in: read from the source; bytes_out: of the blobs. extent: pixels of
    the images, or samples of the audio.
    """

    index: int
    stored: int
    failures: tuple[Failure, ...]
    remarks: tuple[Told, ...]
    labels: dict[int, int]
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
        whole = next(note for note in notes if "bytes_in" in note)
        remarks = merged(map(Told.from_json, whole["remarks"]))
        labels = dict(whole["labels"])
        return cls(
            summary.index, summary.count, failures, remarks, labels, whole["bytes_in"], summary.bytes, summary.extent
        )


@dataclass(frozen=True)
class ShardWork:
    """The work on any shard, called with a task. It pickles, so that other processes and machines can run it."""

    writer: ShardWriter
    settings: Settings

    def __call__(self, task: ShardTask, monitor: Monitor) -> ShardResult:
        codec = codec_of(self.writer.spec.sha256, self._artifact)
        samples: list[Sample] = []
        failures: list[Failure] = []
        remarks: list[tuple[str, Remark]] = []
        bytes_out = 0
        fingerprints = Fingerprints()
        with closing(front_end_of(codec.modality).signals(self.settings, codec)) as signals:
            for done, item in enumerate(task.items):
                monitor.report(task.index, (done, signals.bytes_in, bytes_out))
                source = ""
                try:
                    source = source_of(item, fingerprints) if self.writer.keeps_sources else ""
                    signal = signals.read(item)
                    sample, told = self._sample(codec, item.key, signal, source)
                except SignalError as error:
                    reason = reason_of(item, error, codec.modality)
                    if self.settings.raise_errors:
                        raise codec.modality.error(f"{item.path}: {reason}") from error
                    failures.append(Failure.of(item.key, item.path, reason, source))
                    continue
                except MemoryError as error:
                    raise LatentstoreError(
                        f"{item.path}: there is not enough memory to read it: use fewer workers"
                    ) from error
                bytes_out += sum(map(len, sample.groups))
                samples.append(sample)
                remarks += [(item.path, remark) for remark in (*signal.remarks, *told)]
        monitor.report(task.index, (len(task.items), signals.bytes_in, bytes_out))
        self._check_labels(samples)
        labels = Counter(
            int(sample.fields["label"]) for sample in samples if isinstance(sample.fields.get("label"), int)
        )
        whole = {
            "bytes_in": signals.bytes_in,
            "remarks": [told.as_json() for told in tally(remarks)],
            "labels": sorted(labels.items()),
        }
        notes = [*(failure.note() for failure in failures), whole]
        return ShardResult.of(self.writer.write_shard(task.index, samples, notes))

    def _check_labels(self, samples: Sequence[Sample]) -> None:
        """ArgumentError where a label is no class, so that no store is published that `verify` would refuse."""
        classes = self.writer.spec.classes
        labelled = [sample for sample in samples if "label" in sample.fields]
        for at in outside_classes([sample.fields["label"] for sample in labelled], classes)[:1]:
            raise ArgumentError(label_problem(labelled[at].key, labelled[at].fields["label"], classes or ()))

    def _artifact(self) -> bytes:
        # It lies beside the growing store, so that it need not travel with every task.
        return self.writer.staging.partial.read(ARTIFACT)

    def _sample(self, codec: Codec, key: str, signal: Signal, source: str) -> tuple[Sample, list[Remark]]:
        """The sample, and what became of its signal."""
        settings = self.settings
        try:
            made = codec.compress_counted(signal.values, settings.quality, settings.effort)
        except ArgumentError as error:  # the options were checked before: it is this signal's size
            raise SignalError(str(error)) from error
        fields = {**signal.fields, **codec.sample_fields(made.groups)}
        told = [Remark("coefficients", counted(made.limited, "coefficient"))] if made.limited else []
        if made.silenced:
            told.append(Remark("silence", f"{made.kept:.1%} of its power is kept"))
        return Sample(key, made.groups, signal.width, signal.height, fields, source), told
