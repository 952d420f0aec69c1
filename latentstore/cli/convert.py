"""`latentstore convert`: a data set of images or audio to a store of latents."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from latentstore.cli.shared.status import DONE, INCOMPLETE, Commands, say
from latentstore.codecs.arguments import EFFORTS
from latentstore.codecs.errors import Remedy
from latentstore.conversion.quarantine import ON_ERROR
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
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        help="x.zarr; or, with --format wds, a folder or a pattern x-{000000..}.tar",
    )
    option(
        "--codec",
        metavar="NAME",
        help="a shipped codec, or the path or URL of an artifact; the codec decides whether images or audio are read "
        "(default: rgb-f8c48 for images; for audio, the shipped codec of its channels and rate)",
    )
    option(
        "--size",
        type=_size,
        metavar="N",
        help="images only: crop the centre square and resize it to N x N; 'native' keeps every image's size "
        "(default: 256)",
    )
    option(
        "--seconds",
        type=float,
        metavar="S",
        help="audio only: cut recordings into windows of S seconds (default: keep recordings whole)",
    )
    option(
        "--rate",
        type=int,
        metavar="HZ",
        help="audio only: resample to HZ hertz (default: the codec's rate with --seconds, else every recording's own)",
    )
    option(
        "--color",
        metavar="SPACE",
        help="images only: 'srgb' converts colours through the profile of each file (default: keep their values)",
    )
    option(
        "--damaged",
        metavar="HOW",
        help="images only: what to do with images of which pixels are missing or damaged: skip = treat them as "
        "unreadable; keep = store what is there (default: skip)",
    )
    option("--quality", type=int, metavar="Q", help="1 to 100 (default: the codec's)")
    option(
        "--effort",
        choices=EFFORTS,
        default="default",
        help="'fast' encodes faster, to more bytes (default: %(default)s)",
    )
    option("--format", choices=("zarr", "wds"), help="of the store (default: by the name of TARGET)")
    option(
        "--labels",
        metavar="CSV|PATTERN",
        help="a CSV file with a header, with labels by path, whose other columns become fields; or a pattern of file "
        "names such as '{label}_{speaker}_{n}.wav'",
    )
    option(
        "--key-column",
        metavar="NAME",
        help="the column of the CSV that names the files (default: the one whose values are files of SOURCE)",
    )
    option("--label-column", metavar="NAME", help="the column of the CSV that holds the labels (default: label)")
    option(
        "--classes",
        metavar="FILE|STORE",
        help="names and numbers of the classes: a text file with a name on each line, or a store that has them "
        "(default: the folders, or the labels, in alphabetical order)",
    )
    for modality in ("image", "audio"):
        option(
            f"--{modality}-member",
            metavar="EXT",
            help=f"tars only: the extension of the members that are the {modality} (default: the first known one)",
        )
    option("--workers", type=int, metavar="N", help="how many shards are made at once (default: one for each core)")
    option(
        "--scheduler",
        default="auto",
        metavar="WHERE",
        help="where the work is done: threads, processes, the address of a Dask cluster (tcp://host:8786), or auto = "
        "threads, or processes for large data sets on many cores (default: %(default)s)",
    )
    option(
        "--on-error",
        choices=ON_ERROR,
        default="quarantine",
        help="what to do with unreadable files: quarantine = skip and list in quarantine.jsonl; skip = skip; raise = "
        "stop (default: %(default)s)",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="replace the store at TARGET")
    again.add_argument("--resume", action="store_true", help="go on with a conversion that was stopped")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.conversion.api import convert

    report = convert(
        options.source,
        options.target,
        codec=options.codec,
        size=options.size,
        color=options.color,
        damaged=options.damaged,
        seconds=options.seconds,
        rate=options.rate,
        quality=options.quality,
        format=options.format,
        labels=options.labels,
        key_column=options.key_column,
        label_column=options.label_column,
        classes=options.classes,
        image_member=options.image_member,
        audio_member=options.audio_member,
        workers=options.workers,
        scheduler=options.scheduler,
        on_error=options.on_error,
        effort=options.effort,
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
    if not RESUMABLE & set(given[:1]):
        return f"to finish that conversion, repeat its `latentstore convert` command with --{remedy}"
    kept = [argument for argument in given if argument not in ("--overwrite", "--resume")]
    does = {"resume": "to go on", "overwrite": "to replace what is there"}[remedy]
    return f"{does}: {shlex.join(['latentstore', *kept, f'--{remedy}'])}"


def _size(text: str) -> int | str:
    if text == "native":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor 'native'") from None
