"""The caches of kohya's training scripts (github.com/kohya-ss/sd-scripts, library/strategy_*.py, as of February 2026).

Beside ``NAME.jpg`` lies ``NAME_WWWWxHHHH_sdxl.npz`` (or ``_sd``, ``_flux``, ``_sd3``, ...) with the image's width and
height in its name. Its arrays are ``latents`` (float32), ``original_size`` (width, height), ``crop_ltrb`` (left, top,
right, bottom), and, where they were asked for, ``latents_flipped`` and ``alpha_mask``. Caches of several resolutions
add ``_{h}x{w}``, the size of the latents, to each name: ``latents_64x96``. ``NAME_te_outputs.npz`` (or ``_flux_te``,
``_sd3_te``, ...) has the outputs of the text encoders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from latentstore.importing.sample import Value

__all__ = ["name_of", "resolutions"]

_LATENTS = re.compile(r"(.+)_[0-9]{4,}x[0-9]{4,}_[a-z0-9]+", re.DOTALL)
_TEXTS = re.compile(r"(.+)_(?:te_outputs|[a-z0-9]+_te)", re.DOTALL)
_SIZED = re.compile(r"(latents|latents_flipped|original_size|crop_ltrb|alpha_mask)_([0-9]+x[0-9]+)")


def name_of(stem: str) -> str:
    """The stem of the image that a cache is of; any other stem as it is. stem: of an ``.npz`` file."""
    found = _LATENTS.fullmatch(stem) or _TEXTS.fullmatch(stem)
    return found[1] if found else stem


def resolutions(values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """The values of a file by the size of its latents, such as "64x96", without that in their names.

    One entry with the name "" where no name has a size. What has none belongs to every size.
    """
    sized = {name: found for name in values if (found := _SIZED.fullmatch(name))}
    sizes = dict.fromkeys(found[2] for found in sized.values())
    if not any(found[1] == "latents" for found in sized.values()):
        return {"": dict(values)}
    every = {name: value for name, value in values.items() if name not in sized}
    return {
        size: {**every, **{found[1]: values[name] for name, found in sized.items() if found[2] == size}}
        for size in sizes
    }
