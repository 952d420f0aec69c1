"""The entry point of the command line: its parser, its exit statuses, and its error lines."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from latentstore.cli import bench, cache, codecs, convert, demo, evaluate, export, fit, info, sync, train, verify
from latentstore.cli.shared.help import Help
from latentstore.cli.shared.status import FAILED, INTERRUPTED, USAGE, say
from latentstore.cli.tensors import fit_tensors, gc, import_
from latentstore.codecs.errors import ArgumentError, LatentstoreError
from latentstore.version import __version__

__all__ = ["main"]

COMMANDS = (
    convert, import_, sync, gc, info, verify, export, codecs, fit, fit_tensors, train, evaluate, bench, cache, demo,
)  # fmt: skip

NOTES = """\
Examples:
  latentstore convert photos photos.zarr       images or recordings become latents
  latentstore import latents latents.store     tensors that you have in files become a store
  latentstore sync photos photos.store         a store that can be brought up to date
  latentstore info photos.zarr                 what a store holds, and how large it is
  latentstore export photos.zarr folder        back to files

`latentstore COMMAND --help` explains a command and shows examples.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status; on wrong usage argparse ends the process with status 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Names of files are printed, and need not be text in the terminal's encoding.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # Pillow warns of metadata, in the words of Python and without the name of the file.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    options = _parser().parse_args(given)
    try:
        status: int = options.run(options)
        sys.stdout.flush()  # short output is written now, where a closed pipe can still be heard
    except BrokenPipeError:
        # `latentstore info x | head`: nobody reads any more; Python must not complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (LatentstoreError, OSError) as error:
        say(str(error))
        remedy = error.remedy if isinstance(error, LatentstoreError) else None
        if remedy is not None:
            say(convert.remedy_line(remedy, given))
        option = error.option if isinstance(error, LatentstoreError) else None
        if option is not None:
            say(f"--{option.replace('_', '-')} decides it; see `latentstore {options.command} --help`")
        return USAGE if isinstance(error, ArgumentError) else FAILED
    except KeyboardInterrupt:
        goes_on = options.command in {*convert.RESUMABLE, "sync"}
        say("stopped" + (f"; {convert.remedy_line('resume', given)}" if goes_on else ""))
        return INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="latentstore",
        description="Converts data sets of images, audio or tensors to stores of latents, and back to files.",
        epilog=NOTES,
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=f"latentstore {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
