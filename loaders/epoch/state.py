"""The state of a loader, small JSON: the epoch, what has been read of it, and what tells data set and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentstore.codecs.arguments import whole_number
from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.epoch.place import Place
from latentstore.loaders.epoch.share import checked_read

STATE_VERSION = 3


def make_state(place: Place, identity: dict[str, Any]) -> dict[str, Any]:
    """The state at `place`; identity: what must be the same where it is loaded."""
    return {"version": STATE_VERSION, "epoch": place.epoch, "read": [list(pair) for pair in place.read], **identity}


def read_state(state: Any, identity: dict[str, Any], url: str, units: Callable[[int], int]) -> Place:
    """The place that a state says; url: of the loader's data set. units: gives those of an epoch.

    ArgumentError if it is the state of another data set or order, or damaged.
    """
    if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
        version = state.get("version") if isinstance(state, dict) else state
        raise ArgumentError(
            f"the loader state has version {version!r}, and this version of latentstore reads {STATE_VERSION}"
        )
    other = [name for name in identity if state.get(name) != identity[name]]
    if other:
        said = "; ".join(f"{name} is {state.get(name)!r} in the state and {identity[name]!r} here" for name in other)
        raise ArgumentError(f"the loader state is of another data set or order than this loader's, {url}: {said}")
    epoch = whole_number(state.get("epoch"))
    read = None if epoch is None or epoch < 0 else checked_read(state.get("read"), units(epoch))
    if epoch is None or read is None:
        place = str({name: state.get(name) for name in ("epoch", "read")})
        raise ArgumentError(f"the loader state is damaged: {place[:200]} is no place in an epoch of the loader")
    return Place(epoch, read)
