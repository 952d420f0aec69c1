"""The option that chooses how latents are decoded; `export` and `evaluate` have it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from latentstore.codecs.neural.decoder import SUFFIX, Decoder, load_decoder

__all__ = ["add_decoder", "chosen_decoder"]


def add_decoder(option: Callable[..., Any]) -> None:
    """Adds `--decoder`. option: a parser's `add_argument`."""
    option(
        "--decoder",
        metavar="NAME",
        help="how latents are decoded: linear, which is fast; a trained decoder of the codec such as small, or the "
        "path of one; or best, the trained one that gains most (default: best for images, linear for audio)",
    )


def chosen_decoder(options: argparse.Namespace) -> str | Decoder | None:
    """What the option says, with a path opened."""
    name: str | None = options.decoder
    return load_decoder(name) if name and name.endswith(SUFFIX) else name
