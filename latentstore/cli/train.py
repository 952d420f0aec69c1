"""`latentstore train`: trains a decoder that refines what a codec decodes, or a codec with its decoder."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.status import DONE, Commands

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="train a decoder that refines what a codec decodes",
        description="Trains a decoder as a recipe says, or a codec with its decoder, and writes their files. It keeps "
        "a checkpoint, a log and a plot of the curves in the recipe's folder `work`. When it was stopped, the same "
        "command goes on.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "recipe", metavar="RECIPE.toml", help="what to train, on which images or recordings, and for how long"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.train.api import train

    train(options.recipe, say=lambda line: print(line, flush=True), progress=None)
    return DONE
