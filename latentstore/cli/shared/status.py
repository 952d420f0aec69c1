"""What every command ends with: an exit status, and lines on stderr."""

from __future__ import annotations

import sys
from argparse import _SubParsersAction

__all__ = ["DONE", "FAILED", "INCOMPLETE", "INTERRUPTED", "USAGE", "Commands", "say"]

DONE, FAILED, USAGE, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130

# What `add_subparsers` returns; argparse has no public name for it.
Commands = _SubParsersAction


def say(line: str) -> None:
    """Prints one line of the command itself on stderr."""
    print(f"latentstore: {line}", file=sys.stderr, flush=True)
