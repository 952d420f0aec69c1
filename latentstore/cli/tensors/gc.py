"""`latentstore gc`: old versions of a store go."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.help import Help
from latentstore.cli.shared.status import DONE, Commands
from latentstore.progress import counted, megabytes

__all__ = ["add", "run"]

NOTES = """\
Examples:
  latentstore gc photos.store --dry-run
  latentstore gc photos.store --keep 2
"""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "gc",
        help="remove old versions of a store that has versions",
        description="Removes the old versions of STORE, and what no version needs. Whoever still reads an old version "
        "gets an error that says so.",
        epilog=NOTES,
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "store", metavar="STORE", help="a store with versions, of latents or of tensors; a path or any fsspec URL"
    )
    parser.add_argument("--keep", type=int, default=1, metavar="N", help="how many versions stay (default: 1)")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.writing.tensors.gc import collect_garbage

    found = collect_garbage(options.store, options.keep, dry_run=options.dry_run)
    would = "would go" if options.dry_run else "removed"
    print(
        f"{options.store}: {would}: {counted(len(found.versions), 'version')}, "
        f"{counted(len(found.objects), 'object')}, {megabytes(found.bytes)}; "
        f"kept: {', '.join(f'version {number}' for number in found.kept)}"
    )
    return DONE
