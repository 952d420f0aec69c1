"""`latentstore verify`: checks every blob of a store."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.status import DONE, FAILED, Commands
from latentstore.progress import Progress, printable

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "verify",
        help="check every blob of a store",
        description="Checks the checksum and the shape of every blob, the counts, and the artifact. The exit status is "
        "1 if anything is wrong.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("store", metavar="STORE", help="path or URL of a store")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.stores.verify import verify

    with Progress() as shown:
        shown.begin(f"opening {options.store}")
        begun = False

        def checked(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                shown.begin(f"verifying {options.store}", total=total, unit="samples")
                begun = True
            shown.advance(done - shown.done)

        report = verify(options.store, progress=checked)
    for problem in report.problems:
        print(printable(problem))
    print(report)
    return FAILED if report.problems else DONE
