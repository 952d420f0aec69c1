"""The command line `latentstore`: arguments, exit statuses, error lines; what it calls does the work."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from latentstore.codecs.errors import ArgumentError, LatentstoreError

__all__ = ["main"]

DONE, FAILED, USAGE, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130

CONVERT_NOTES = """\
An entry that cannot be read is named on the screen and, by default, in quarantine.jsonl inside the store;
all others are stored. The store grows in TARGET.partial and appears at TARGET when it is complete. A
conversion that was stopped, by Ctrl-C, a crash or a full disk, goes on with --resume and ends with the same
bytes. --overwrite keeps the old store until the new one is complete; on object stores the new one is then
copied into its place, and for the time of that copy there is no store. A second run on one TARGET is refused.

Exit status: 0 all entries stored; 1 an error, nothing published; 2 wrong usage; 3 published, but some
entries were left out; 130 stopped by Ctrl-C.

Examples:
  latentstore convert photos photos.zarr
  latentstore convert photos photos-latents --format wds --size native --quality 80
  latentstore convert songs songs.zarr --codec stereo-f256c108 --seconds 5
  latentstore convert digits digits.zarr --codec mono-f32c32 --labels '{label}_{speaker}_{n}.wav'
  latentstore convert 's3://bucket/photos-{000..099}.tar' s3://bucket/photos.zarr --scheduler tcp://head:8786
