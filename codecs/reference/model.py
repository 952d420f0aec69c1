"""The entropy model of an artifact as the reference coder holds it: docs/format.md section 7.4."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.reference.contexts import BUCKETS, ESCAPE, LEVELS, SYMBOLS, Channel

Int8s = npt.NDArray[np.int8]

MAX_AREA = 1 << 22
MAX_SIDE = 1 << 16
MAX_MODELS, MAX_GROUP, MAX_TABLES = 256, 32, 128
NEAR = 1 << 10


@dataclass(frozen=True)
class Coder:
    """Checked tables, in the forms that the loops read.

    models: the channels of each, `Channel` or, if adaptive, `reference_adaptive.AdaptiveChannel`; freq, start: per
    table and symbol; symbol_at: per table and slot;
    cost: int (tables, 64), what the encoder takes a symbol to cost, in 1/256 bit; empty: per model and context, of
    positions where nothing is taken; plain: per model, whether groups may have the sparse form.
    """

    sha256: bytes
    precision: int
    channels: int
    adaptive: bool
    models: list[list[Any]]
    freq_array: npt.NDArray[np.int32]
    freq: list[list[int]]
    start: list[list[int]]
    symbol_at: list[list[int]]
    cost: npt.NDArray[np.int64]
    empty: list[list[int]]
    plain: list[bool]


def coder_new(sha256: bytes, precision: int, *tables: npt.NDArray[Any]) -> Coder:
    """A coder from own int32 (m, c, 5), bias int32 (m, c), cross uint8 (m, c, c, 2), predicted uint8 (m, c),
    signed_own int32 (m, c, 4), signed_cross int32 (m, c, c, 9), table uint8 (m, c, 4, 64), freq int32
    (t, 64), empty int32 (m, 1024).

    ValueError if a size, weight or frequency is outside its range.
    """
    own, bias, cross, _, signed_own, signed_cross, table, freq, empty = tables
    models, channels = own.shape[:2]
    shapes = [(models, channels, 5), (models, channels), (models, channels, channels, 2), (models, channels)]
    shapes += [(models, channels, 4), (models, channels, channels, 9), (models, channels, LEVELS, BUCKETS)]
    fits = len(sha256) == 32 and 8 <= precision <= 12 and 1 <= models <= MAX_MODELS and 1 <= channels <= MAX_GROUP
    if not fits or not 1 <= len(freq) <= MAX_TABLES:
        raise ValueError("entropy tables have impossible sizes")
    for array, shape in zip(tables, [*shapes, (len(freq), SYMBOLS), (models, NEAR)], strict=True):
        if array.shape != shape:
            raise ValueError(f"an entropy table has shape {array.shape} where {shape} is expected")
    ranges = [(own, 0, 32767), (bias, 0, 65535), (cross, 0, 127)]
    ranges += [(empty, 1, (1 << precision) - 1)]
    ranges += [(signed_own, -32767, 32767), (signed_cross, -32767, 32767)]
    if any((array < low).any() or (array > high).any() for array, low, high in ranges):
        raise ValueError("entropy tables hold a weight or a frequency outside its range")
    listed = [[_channel(m, k, *tables[:7]) for k in range(channels)] for m in range(models)]
    return coder_of(sha256, precision, listed, table, freq, empty)


def coder_of(
    sha256: bytes, precision: int, models: list[list[Any]], table: npt.NDArray[Any], freq: npt.NDArray[Any],
    empty: npt.NDArray[Any] | None = None,
) -> Coder:  # fmt: skip
    """A coder of channels whose own numbers are checked; ValueError for what all kinds of them share."""
    if len(sha256) != 32 or not 8 <= precision <= 12:
        raise ValueError("entropy tables have impossible sizes")
    total = 1 << precision
    bad = (freq < 0) | (freq >= total)
    if bad.any() or (freq.sum(1) != total).any() or (freq[:, ESCAPE] == 0).any() or (table >= len(freq)).any():
        raise ValueError("entropy tables hold a weight or a frequency outside its range")
    start = np.cumsum(freq, axis=1) - freq
    symbol_at = [np.repeat(np.arange(SYMBOLS), row).tolist() for row in freq]
    adaptive = not isinstance(models[0][0], Channel)
    return Coder(
        bytes(sha256), precision, len(models[0]), adaptive, models, freq, freq.tolist(), start.tolist(), symbol_at,
        np.array([_costs(row, precision) for row in freq.tolist()]),
        [] if empty is None else empty.tolist(),
        [not adaptive and not any(channel.predicted for channel in listed) for listed in models],
    )  # fmt: skip


def _channel(
    m: int,
    k: int,
    own: npt.NDArray[Any],
    bias: npt.NDArray[Any],
    cross: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    signed_own: npt.NDArray[Any],
    signed_cross: npt.NDArray[Any],
    table: npt.NDArray[Any],
) -> Channel:
    return Channel(
        own=tuple(own[m, k].tolist()),
        bias=int(bias[m, k]),
        cross=cross[m, k].astype(np.int32),
        predicted=bool(predicted[m, k]),
        signed_own=tuple(signed_own[m, k].tolist()),
        signed_cross=signed_cross[m, k].astype(np.int32),
        table=table[m, k].tolist(),
    )


def _costs(freq: list[int], precision: int) -> list[int]:
    """Bits of every symbol in 1/256; one without a frequency takes the escape, which a byte follows."""

    def cost(bits: float) -> int:
        return int(256 * bits + 0.5)

    escape = cost(precision - math.log2(freq[ESCAPE]) + 8)
    return [cost(precision - math.log2(f)) if f else escape for f in freq[:ESCAPE]] + [escape]


def require_plane(height: int, width: int, name: str) -> None:
    """ValueError unless the format has planes of this size."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE and height * width <= MAX_AREA):
        raise ValueError(
            f"{name}: a plane of {height} x {width} is empty, or beyond {MAX_AREA} positions or {MAX_SIDE} on a side"
        )


def require_group(coder: Coder, array: npt.NDArray[Any], name: str, dtype: Any) -> None:
    """ValueError unless the array holds a group of this coder."""
    if array.dtype != dtype or array.ndim != 3 or len(array) != coder.channels:
        raise ValueError(
            f"{name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} ({coder.channels}, height, width)"
        )
    require_plane(array.shape[1], array.shape[2], name)
    if coder.adaptive and array.shape[1] != 1:
        raise ValueError(f"{name} has {array.shape[1]} rows, and audio has one")


def require_model(coder: Coder, model: int) -> None:
    """ValueError unless there is such a model."""
    if not 0 <= model < len(coder.models):
        raise ValueError(f"model {model} is not one of the artifact's {len(coder.models)}")
