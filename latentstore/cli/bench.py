"""`latentstore bench`: how fast a store is read here."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from latentstore.cli.shared.help import Help
from latentstore.cli.shared.status import DONE, Commands
from latentstore.progress import Progress

__all__ = ["add", "run"]

NOTES = """\
Examples:
  latentstore bench photos.zarr
  latentstore bench s3://bucket/photos.zarr --channels 12 --shuffle block --workers 8
"""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "bench",
        help="measure how fast a store is read here",
        description="Reads batches of a store for some seconds and prints samples a second, the share of each stage, "
        "what this machine could do at most, and what to change. Nothing is written.",
        epilog=NOTES,
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    option = parser.add_argument
    option("store", metavar="STORE", help="path or URL of a store of latents")
    option("--channels", type=int, metavar="K", help="read the first K channels only (default: all)")
    option("--batch-size", type=int, default=256, metavar="N", help="samples in a batch (default: 256)")
    option("--workers", type=int, metavar="N", help="threads of the loader (default: one per core)")
    option(
        "--shuffle",
        choices=("none", "full", "block"),
        help="order of the samples (default: full for local stores, block for others)",
    )
    option("--output", default="codes", metavar="NAME", help="what batches hold (default: codes)")
    option("--seconds", type=float, default=12.0, metavar="S", help="about how long it measures (default: 12)")
    option("--json", action="store_true", help="print the figures and the advice as JSON")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.bench.advice import advice, table
    from latentstore.bench.measure import bench

    with Progress() as shown:
        found = bench(
            options.store,
            channels=options.channels,
            batch_size=options.batch_size,
            workers=options.workers,
            shuffle={None: None, "none": False, "full": True, "block": "block"}[options.shuffle],
            output=options.output,
            seconds=options.seconds,
            told=shown.begin,
        )
    print(json.dumps({**asdict(found), "advice": advice(found)}, indent=1) if options.json else table(found))
    return DONE
