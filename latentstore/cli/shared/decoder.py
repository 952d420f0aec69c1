"""The option that chooses how latents are decoded; `export` and `evaluate` have it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from latentstore.codecs.neural.decoder import LINEAR, SUFFIX, Decoder, load_decoder

__all__ = ["add_decoder", "chosen_decoder"]


def add_decoder(option: Callable[..., Any]) -> None:
    """Adds `--decoder`. option: a parser's `add_argument`."""
    option(
        "--decoder",
        default=LINEAR,
        metavar="NAME",
        help="how latents are decoded: linear, a trained decoder of the codec such as small, or the path of one "
        "(default: %(default)s)",
    )


def chosen_decoder(options: argparse.Namespace) -> str | Decoder:
    """What the option says, with a path opened."""
    return load_decoder(options.decoder) if options.decoder.endswith(SUFFIX) else options.decoder
