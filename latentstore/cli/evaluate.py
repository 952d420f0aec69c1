"""`latentstore evaluate`: measures a codec on one's own files, beside other codecs."""

from __future__ import annotations

import argparse

from latentstore.cli.decoder import add_decoder, chosen_decoder
from latentstore.cli.status import DONE, INCOMPLETE, Commands, say
from latentstore.progress import counted

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a codec on your own files, beside other codecs",
        description="Compresses the files of SOURCE and measures what comes back. A codec of audio is compared with "
        "Opus, Ogg Vorbis and MP3, a codec of images with JPEG and WebP, at equal bytes. Nothing is written. The exit "
        "status is 3 if some files could not be read.",
    )
    parser.set_defaults(run=run)
    option = parser.add_argument
    option("source", metavar="SOURCE", help="a folder, or tars; a path or any fsspec URL")
    option(
        "--codec",
        metavar="NAME",
        help="a shipped codec, or the path or URL of an artifact (default: rgb-f8c48 for images; for audio, the "
        "shipped codec of its channels and rate)",
    )
    option("--quality", type=int, metavar="Q", help="1 to 100 (default: the codec's)")
    option(
        "--channels",
        type=int,
        metavar="K",
        help="decode the first K channels only, and count their bytes (default: all)",
    )
    add_decoder(option)


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.evaluate.api import evaluate

    result = evaluate(
        options.source,
        options.codec,
        quality=options.quality,
        channels=options.channels,
        decoder=chosen_decoder(options),
        progress=True,
    )
    print(result)
    if not result.failures:
        return DONE
    say(f"skipped {counted(len(result.failures), 'entry', 'entries')} that could not be read")
    return INCOMPLETE
