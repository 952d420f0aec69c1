"""`latentstore info`: what a store holds."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.status import DONE, Commands

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("info", help="print what a store holds", description="Prints what a store holds.")
    parser.set_defaults(run=run)
    parser.add_argument("store", metavar="STORE", help="path or URL of a store")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.stores.info import store_table

    print(store_table(options.store))
    return DONE
