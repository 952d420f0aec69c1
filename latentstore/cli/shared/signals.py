"""The options that say how images and recordings are read and encoded, and where."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from latentstore.codecs.arguments import EFFORTS
from latentstore.conversion.quarantine import ON_ERROR

__all__ = ["FORMATS", "add_signals", "signals_of"]

FORMATS = ("zarr", "wds", "versions")
NAMES = (
    "codec", "size", "color", "damaged", "seconds", "rate", "quality", "labels", "key_column", "label_column",
    "classes", "image_member", "audio_member", "workers", "scheduler", "on_error",
)  # fmt: skip


def add_signals(option: Callable[..., Any]) -> None:
    """Adds the options to a parser. option: its `add_argument`."""
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
        help="'fast' encodes faster, to more bytes (default: default)",
    )
    option(
        "--labels",
        metavar="TABLE|PATTERN",
        help="a table (.csv or .tsv) whose first line names the columns, with labels by path; other columns become "
        "fields; or a pattern of file names such as '{label}_{speaker}_{n}.wav'",
    )
    option(
        "--key-column",
        metavar="NAME",
        help="the column of the table that names the files (default: the one whose values are files of SOURCE)",
    )
    option("--label-column", metavar="NAME", help="the column of the table that holds the labels (default: label)")
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
            help=f"tars only: the extension of the members that are the {modality} (default: the only candidate)",
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


def signals_of(options: argparse.Namespace) -> dict[str, Any]:
    """What was given, by the names of the arguments of `latentstore.convert`."""
    given = {name: getattr(options, name) for name in NAMES}
    return given if options.effort is None else {**given, "effort": options.effort}


def _size(text: str) -> int | str:
    if text == "native":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor 'native'") from None