"""


def _parser() -> argparse.ArgumentParser:
    from latentstore import __version__

    parser = argparse.ArgumentParser(
        prog="latentstore",
        description="Data sets of images or audio as latents: convert, look, check, and back.",
    )
    parser.add_argument("--version", action="version", version=f"latentstore {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_convert(commands)
    info = commands.add_parser("info", help="what a store holds", description="Prints what a store holds.")
    info.add_argument("store", metavar="STORE", help="path or URL of a store")
    verify = commands.add_parser(
        "verify",
        help="check every blob of a store",
        description="Checks every blob's checksum and shape, the counts and the artifact. "
        "Exit status 1 if anything is wrong.",
    )
    verify.add_argument("store", metavar="STORE", help="path or URL of a store")
    _add_export(commands)
    commands.add_parser(
        "codecs",
        help="the codecs that are shipped",
        description="Lists the shipped codecs and their measured figures.",
    )
    _add_fit(commands)
    _add_evaluate(commands)
    demo = commands.add_parser(
        "demo",
        help="the whole way, on a few bundled images",
        description="Cuts images bundled with scikit-image into tiles, converts them, compares sizes and "
        "speed with JPEG, streams an epoch, and writes a sheet of reconstructions and latent channels.",
    )
    demo.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        default="latentstore-demo",
        help="where it writes (%(default)s)",
    )
    demo.add_argument(
        "--audio",
        action="store_true",
        help="with audio that is made here, in the place of images; compared with FLAC and Ogg Vorbis",
    )
    return parser


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    convert = commands.add_parser(
        "convert",
        help="a data set of images or audio to a store of latents",
        description="Converts the images or recordings of SOURCE to the store TARGET.",
        epilog=CONVERT_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = convert.add_argument
    add(
        "source",
        metavar="SOURCE",
        help="a folder (class subfolders become labels), WebDataset tars (x-{000..099}.tar), or a Zarr array "
        "of images or waveforms; a path or any fsspec URL",
    )
    add(
        "target",
        metavar="TARGET",
        help="x.zarr, or with --format wds a folder or an x-{000000..}.tar pattern",
    )
    add(
        "--codec",
        default="rgb-f8c48",
        metavar="NAME",
        help="a shipped codec, or an artifact's path or URL; it says whether SOURCE is of images or of audio "
        "(%(default)s)",
    )
    add(
        "--size",
        type=_size,
        metavar="256|native",
        help="of images: pixels the shorter side is scaled to, the centre cut out; or each its own size (256)",
    )
    add("--seconds", type=float, metavar="S", help="of audio: cuts it into windows; left out, recordings stay whole")
    add(
        "--rate",
        type=int,
        metavar="HZ",
        help="of audio: resamples it; left out, the codec's rate for windows, and else each recording's own",
    )
    add("--quality", type=int, metavar="Q", help="1 to 100; left out, the codec's default")
    add(
        "--effort",
        choices=("default", "fast"),
        default="default",
        help="fast: quicker, to more bytes (%(default)s)",
    )
    add("--format", choices=("zarr", "wds"), help="left out, TARGET's name decides")
    add(
        "--labels",
        metavar="CSV|PATTERN",
        help="labels by path: a CSV with a header, whose other columns become fields; or a pattern of the files' "
        "names, such as '{label}_{speaker}_{n}.wav'",
    )
    add("--workers", type=int, metavar="N", help="how many at once on this machine; left out, one per core")
    add(
        "--scheduler",
        default="auto",
        metavar="ADDRESS",
        help="where it runs: a Dask cluster's address (tcp://host:8786), threads, processes (%(default)s)",
    )
    add(
        "--on-error",
        choices=("quarantine", "skip", "raise"),
        default="quarantine",
        help="entries that cannot be read are left out and named, left out, or end it (%(default)s)",
    )
    again = convert.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="replace the store at TARGET")
    again.add_argument("--resume", action="store_true", help="go on with a conversion that was stopped")


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = commands.add_parser(
        "export",
        help="back to PNG or WAV files",
        description="Writes the images of a store as FOLDER/KEY.png, or its audio as FOLDER/KEY.wav, 16 bits. "
        "FOLDER must be new or empty.",
    )
    export.add_argument("store", metavar="STORE", help="path or URL of a store")
    export.add_argument("folder", metavar="FOLDER", help="where the files go")
    export.add_argument("--limit", type=int, metavar="N", help="only the first N")
    export.add_argument(
        "--channels", type=int, metavar="K", help="decode from the first K channels only (rgb-f8c48: 12, 24, 36, 48)"
    )


def _add_fit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fit = commands.add_parser(
        "fit",
        help="a codec of your own from a folder of images or recordings",
        description="Fits a codec to the images or recordings of FOLDER, subfolders included, and writes its "
        "artifact. It takes a minute or so for 40 megapixels or a minute of music; the same files give the same bytes.",
    )
    add = fit.add_argument
    add("folder", metavar="FOLDER", help="files like those to be stored; some tens to a few hundred")
    add("--name", required=True, help="what the codec is to be called: lower-case letters, digits, '.', '_', '-'")
    add("--like", default="rgb-f8c48", metavar="CODEC", help="a shipped codec whose geometry it gets (%(default)s)")
    add("--out", required=True, metavar="FILE", help="where the artifact is written: a name in .safetensors")
    add("--licence", default="not stated", metavar="TEXT", help="said in the artifact; left out, it says 'not stated'")
    add("--rounds", type=int, default=2, metavar="N", help="of fitting tables to optimised latents (%(default)s)")


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="what a codec keeps of your recordings or images, beside other codecs",
        description="Compresses the recordings of SOURCE and measures what comes back, beside Opus, Ogg Vorbis and MP3 "
        "of equal bytes; with a codec of images, images beside JPEG and WebP. Nothing is written. Exit status 3 if "
        "entries could not be read.",
    )
    add = evaluate.add_argument
    add("source", metavar="SOURCE", help="a folder, or tars; a path or any fsspec URL")
    add(
        "--codec",
        default="stereo-f256c108",
        metavar="NAME",
        help="a shipped codec, or an artifact's path or URL (%(default)s)",
    )
    add("--quality", type=int, metavar="Q", help="1 to 100; left out, the codec's default")
    add("--channels", type=int, metavar="K", help="decode the first K channels only, and count their bytes")


def _size(text: str) -> int | str:
    if text == "native":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor 'native'") from None


def _convert(options: argparse.Namespace) -> int:
    from latentstore.conversion.api import convert
    from latentstore.progress import counted

    given = {name: value for name, value in vars(options).items() if name not in ("command", "source", "target")}
    report = convert(options.source, options.target, **given, progress=True)
    print(report)
    if report.limited:
        _say(report.advice())
    if not report.failures:
        return DONE
    where = "; quarantine.jsonl in the store names them" if options.on_error == "quarantine" else ""
    left_out = counted(len(report.failures), "entry", "entries")
    _say(f"{left_out} could not be read and stayed out{where}")
    return INCOMPLETE


def _info(options: argparse.Namespace) -> int:
    from latentstore.stores.info import store_table

    print(store_table(options.store))
    return DONE


def _verify(options: argparse.Namespace) -> int:
    from latentstore.progress import Progress, printable
    from latentstore.stores.verify import verify

    with Progress() as shown:
        shown.begin(f"opening {options.store}")
        begun = False

        def checked(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                shown.begin(f"verifying {options.store}", total=total, unit="samples")
                begun = True
            shown.advance(done - shown.done)

        report = verify(options.store, progress=checked)
    for problem in report.problems:
        print(printable(problem))
    print(report)
    return FAILED if report.problems else DONE


def _export(options: argparse.Namespace) -> int:
    from latentstore.progress import counted
    from latentstore.stores.export import export

    count = export(options.store, options.folder, limit=options.limit, channels=options.channels, progress=True)
    print(f"{counted(count, 'file')} in {options.folder}")
    return DONE


def _codecs(options: argparse.Namespace) -> int:
    from latentstore.stores.info import codecs_table

    print(codecs_table())
    return DONE


def _fit(options: argparse.Namespace) -> int:
    from latentstore.fit.images import fit_file

    codec = fit_file(
        options.folder, options.out, options.name, options.like, options.licence, options.rounds,
        lambda line: print(line, flush=True),
    )  # fmt: skip
    print(f"{codec.name}, SHA-256 {codec.sha256[:12]}..., in {options.out}")
    return DONE


def _evaluate(options: argparse.Namespace) -> int:
    from latentstore.evaluate.api import evaluate
    from latentstore.progress import counted

    result = evaluate(options.source, options.codec, quality=options.quality, channels=options.channels, progress=True)
    print(result)
    if not result.failures:
        return DONE
    _say(f"{counted(len(result.failures), 'entry', 'entries')} could not be read and stayed out")
    return INCOMPLETE


def _demo(options: argparse.Namespace) -> int:
    if options.audio:
        from latentstore.demo.audio import demo_audio

        demo_audio(options.folder)
    else:
        from latentstore.demo.images import demo

        demo(options.folder)
    return DONE


COMMANDS = {
    "convert": _convert,
    "info": _info,
    "verify": _verify,
    "export": _export,
    "codecs": _codecs,
    "demo": _demo,
    "evaluate": _evaluate,
    "fit": _fit,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line, returns its exit status (on wrong usage argparse ends the process, with 2)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Names of files are printed, and need not be text in the terminal's encoding.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(given)
    try:
        return COMMANDS[options.command](options)
    except ArgumentError as error:
        _say(str(error))
        return USAGE
    except BrokenPipeError:
        # `latentstore info x | head`: the reader has gone; Python must not complain again when it flushes at
        # exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (LatentstoreError, OSError) as error:
        _say(str(error))
        for note in getattr(error, "__notes__", ()):
            _say(note)
        return FAILED
    except KeyboardInterrupt:
        _say("stopped" + (f"; to go on: {_resume_line(given)}" if options.command == "convert" else ""))
        return INTERRUPTED


def _resume_line(given: list[str]) -> str:
    kept = [argument for argument in given if argument not in ("--overwrite", "--resume")]
    return shlex.join(["latentstore", *kept, "--resume"])


def _say(line: str) -> None:
    print(f"latentstore: {line}", file=sys.stderr, flush=True)
