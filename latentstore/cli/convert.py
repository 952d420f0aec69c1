"""`latentstore convert`: a data set of images or audio to a store of latents."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from latentstore.cli.shared.help import Help
from latentstore.cli.shared.signals import FORMATS, add_signals, signals_of
from latentstore.cli.shared.status import DONE, INCOMPLETE, Commands, say
from latentstore.codecs.errors import Remedy
from latentstore.progress import counted

__all__ = ["RESUMABLE", "add", "remedy_line", "run"]

RESUMABLE = {"convert", "import"}
"""The commands that go on with what was stopped, by --resume."""

NOTES = """\
Entries that cannot be read are named on the screen and listed in quarantine.jsonl inside the store; --on-error changes
that. All other entries are stored.

The store grows in TARGET.partial and appears at TARGET when it is complete. After Ctrl-C, a crash or a full disk,
--resume goes on, and the store gets the same bytes as without the stop. With --overwrite the old store stays until the
new one is complete. On object stores the new one is then copied into its place, and no store is there during the copy.
While a conversion writes TARGET, a second one is refused.

Exit status: 0 all entries are stored; 1 an error, nothing is published; 2 wrong usage; 3 the store is published, but
some entries could not be read; 130 stopped by Ctrl-C.

Examples:
  latentstore convert photos photos.zarr
  latentstore convert photos photos-latents --format wds --size native --quality 80
  latentstore convert songs songs.zarr --codec stereo-f256c108 --seconds 5
  latentstore convert digits digits.zarr --codec mono-f32c32 --labels '{label}_{speaker}_{n}.wav'
  latentstore convert 's3://bucket/photos-{000..099}.tar' s3://bucket/photos.zarr --scheduler tcp://head:8786
"""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "convert",
        help="convert a data set of images or audio to a store of latents",
        description="Converts the images or recordings of SOURCE to the store TARGET.",
        epilog=NOTES,
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    option = parser.add_argument
    option(
        "source",
        metavar="SOURCE",
        help="a folder (its subfolders become classes), WebDataset tars (x-{000..099}.tar), or a Zarr array of images "
        "or waveforms; a path or any fsspec URL",
    )
    option(
        "target",
        metavar="TARGET",
        help="x.zarr; or, with --format wds, a folder or a pattern x-{000000..}.tar; or, with --format versions, a "
        "folder that `latentstore sync` keeps up to date",
    )
    add_signals(option)
    option("--format", choices=FORMATS, help="of the store (default: by the name of TARGET)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="replace the store at TARGET")
    again.add_argument("--resume", action="store_true", help="go on with a conversion that was stopped")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.conversion.api import convert

    report = convert(
        options.source,
        options.target,
        **signals_of(options),
        format=options.format,
        overwrite=options.overwrite,
        resume=options.resume,
        progress=True,
    )
    seen = sys.stdout.isatty() and sys.stderr.isatty()  # the progress said there why the codec was chosen
    print(report.page(lambda name, value: f"--{name.replace('_', '-')} {value}", choice=not seen))
    if not report.failures:
        return DONE
    where = ", see quarantine.jsonl in the store" if options.on_error == "quarantine" else ""
    say(f"skipped {counted(len(report.failures), 'entry', 'entries')} that could not be read{where}")
    return INCOMPLETE


def remedy_line(remedy: Remedy, given: Sequence[str]) -> str:
    """What to run after an error. given: the arguments of the command that failed."""
    if given[:1] == ["sync"]:
        return "to go on: run the same command again"
    if not RESUMABLE & set(given[:1]):
        return f"to finish that conversion, repeat its `latentstore convert` command with --{remedy}"
    kept = [argument for argument in given if argument not in ("--overwrite", "--resume")]
    does = {"resume": "to go on", "overwrite": "to replace what is there"}[remedy]
    return f"{does}: {shlex.join(['latentstore', *kept, f'--{remedy}'])}"
