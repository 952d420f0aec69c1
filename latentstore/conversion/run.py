"""One run of a conversion: its shards, what is shown of them, and the publishing of the store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from latentstore.codecs.errors import LatentstoreError
from latentstore.conversion.plan import Plan
from latentstore.conversion.quarantine import quarantine_name, write_lines
from latentstore.conversion.report import Report, report_name
from latentstore.conversion.shard import ShardResult, ShardTask, ShardWork
from latentstore.conversion.tasks import Counts
from latentstore.progress import Progress
from latentstore.sources.remarks import Remark, Told, merged, tally

if TYPE_CHECKING:
    from latentstore.conversion.dispatch import Dispatch
    from latentstore.writing.sharded import ShardWriter

__all__ = ["Run"]

# So many are named on the screen: a folder of something else must not fill it.
MOST_NAMED = 500


class Run:
    """Runs a plan into a writer.

    on_error: as `convert` takes it. format: of the store. chosen: why it has its codec, if `convert` chose it.
    """

    def __init__(
        self, plan: Plan, writer: ShardWriter, format: str, on_error: str, shown: Progress, chosen: str = ""
    ) -> None:
        self.plan, self.writer, self.format, self.on_error = plan, writer, format, on_error
        self.shown, self.chosen = shown, chosen
        self.results = {index: ShardResult.of(summary) for index, summary in writer.done().items()}
        self.resumed = len(self.results)
        self._live: dict[int, Counts] = {}
        self._named = 0
        self._lock = threading.Lock()

    def convert(self, dispatch: Dispatch) -> None:
        """Converts every shard that an earlier run has not finished."""
        plan, earlier = self.plan, list(self.results.values())
        self.shown.begin(
            f"converting on {dispatch.describe()}",
            total=len(plan.items),
            unit=plan.settings.nouns.many,
            before=sum(result.entries for result in earlier),
        )
        for result in earlier:
            self._show_failures(result)
        tasks = (
            ShardTask(index, plan.items[start:stop])
            for index, (start, stop) in enumerate(plan.bounds)
            if index not in self.results
        )
        dispatch.run(ShardWork(self.writer, plan.settings), tasks, self._finished, self._watch)

    def publish(self, seconds: float, before: Sequence[ShardResult] = ()) -> Report:
        """Publishes the store, and reports what it holds.

        seconds: how long the run has taken. before: what the store holds of the source without this run's shards.
        """
        own = len(self.plan.bounds)
        results = [*before, *(self.results[index] for index in range(own))]
        failures = tuple(failure for result in results for failure in result.failures)
        settings = self.plan.settings
        if not any(result.stored for result in results):
            self.writer.abort()
            raise LatentstoreError(
                f"none of the {len(self.plan.items):,} entries of {self.plan.spec.source} could be read as "
                f"{settings.modality.nouns.many}, so there is no store; the first: {failures[0]}"
            )
        self.shown.begin("publishing")
        labels: Counter[int] = Counter()
        for result in results:
            labels.update(result.labels)
        report = Report(
            url=self.writer.url,
            codec=self.plan.spec.codec,
            stored=sum(result.stored for result in results),
            failures=failures,
            shards=sum(result.stored > 0 for result in results),
            resumed=self.resumed,
            bytes_in=sum(result.bytes_in for result in results),
            bytes_out=sum(result.bytes_out for result in results),
            extent=sum(result.extent for result in results),
            seconds=seconds,
            modality=settings.modality,
            nouns=settings.nouns,
            passed_over=self.plan.passed_over,
            remarks=merged(
                [
                    *self.plan.remarks,
                    *(told for result in results for told in result.remarks),
                    *_empty(self.plan.spec.classes or (), labels),
                ]
            ),
            classes=self.plan.spec.classes,
            labels=labels,
            chosen=self.chosen,
        )
        store = self.writer.staging.store
        if failures and self.on_error == "quarantine":
            store.write(quarantine_name(self.format), write_lines(failures))
        store.write(report_name(self.format), report.as_json())
        self.writer.finish(own)
        return report

    def _watch(self, index: int, counts: Counts) -> None:
        # A task runs again where its worker died, so what it counts replaces what was counted for it before.
        with self._lock:
            if index in self.results:
                return
            before = self._live.get(index, (0, 0, 0))
            self._live[index] = counts
        self.shown.advance(*(new - old for new, old in zip(counts, before, strict=True)))

    def _finished(self, result: ShardResult) -> None:
        self.writer.check_lock()
        self._watch(result.index, (result.entries, result.bytes_in, result.bytes_out))
        self.results[result.index] = result
        self._show_failures(result)

    def _show_failures(self, result: ShardResult) -> None:
        if result.failures and self.on_error == "raise":  # an earlier run left it out
            raise self.plan.settings.modality.error(str(result.failures[0]))
        if self.on_error == "quarantine":
            for failure in result.failures:
                self._named += 1
                if self._named <= MOST_NAMED:
                    self.shown.note(f"quarantined {failure}")
                elif self._named == MOST_NAMED + 1:
                    self.shown.note("there are more; quarantine.jsonl in the store will list them all")


def _empty(classes: Sequence[str], labels: Mapping[int, int]) -> tuple[Told, ...]:
    """The classes that no sample has."""
    return tally((name, Remark("empty-class")) for i, name in enumerate(classes) if not labels.get(i))
