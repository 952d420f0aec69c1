"""`latentstore export`: the samples of a store back to files."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.decoder import add_decoder, chosen_decoder
from latentstore.cli.shared.help import Help
from latentstore.cli.shared.status import DONE, INCOMPLETE, Commands, say
from latentstore.progress import counted

__all__ = ["add", "run"]

NOTES = """\
Examples:
  latentstore export photos.zarr folder
  latentstore export photos.zarr folder --limit 20 --decoder linear
  latentstore export features.store folder --format npz --as-float32
"""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "export",
        help="write the samples of a store to files: PNG, WAV, safetensors or npz",
        description="Decodes a store. Images are written as FOLDER/KEY.png, audio as FOLDER/KEY.wav with 16 bits, "
        "tensors as FOLDER/KEY.safetensors or .npz, and latents beside tensors as FOLDER/KEY.FIELD.png or .wav. All "
        "other fields, such as labels, go to FOLDER/fields.jsonl. The exit status is 3 if some samples could not be "
        "written.",
        epilog=NOTES,
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    option = parser.add_argument
    option("store", metavar="STORE", help="path or URL of a store")
    option("folder", metavar="FOLDER", help="where the files are written; a new or empty folder")
    option("--limit", type=int, metavar="N", help="only the first N samples (default: all)")
    option(
        "--channels",
        type=int,
        metavar="K",
        help="decode from the first K channels only (default: all)",
    )
    add_decoder(option)
    option("--format", choices=("safetensors", "npz"), help="of tensors (default: safetensors)")
    option("--as-float32", action="store_true", help="of tensors: write bfloat16 as float32; npz needs it for bfloat16")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.stores.export import export

    done = export(
        options.store,
        options.folder,
        limit=options.limit,
        channels=options.channels,
        decoder=chosen_decoder(options),
        format=options.format,
        as_float32=options.as_float32,
        progress=True,
    )
    print(f"{counted(done.count, 'file')} in {options.folder}")
    if not done.failures:
        return DONE
    say(f"{counted(len(done.failures), 'sample')} could not be written, and {counted(done.count, 'file')} could")
    return INCOMPLETE
