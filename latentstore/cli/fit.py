"""`latentstore fit`: fits a codec to a folder of images or recordings."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.help import Help
from latentstore.cli.shared.status import DONE, Commands

__all__ = ["add", "run"]

NOTES = """\
Examples:
  latentstore fit scans --name scans-f8c48 --out scans-f8c48.safetensors
  latentstore fit voices --name voices --like mono-f32c32 --out voices.safetensors
"""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "fit",
        help="fit a codec to your own images or recordings",
        description="Fits a codec to the images or recordings of FOLDER and its subfolders, and writes its artifact. "
        "This takes about a minute for 40 megapixels or for a minute of music. The same files give the same bytes.",
        epilog=NOTES,
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    option = parser.add_argument
    option("folder", metavar="FOLDER", help="some tens to a few hundred files, like those that will be stored")
    option("--name", required=True, help="the name of the codec: lower-case letters, digits, '.', '_', '-', at most 64")
    option(
        "--like",
        default="rgb-f8c48",
        metavar="CODEC",
        help="the shipped codec whose modality, channels and groups the new one gets (default: %(default)s)",
    )
    option("--out", required=True, metavar="FILE", help="the artifact to write: a name in .safetensors")
    option("--licence", default="not stated", metavar="TEXT", help="a text for the artifact (default: '%(default)s')")
    option(
        "--rounds",
        type=int,
        default=2,
        metavar="N",
        help="how often latents are optimised and the models are fitted again (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.fit.api import fit_file

    codec = fit_file(
        options.folder,
        options.out,
        options.name,
        options.like,
        options.licence,
        options.rounds,
        lambda line: print(line, flush=True),
    )
    print(f"{codec.name}, SHA-256 {codec.sha256[:12]}..., in {options.out}")
    return DONE
