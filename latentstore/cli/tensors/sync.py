"""`latentstore sync`: a store of tensors becomes what its folder is now."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.status import DONE, INCOMPLETE, Commands, say
from latentstore.progress import counted

__all__ = ["add", "run"]

NOTES = """\
What there is to do is printed first. A file whose size and time are as they were is not read. Only shards with samples
that changed or are left out are written again. Whoever reads the store meanwhile sees the old version; `latentstore gc`
removes it.

Exit status: 0 the store is what the source is; 1 an error, the store is as it was; 2 wrong usage; 3 the store is up to
date, but some samples could not be read; 130 stopped by Ctrl-C.

Examples:
  latentstore sync features features.store --dry-run
  latentstore sync features features.store --delete
"""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "sync",
        help="make a store of tensors hold what its folder holds now",
        description="Makes STORE, which `latentstore import` made of the folder SOURCE, hold what SOURCE holds now.",
        epilog=NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("source", metavar="SOURCE", help="a folder of files of tensors; a path or any fsspec URL")
    parser.add_argument("store", metavar="STORE", help="a store of tensors; a path or any fsspec URL")
    parser.add_argument("--delete", action="store_true", help="leave out samples whose files are gone")
    parser.add_argument("--dry-run", action="store_true", help="say what there is to do, and do nothing")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.importing.syncing import plan_tensors, sync_tensors

    planned = plan_tensors(options.source, options.store)
    planned[0].deleted = options.delete
    print(f"{options.store}, version {planned[0].version}: {planned[0]}", flush=True)
    if options.dry_run:
        return DONE
    plan, report = sync_tensors(options.source, options.store, delete=options.delete, progress=True, planned=planned)
    print(f"{options.store} has version {plan.version} now")
    if report is None or not report.failures:
        return DONE
    say(f"left out {counted(len(report.failures), 'sample')}, see quarantine.jsonl in the store")
    return INCOMPLETE
