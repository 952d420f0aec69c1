"""`latentstore evaluate`: measures a codec on one's own files, beside other codecs."""

from __future__ import annotations

import argparse
from pathlib import Path

from latentstore.cli.shared.decoder import add_decoder, chosen_decoder
from latentstore.cli.shared.help import Help
from latentstore.cli.shared.status import DONE, INCOMPLETE, Commands, say
from latentstore.codecs.errors import ArgumentError
from latentstore.progress import counted

__all__ = ["add", "run"]

NOTES = """\
Examples:
  latentstore evaluate photos
  latentstore evaluate photos --html page.html --quality 60
  latentstore evaluate songs --codec stereo-f256c108
"""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a codec on your own files, beside other codecs",
        description="Compresses the files of SOURCE and measures what comes back. A codec of audio is compared with "
        "Opus, Ogg Vorbis and MP3, a codec of images with JPEG, WebP, JPEG 2000, JPEG XL and AVIF as far as they are "
        "installed, at equal bytes. Nothing is written but what --html and --json name. The exit status is 3 if some "
        "files could not be read.",
        epilog=NOTES,
        formatter_class=Help,
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
    option(
        "--html",
        metavar="FILE",
        help="images only: also measure every codec at several settings, and write a page with curves, BD-rates, "
        "speeds and crops, which needs no other file and no network",
    )
    option("--json", metavar="FILE", help="write all figures as JSON; with --html the curves too")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    import json

    from latentstore.evaluate.api import evaluate
    from latentstore.evaluate.figures import figures
    from latentstore.evaluate.page.html import page

    for path in (options.html, options.json):
        _require_place(path)

    result = evaluate(
        options.source,
        options.codec,
        quality=options.quality,
        channels=options.channels,
        decoder=chosen_decoder(options),
        curves=options.html is not None,
        progress=True,
    )
    print(result)
    if options.html is not None:
        _write(options.html, page(figures(result), result.crops))
    if options.json is not None:
        _write(options.json, json.dumps(figures(result), indent=1, allow_nan=False) + "\n")
    if not result.failures:
        return DONE
    say(f"skipped {counted(len(result.failures), 'entry', 'entries')} that could not be read")
    return INCOMPLETE


def _require_place(path: str | None) -> None:
    """ArgumentError, before the work begins, if no file can stand there."""
    if path is not None and (Path(path).is_dir() or not Path(path).parent.is_dir()):
        raise ArgumentError(f"{path} cannot be written: its folder is not there, or it is a folder itself.")


def _write(path: str, text: str) -> None:
    # names of files need not be text
    Path(path).write_text(text, "utf-8", errors="backslashreplace")
    say(f"wrote {path}")
