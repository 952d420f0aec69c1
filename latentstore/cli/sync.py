"""`latentstore sync`: a store becomes what its source is now."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from latentstore.cli.shared.help import Help
from latentstore.cli.shared.signals import add_signals, signals_of
from latentstore.cli.shared.status import DONE, INCOMPLETE, Commands, say
from latentstore.progress import counted, printable

if TYPE_CHECKING:
    from latentstore.syncing.plan import SyncPlan

__all__ = ["add", "run"]

# So many entries that cannot be read are named on the screen.
MOST_NAMED = 500
NOTES = """\
STORE is one of latents, which is made if it is not there, or one of tensors, which `latentstore import` made of the
folder SOURCE. What there is to do is printed first. A file whose size and time are as they were is not read. Only
shards with samples that changed or are left out are written again; where many small shards lie side by side, they are
joined. Whoever reads the store meanwhile sees the old version; `latentstore gc` removes it.

The options below --dry-run are for latents, and those of `latentstore convert`. Of a store that is there, they are
those that it was made with; if others are given, everything is encoded again.

Exit status: 0 the store is what the source is; 1 an error, the store is as it was; 2 wrong usage; 3 the store is up to
date, but some samples could not be read; 130 stopped by Ctrl-C.

Examples:
  latentstore sync photos photos.store
  latentstore sync photos photos.store --delete --dry-run
  latentstore sync features features.store --delete
"""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "sync",
        help="make a store hold what its source holds now, or make it",
        description="Makes STORE hold what SOURCE holds now, as a new version. What has not changed is not encoded.",
        epilog=NOTES,
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    option = parser.add_argument
    option("source", metavar="SOURCE", help="what `latentstore convert` or `latentstore import` takes")
    option("store", metavar="STORE", help="a store with versions, of latents or of tensors; a path or any fsspec URL")
    option("--delete", action="store_true", help="leave out samples whose files are gone")
    option("--dry-run", action="store_true", help="say what there is to do, and do nothing")
    add_signals(option)


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.syncing.stores import holds_tensors

    return _tensors(options) if holds_tensors(options.store) else _latents(options)


def _version_now(store: str, plan: SyncPlan) -> str:
    copied = plan.copied
    joined = f"; {copied.joined} small shards were joined into {copied.into}" if copied.joined else ""
    return f"{store} has version {plan.version} now{joined}"


def _latents(options: argparse.Namespace) -> int:
    from latentstore.syncing.latents import sync_latents

    def planned(plan: SyncPlan) -> None:
        print(f"{options.store}, version {plan.version}: {plan}", flush=True)

    plan, report = sync_latents(
        options.source, options.store, delete=options.delete, dry_run=options.dry_run, progress=True, planned=planned,
        **signals_of(options),
    )  # fmt: skip
    if options.dry_run:
        return DONE
    if report is not None:
        print(report.page(lambda name, value: f"--{name.replace('_', '-')} {value}"))
        print(_version_now(options.store, plan))
    left_out = plan.unreadable if report is None else len(report.failures)
    if not left_out:
        return DONE
    where = ", see quarantine.jsonl in the store" if options.on_error == "quarantine" else ""
    say(f"{counted(left_out, 'entry', 'entries')} could not be read{where}")
    return INCOMPLETE


def _tensors(options: argparse.Namespace) -> int:
    from latentstore.importing.syncing import plan_tensors, sync_tensors

    planned = plan_tensors(options.source, options.store, delete=options.delete)
    print(f"{options.store}, version {planned[0].version}: {planned[0]}", flush=True)
    if options.dry_run:
        return DONE
    plan, report = sync_tensors(options.source, options.store, delete=options.delete, progress=True, planned=planned)
    print(_version_now(options.store, plan))
    if report is None:
        unread = planned[1].failures
        for failure in unread[:MOST_NAMED]:
            say(printable(f"{failure}"))
        if unread:
            say(f"{counted(len(unread), 'entry', 'entries')} could not be read, so that their samples stay as they are")
        return INCOMPLETE if unread else DONE
    if not report.failures:
        return DONE
    say(f"left out {counted(len(report.failures), 'sample')}, see quarantine.jsonl in the store")
    return INCOMPLETE
