"""`latentstore fit-tensors`: coders of your own tensors."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.help import Help
from latentstore.cli.shared.status import DONE, Commands
from latentstore.cli.tensors.options import SOURCE, add_fields, chosen_fields
from latentstore.progress import printable

__all__ = ["add", "run"]

NOTES = """\
Examples:
  latentstore fit-tensors latents coders --coding step --snr 32
  latentstore import latents latents.store --coders coders
"""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "fit-tensors",
        help="fit coders to a sample of your own tensors",
        description="Fits a coder for each tensor field of SOURCE, for `latentstore import --coders` and for "
        "latentstore.Writer(coders=...). The same tensors give the same bytes.",
        epilog=NOTES,
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    option = parser.add_argument
    option("source", metavar="SOURCE", help=SOURCE)
    option(
        "coders",
        metavar="CODERS",
        help="a folder, where each coder is FIELD.safetensors; or a file x.safetensors, if there is one tensor field",
    )
    add_fields(option)
    option(
        "--samples",
        type=int,
        default=512,
        metavar="N",
        help="how many samples from all over the source the coders are fitted to (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.importing.fitting import fit_tensors

    files = fit_tensors(
        options.source, options.coders, samples=options.samples, progress=True, **chosen_fields(options)
    )
    for name, path in files.items():
        print(printable(f"{name}: {path}"))
    return DONE
