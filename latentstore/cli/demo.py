"""`latentstore demo`: converts, compares, streams and draws a small data set."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.status import DONE, Commands

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="show every step on a few images or recordings",
        description="Cuts photographs from scikit-image into tiles, converts them, compares bytes and speed with JPEG, "
        "streams an epoch, and draws a sheet of originals, reconstructions and latent channels.",
    )
    parser.set_defaults(run=run)
    option = parser.add_argument
    option(
        "folder",
        metavar="FOLDER",
        nargs="?",
        default="latentstore-demo",
        help="where the files are written; a new or empty folder, or one of an earlier demo (default: %(default)s)",
    )
    option(
        "--audio",
        action="store_true",
        help="with audio that is synthesised here, compared with FLAC and Ogg Vorbis",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    if options.audio:
        from latentstore.demo.audio import demo_audio

        demo_audio(options.folder)
    else:
        from latentstore.demo.images import demo_images

        demo_images(options.folder)
    return DONE
