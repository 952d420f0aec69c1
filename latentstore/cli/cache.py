"""`latentstore cache`: the local disk cache of remote stores."""

from __future__ import annotations

import argparse

from latentstore.cli.shared.status import DONE, Commands

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "cache",
        help="show or clear the local cache of remote stores",
        description="The local disk cache of what was read from remote stores. It is the folder that "
        "LATENTSTORE_CACHE names, or ~/.cache/latentstore; LATENTSTORE_CACHE_SIZE limits it.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "action", choices=("path", "info", "clear"), help="path: print the folder; info: what it holds; clear: empty it"
    )
    parser.add_argument("--folder", metavar="FOLDER", help="another folder that is used as a cache")


def run(options: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from latentstore.loaders.cache.settings import chosen_cache
    from latentstore.loaders.remote.amounts import said_bytes

    folder = chosen_cache(options.folder or True)
    assert folder is not None
    if options.action == "path":
        print(folder.path)
        return DONE
    there = folder.usage() if options.action == "info" else folder.clear()
    held = f"{said_bytes(there.bytes)} in {there.entries} files, of {there.stores} stores"
    if options.action == "info":
        print(f"{folder.path}: {held}; it may have {said_bytes(folder.most_bytes)}")
    else:
        print(f"{folder.path}: removed {held}")
    return DONE
