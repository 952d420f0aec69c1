"""`latentstore codecs`: the shipped codecs."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.status import DONE, Commands

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "codecs", help="list the shipped codecs", description="Lists the shipped codecs and their measured figures."
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.stores.info import codecs_table

    print(codecs_table())
    return DONE
