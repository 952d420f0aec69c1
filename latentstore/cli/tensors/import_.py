"""`latentstore import`: a store of the tensors that are there already."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.help import Help
from latentstore.cli.shared.status import DONE, INCOMPLETE, Commands, say
from latentstore.cli.tensors.options import SOURCE, add_fields, chosen_fields
from latentstore.codecs.errors import ArgumentError
from latentstore.progress import counted

__all__ = ["add", "run"]

NOTES = """\
Samples that cannot be read, or do not fit the fields of the others, are named on the screen and listed in
quarantine.jsonl inside the store. All others are stored. Nothing that a file holds is run: pickles are refused.

The store appears at TARGET when it is complete. After Ctrl-C, a crash or a full disk, --resume goes on. On a published
store, --resume adds the samples whose keys are not there yet.

Exit status: 0 all samples are stored; 1 an error, nothing is published; 2 wrong usage; 3 the store is published, but
some samples are left out; 130 stopped by Ctrl-C.

Examples:
  latentstore import features features.store
  latentstore import latents latents.store --coding step --snr 32 --encoder-name vae --encoder-weights vae.safetensors
  latentstore import 's3://bucket/x-{000..099}.tar' x.store --dtype float16 --field jpg=skip
"""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "import",
        help="make a store of tensors that other encoders made",
        description="Makes the store TARGET of the tensors of SOURCE.",
        epilog=NOTES,
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    option = parser.add_argument
    option("source", metavar="SOURCE", help=SOURCE)
    option("target", metavar="TARGET", help="where the store will be; a path or any fsspec URL")
    add_fields(option)
    option(
        "--coders",
        metavar="PATH",
        help="what `latentstore fit-tensors` wrote, a folder or a file (default: coders are fitted to the source)",
    )
    option("--encoder-name", metavar="NAME", help="what made the tensors; readers can ask for it")
    option("--encoder-weights", nargs="+", metavar="FILE", help="the files of its weights, whose SHA-256 is stored")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="replace the store at TARGET")
    again.add_argument("--resume", action="store_true", help="go on with an import that was stopped, or add to a store")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.importing.api import import_tensors
    from latentstore.loaders.tensors.encoder import Encoder

    encoder = None
    if options.encoder_weights and not options.encoder_name:
        raise ArgumentError("--encoder-weights says which weights the encoder has: give --encoder-name too")
    if options.encoder_name:
        weights, name = options.encoder_weights, options.encoder_name
        encoder = Encoder.of_files(name, weights) if weights else Encoder(name)
    report = import_tensors(
        options.source,
        options.target,
        coders=options.coders,
        encoder=encoder,
        resume=options.resume,
        overwrite=options.overwrite,
        progress=True,
        **chosen_fields(options),
    )
    print(report.page())
    if not report.failures:
        return DONE
    say(f"left out {counted(len(report.failures), 'sample')}, see quarantine.jsonl in the store")
    return INCOMPLETE
