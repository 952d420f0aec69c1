"""Removing what no version of a store needs any more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latentstore.codecs.arguments import require_number
from latentstore.loaders.manifest import read_json
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.manifest import TensorMeta
from latentstore.writing.tensors.session import Session

_VERSION = re.compile(rf"{layout.VERSIONS}/([0-9]{{6,18}})\.json")


@dataclass
class Garbage:
    """What `collect_garbage` removes, or has removed: names of objects in the store, and their sizes in bytes.

    versions: numbers of the versions that go. kept: numbers of those that stay.
    """

    objects: dict[str, int] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of all objects together."""
        return sum(self.objects.values())


def collect_garbage(
    url: str | Path, keep: int = 1, *, dry_run: bool = False, storage_options: Mapping[str, Any] | None = None
) -> Garbage:
    """Remove all versions of the store at `url` but the newest ones, and every shard and coder that no
    version which stays names.

    keep: how many versions stay, 1 or more. dry_run: find out what would go, and remove nothing. Whoever still reads a
    version that goes gets an error that says so. StoreError if a run is writing the store, or was interrupted: what it
    has written is not garbage.
    """
    require_number(keep, "keep", 1)
    session = Session(str(url), dict(storage_options or {}) or None, 0, 1)
    newest = session.take_idle()
    try:
        return _collect(session, newest, keep, dry_run)
    finally:
        session.end()


def _collect(session: Session, newest: TensorMeta, keep: int, dry_run: bool) -> Garbage:
    there = session.target.list()
    found = Garbage()
    known = {int(said[1]) for name in there if (said := _VERSION.fullmatch(name))}
    # a version above the newest one was written by a run that stopped before it was published
    found.kept = sorted({newest.version, *(version for version in known if version < newest.version)})[-keep:]
    found.versions = [version for version in sorted(known) if version not in found.kept]
    needed = {layout.MANIFEST}
    for version in found.kept:
        name = layout.version_name(version)
        meta = (
            newest
            if version == newest.version
            else TensorMeta.of(read_json(session.target, name), session.target.at(name))
        )
        needed |= {name, layout.moments_name(version), *(layout.shard_name(shard.name) for shard in meta.shards)}
        needed |= {layout.coder_name(sha256) for sha256 in meta.coders.values()}
    folders = (f"{layout.SHARDS}/", f"{layout.CODERS}/", f"{layout.VERSIONS}/")
    found.objects = {n: size for n, size in there.items() if n.startswith(folders) and n not in needed}
    if not dry_run:
        # a version goes before its shards, so that none is left which names what is not there
        first = [name for name in found.objects if name.startswith(layout.VERSIONS)]
        session.target.remove_objects(first)
        session.target.remove_objects(name for name in found.objects if name not in first)
    return found
