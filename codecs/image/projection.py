"""Images to channels and back: packet transform, projection within symmetry classes, quantisation.

The kernel does it, and the reference does the same operations in the same order, so results are the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.symmetry import Basis, check_classes
from latentstore.codecs.native import backend

__all__ = [
    "AnalysisTables",
    "SynthesisTables",
    "analysis_tables",
    "image_planes",
    "image_to_coefs",
    "image_to_latent",
    "latent_side",
    "latent_to_image",
    "planes_to_image",
    "synthesis_matrix",
    "synthesis_tables",
]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
Rows = Sequence[npt.ArrayLike]


@dataclass(frozen=True)
class AnalysisTables:
    """Channels as weighted sums of basis entries.

    levels: of the packet transform. basis: int32 (entries, 3), as in symmetry.Basis.entries.
    runs: int32 (channels, 2): start and count of the entries that a channel sums.
    weights: float32, the channels' weights one after another.
    """

    levels: int
    basis: Integers
    runs: Integers
    weights: Floats


@dataclass(frozen=True)
class SynthesisTables:
    """Basis entries as weighted sums of channels, and planes from them.

    levels: of the packet transform.
    starts: int32 (entries + 1,): entry j sums channel_list[starts[j]:starts[j + 1]], ascending.
    channel_list: int32; weights: float32, as long.
    assembly: int32 (planes, 3), as in symmetry.Basis.assembly.
    """

    levels: int
    starts: Integers
    channel_list: Integers
    weights: Floats
    assembly: Integers


def analysis_tables(basis: Basis, classes: npt.ArrayLike, rows: Rows) -> AnalysisTables:
    """Tables for channels of these classes.

    rows: for every channel its weights over the entries of its class. Both channels of a pair have the same.
    """
    given = _check_rows(basis, classes, rows)
    runs = np.array([basis.runs[kind] for kind in given], np.int32).reshape(-1, 2)
    return AnalysisTables(basis.levels, basis.entries, runs, _joined(rows))


def synthesis_tables(basis: Basis, classes: npt.ArrayLike, columns: Rows) -> SynthesisTables:
    """Tables for the way back.

    columns: for every channel what one unit of it adds to each entry of its class. Both channels of a pair
        have the same.
    """
    given = _check_rows(basis, classes, columns)
    channels = [np.flatnonzero(given == kind) for kind in range(len(basis.runs))]
    vectors = [np.asarray(column, np.float32) for column in columns]
    lengths, listed, weights = [], [], []
    for kind, (_, count) in enumerate(basis.runs):
        own = channels[kind]
        lengths += [len(own)] * count
        listed.append(np.tile(own, count))
        weights.append(np.array([vectors[k] for k in own], np.float32).reshape(-1, count).T.ravel())
    return SynthesisTables(
        basis.levels,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        np.concatenate(listed).astype(np.int32),
        _joined(weights),
        basis.assembly,
    )


def _check_rows(basis: Basis, classes: npt.ArrayLike, rows: Rows) -> npt.NDArray[np.int8]:
    given = check_classes(classes)
    if len(rows) != len(given):
        raise ArgumentError(f"{len(given)} channels need as many rows of weights, not {len(rows)}.")
    for k, (kind, row) in enumerate(zip(given, rows, strict=True)):
        if np.shape(row) != (basis.runs[kind][1],) or not np.isfinite(row).all():
            raise ArgumentError(
                f"Channel {k} needs {basis.runs[kind][1]} finite weights, as its class has entries; "
                f"its row has shape {np.shape(row)}."
            )
    return given


def _joined(rows: Rows) -> Floats:
    return np.concatenate([np.zeros(0, np.float32), *(np.asarray(row, np.float32) for row in rows)])


def latent_side(pixels: int, levels: int) -> int:
    """Latent positions along a side of so many pixels."""
    return -(-pixels >> levels)


def image_planes(pixels: npt.NDArray[np.uint8], levels: int) -> Floats:
    """All bands of an image: uint8 (H, W, C) to float32 (4**levels * C, h, w), plane = band * C + colour."""
    _check_image(pixels)
    height, width, colours = pixels.shape
    out = np.empty((4**levels * colours, latent_side(height, levels), latent_side(width, levels)), np.float32)
    backend().image_analysis(levels, np.ascontiguousarray(pixels), out)
    return out


def image_to_coefs(pixels: npt.NDArray[np.uint8], tables: AnalysisTables, inv_step: Floats) -> Floats:
    """Channels in units of their steps: uint8 (H, W, C) to float32 (K, h, w). inv_step: float32 (K,)."""
    _check_image(pixels)
    out = np.empty(_latent_shape(pixels, tables), np.float32)
    arrays = np.ascontiguousarray(pixels), tables.basis, tables.runs, tables.weights, inv_step, out
    backend().image_to_coefs(tables.levels, *arrays)
    return out


def image_to_latent(
    pixels: npt.NDArray[np.uint8], tables: AnalysisTables, inv_step: Floats, rounding: Floats
) -> tuple[npt.NDArray[np.int8], int]:
    """Quantised channels, each value by itself: sign(c) * floor(|c| * inv_step + rounding).

    pixels: uint8 (H, W, C); inv_step, rounding: float32 (K,).
    Returns int8 (K, h, w), limited to +-127, and how many values were limited: the caller is to act on them.
    """
    _check_image(pixels)
    out = np.empty(_latent_shape(pixels, tables), np.int8)
    arrays = np.ascontiguousarray(pixels), tables.basis, tables.runs, tables.weights, inv_step, rounding, out
    return out, backend().image_to_latent(tables.levels, *arrays)


def latent_to_image(
    latent: npt.NDArray[np.int8],
    tables: SynthesisTables,
    step: Floats,
    delta1: Floats,
    delta2: Floats,
    size: tuple[int, int],
    out: npt.NDArray[np.uint8] | None = None,
    added: Floats | None = None,
) -> npt.NDArray[np.uint8]:
    """An image from a latent or its first channels: int8 (K' <= K, h, w) to uint8 (H, W, C).

    A value q stands for sign(q) * (|q| - delta) * step, where delta is delta1 for |q| = 1 and delta2 beyond;
    all three are float32 (K,). size: (H, W). out: where to put it, C-contiguous; it is returned. added: float32
    (planes, h, w), what is added to the bands before they become an image.
    """
    height, width = size
    if height < 1 or width < 1 or latent.shape[1:] != _latent_sides(size, tables.levels):
        raise ArgumentError(f"An image of {height} by {width} pixels has no latent of shape {latent.shape}.")
    colours = len(tables.assembly) // 4**tables.levels
    arrays = (tables.starts, tables.channel_list, tables.weights, tables.assembly, step, delta1, delta2)
    if out is None:
        out = np.empty((height, width, colours), np.uint8)
    if added is None:
        added = np.zeros((0, *latent.shape[1:]), np.float32)
    backend().latent_to_image(tables.levels, np.ascontiguousarray(latent), *arrays, np.ascontiguousarray(added), out)
    return out


def synthesis_matrix(tables: SynthesisTables, channels: int) -> Floats:
    """What one unit of each channel adds to each plane: float32 (planes, channels)."""
    entries = np.zeros((len(tables.starts) - 1, channels), np.float32)
    for entry, (start, end) in enumerate(pairwise(tables.starts.tolist())):
        entries[entry, tables.channel_list[start:end]] = tables.weights[start:end]
    first, second, sign = tables.assembly.T
    return entries[first] + np.where(second >= 0, sign, 0)[:, None].astype(np.float32) * entries[second]


def planes_to_image(planes: Floats, size: tuple[int, int], levels: int) -> npt.NDArray[np.uint8]:
    """The inverse of `image_planes`, to the nearest pixel value: float32 (4**levels * C, h, w) to uint8 (H, W, C)."""
    height, width = size
    colours, rest = divmod(len(planes), 4**levels)
    if height < 1 or width < 1 or rest or planes.shape[1:] != _latent_sides(size, levels):
        raise ArgumentError(f"An image of {height} by {width} pixels has no planes of shape {planes.shape}.")
    out = np.empty((height, width, colours), np.uint8)
    backend().image_synthesis(levels, np.ascontiguousarray(planes), out)
    return out


def _check_image(pixels: npt.NDArray[np.uint8]) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or 0 in pixels.shape:
        raise ArgumentError(f"An image must be uint8 (height, width, colours), not {pixels.dtype} {pixels.shape}.")


def _latent_shape(pixels: npt.NDArray[np.uint8], tables: AnalysisTables) -> tuple[int, int, int]:
    return len(tables.runs), *_latent_sides((pixels.shape[0], pixels.shape[1]), tables.levels)


def _latent_sides(size: tuple[int, int], levels: int) -> tuple[int, int]:
    return latent_side(size[0], levels), latent_side(size[1], levels)
