"""What the commands share that read tensors from a source: the source, and what its fields are stored as."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from latentstore.codecs.errors import ArgumentError

__all__ = ["SOURCE", "add_fields", "chosen_fields"]

SOURCE = (
    "a folder of .npy, .npz, .pt, .pth or .safetensors files (kohya's caches too), WebDataset tars of such members, a "
    "folder of MosaicML Streaming, a Zarr array or group, or one such file whose first axis counts the samples; a path "
    "or any fsspec URL"
)


def add_fields(option: Callable[..., Any]) -> None:
    """Adds the options that say what fields are stored as. option: a parser's `add_argument`."""
    option(
        "--coding",
        choices=("lossless", "step"),
        help="of tensors of floats: lossless = every bit; step = quantised to the SNR of --snr (default: lossless)",
    )
    option("--snr", type=float, metavar="DB", help="with --coding step: the signal-to-noise ratio (default: 40)")
    option(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        help="what tensors of floats are rounded to before they are coded (default: their own type)",
    )
    option(
        "--field",
        action="append",
        default=[],
        metavar="NAME=WORDS",
        help="one field: skip; or a type (float16, int32, int, str, ...), a coding (lossless, step, codes), from=NAME "
        "in the source, snr=, steps=, vocabulary=, channel_axis=, nonfinite=keep, with commas between them; may be "
        "given again",
    )


def chosen_fields(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `import_tensors` that these options are."""
    fields = {}
    for said in options.field:
        name, equals, words = said.partition("=")
        if not name or not equals or name in fields:
            raise ArgumentError(f"--field {said}: it is NAME=WORDS, once for each name")
        fields[name] = words
    return {"coding": options.coding, "snr": options.snr, "dtype": options.dtype, "fields": fields}
