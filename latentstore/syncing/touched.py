"""Entries whose time has changed and whose content has not: what is kept of them, so that they are read once only.

`touched.json` in the store says by key what the entry of a sample is now. It is a note: without it, these entries are
read and compared again. A line whose content is not that of the sample says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from latentstore.codecs.errors import CorruptError
from latentstore.loaders.manifest import read_json
from latentstore.loaders.remote.location import Location
from latentstore.sources.identity import is_same_content

__all__ = ["read_touched", "write_touched"]

NAME = "touched.json"


def read_touched(location: Location, kept: Mapping[str, str]) -> dict[str, str]:
    """What is noted of the samples in `kept`, which says of each by its key what it was made of."""
    if not location.exists(NAME):
        return {}
    try:
        noted = read_json(location, NAME)
    except CorruptError:
        return {}
    return {
        key: text
        for key, text in noted.items()
        if isinstance(text, str) and key in kept and is_same_content(kept[key], text)
    }


def write_touched(location: Location, touched: Mapping[str, str]) -> None:
    """Note this, in the place of what was noted."""
    location.write(NAME, json.dumps(touched, ensure_ascii=False, indent=0).encode())
