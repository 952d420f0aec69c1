"""Which part of an epoch this process reads: its rank, and how many ranks share the epoch."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from latentstore.codecs.arguments import whole_number
from latentstore.codecs.errors import ArgumentError

__all__ = ["found_ranks", "given_ranks"]

RANK, WORLD_SIZE = "RANK", "WORLD_SIZE"
REMEDY = "initialise torch.distributed first, or give rank and world_size to the loader"


def given_ranks(rank: Any, world_size: Any) -> tuple[int, int] | None:
    """(rank, world_size) as a user gave them, None if neither was given. ArgumentError if they cannot be meant."""
    if rank is None and world_size is None:
        return None
    if rank is None or world_size is None:
        given, missing = ("world_size", "rank") if rank is None else ("rank", "world_size")
        raise ArgumentError(
            f"{given} is {world_size if rank is None else rank!r}, but {missing} is not given: give both, or neither. "
            f"Without them, they are taken from torch.distributed or from {RANK} and {WORLD_SIZE} of the environment"
        )
    return _checked(rank, world_size, "rank", "world_size")


def found_ranks() -> tuple[int, int]:
    """(rank, world_size) of this process now: from torch.distributed where it is initialised, else from the environment
    (RANK and WORLD_SIZE, as torchrun sets them), else (0, 1).

    ArgumentError if the environment has one of the two only, or they cannot be meant.
    """
    distributed = sys.modules.get("torch.distributed")  # who has not imported it has not initialised it
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    texts = {name: os.environ.get(name) for name in (RANK, WORLD_SIZE)}
    if texts[RANK] is None and texts[WORLD_SIZE] is None:
        return 0, 1
    for name, text in texts.items():
        other = WORLD_SIZE if name == RANK else RANK
        if text is None:
            raise ArgumentError(
                f"the environment has {other}={texts[other]}, but no {name}, so nobody can tell which part of the "
                f"epoch this process reads: {REMEDY}"
            )
        if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
            raise ArgumentError(f"{name}={text} in the environment is not a whole number from 0 on: {REMEDY}")
    return _checked(int(texts[RANK] or 0), int(texts[WORLD_SIZE] or 0), f"{RANK} of the environment", WORLD_SIZE)


def _checked(rank: Any, world_size: Any, rank_name: str, size_name: str) -> tuple[int, int]:
    one, all_ranks = whole_number(rank), whole_number(world_size)
    if one is None or all_ranks is None or all_ranks < 1 or not 0 <= one < all_ranks:
        raise ArgumentError(
            f"{rank_name} is {rank!r} and {size_name} is {world_size!r}; they are whole numbers, and ranks run from 0 "
            f"to {size_name} - 1"
        )
    return one, all_ranks
