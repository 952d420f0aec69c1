"""Fitting the projection: a Karhunen-Loeve transform of the bands within the symmetry classes.

Bands are weighted by the norms of their synthesis functions, so that squared error of channels is, to first order,
squared error of pixels; covariances are averaged over the eight symmetries of the square, which is what puts every
channel into one class (symmetry.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentstore.codecs.image.symmetry import Basis, SymmetryClass, symmetric_basis
from latentstore.codecs.image.wavelet import analysis_1d, synthesis_1d

Floats = npt.NDArray[np.float64]
ALONE = (SymmetryClass.EE_SYM, SymmetryClass.EE_ANTI, SymmetryClass.OO_SYM, SymmetryClass.OO_ANTI)


@dataclass(frozen=True)
class Projection:
    """classes int8 (channels,); rows and columns: per channel the analysis and synthesis weights of its class's
    entries; bound: per channel the largest magnitude any image can reach; deviation: standard deviation."""

    classes: npt.NDArray[np.int8]
    rows: list[Floats]
    columns: list[Floats]
    bound: Floats
    deviation: Floats


class Covariances:
    """Second moments of the classes' entries, gathered image by image."""

    def __init__(self, colours: int, levels: int) -> None:
        self.basis: Basis = symmetric_basis(colours, levels)
        self._scale = entry_scale(self.basis)
        self._sums = [np.zeros((count, count)) for _, count in self.basis.runs]
        self._count = 0

    def add(self, planes: npt.NDArray[np.float32]) -> None:
        """planes: float32 (planes, h, w), of `projection.image_planes`."""
        flat = planes.reshape(len(planes), -1)
        self._count += flat.shape[1]
        for (start, count), total in zip(self.basis.runs, self._sums, strict=True):
            a, b, sign = self.basis.entries[start : start + count].T
            entries = flat[a] + np.where(b >= 0, sign, 0)[:, None].astype(np.float32) * flat[b]
            entries = entries * self._scale[start : start + count, None].astype(np.float32)
            total += entries @ entries.T

    def averaged(self) -> list[Floats]:
        """Per class; EO and OE are transposed images of each other and share theirs."""
        sums = [total / max(self._count, 1) for total in self._sums]
        mixed = (sums[SymmetryClass.EO] + sums[SymmetryClass.OE]) / 2
        return [*sums[: SymmetryClass.EO], mixed, mixed]


def path_norms(levels: int) -> Floats:
    """L2 norms of the 1-D synthesis functions, by path (first split the highest bit)."""
    norms = []
    for path in range(2**levels):
        bands = np.zeros((2**levels, 16), np.float32)
        bands[path, 8] = 1
        norms.append(float(np.linalg.norm(synthesis_1d(bands, 16 * 2**levels))))
    return np.array(norms)


def _paths(plane: npt.NDArray[np.int32], basis: Basis) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Vertical and horizontal path of planes."""
    band = plane // basis.colours
    vertical, horizontal = np.zeros(len(band), np.int64), np.zeros(len(band), np.int64)
    for level in range(basis.levels):
        quad = band >> (2 * (basis.levels - 1 - level)) & 3
        vertical, horizontal = vertical * 2 + (quad >> 1), horizontal * 2 + (quad & 1)
    return vertical, horizontal


def plane_norms(colours: int, levels: int) -> Floats:
    """L2 norms of the 2-D synthesis functions of all planes, float64 (4**levels * colours,)."""
    return _norms(np.arange(4**levels * colours, dtype=np.int32), symmetric_basis(colours, levels))


def entry_scale(basis: Basis) -> Floats:
    """What makes entries orthonormal coefficients: norms of their bands, and the root of 1/2 for pairs."""
    return _norms(basis.entries[:, 0], basis) * np.where(basis.entries[:, 1] >= 0, np.sqrt(0.5), 1.0)


def _norms(planes: npt.NDArray[np.int32], basis: Basis) -> Floats:
    norms = path_norms(basis.levels)
    vertical, horizontal = _paths(planes, basis)
    return norms[vertical] * norms[horizontal]


def fit_projection(
    planes: Iterable[npt.NDArray[np.float32]], colours: int, levels: int, channels: int, group: int
) -> Projection:
    """The `channels` strongest directions of the images' bands, in order; pairs never straddle a group's end.

    planes: of images of so many colours, split so many times; see `projection.image_planes`.
    """
    gathered = Covariances(colours, levels)
    for image in planes:
        gathered.add(image)
    covariances = gathered.averaged()
    found: list[tuple[float, SymmetryClass, Floats]] = []
    for kind in (*ALONE, SymmetryClass.EO):
        values, vectors = np.linalg.eigh(covariances[kind])
        for value, vector in zip(values, vectors.T, strict=True):
            signed = vector * np.sign(vector[np.abs(vector).argmax()])
            found.append((float(value), kind, signed))
    found.sort(key=lambda item: -item[0])

    chosen: list[tuple[float, SymmetryClass, Floats]] = []  # variances, classes, rows
    while len(chosen) < channels:
        room = group - len(chosen) % group
        at = next(i for i, item in enumerate(found) if room > 1 or item[1] != SymmetryClass.EO)
        value, kind, vector = found.pop(at)
        chosen.append((value, kind, vector))
        if kind == SymmetryClass.EO:
            chosen.append((value, SymmetryClass.OE, vector))

    return _projection(
        gathered, [k for _, k, _ in chosen], [v for _, _, v in chosen], [value for value, _, _ in chosen]
    )


def measured_projection(
    planes: Iterable[npt.NDArray[np.float32]],
    colours: int,
    levels: int,
    classes: npt.NDArray[np.int8],
    vectors: Sequence[Floats],
) -> Projection:
    """The projection of given orthonormal rows, one a channel, with its deviations on the images' bands.

    planes: as for `fit_projection`. classes: of the channels. vectors: over the entries of their classes.
    """
    gathered = Covariances(colours, levels)
    for image in planes:
        gathered.add(image)
    covariances = gathered.averaged()
    kinds = [SymmetryClass(kind) for kind in classes]
    variances = [float(v @ covariances[kind] @ v) for kind, v in zip(kinds, vectors, strict=True)]
    return _projection(gathered, kinds, vectors, variances)


def _projection(
    gathered: Covariances, kinds: Sequence[SymmetryClass], vectors: Sequence[Floats], variances: Sequence[float]
) -> Projection:
    basis = gathered.basis
    scale = [gathered._scale[start : start + count] for start, count in basis.runs]
    halves = [np.where(basis.entries[start : start + count, 1] >= 0, 0.5, 1.0) for start, count in basis.runs]
    rows = [vector * scale[kind] for kind, vector in zip(kinds, vectors, strict=True)]
    # a pair's scale holds the root of 1/2 once for the sum; the way back divides by the norm and takes it again
    columns = [vector / scale[kind] * halves[kind] for kind, vector in zip(kinds, vectors, strict=True)]
    classes = np.array(kinds, np.int8)
    deviation = np.sqrt(np.array([max(v, 0.0) for v in variances]))
    return Projection(classes, rows, columns, _bounds(basis, classes, rows), deviation)


def _bounds(basis: Basis, classes: npt.NDArray[np.int8], rows: list[Floats]) -> Floats:
    """Largest magnitude of each channel over images in [-128, 127]: 128 times its weights' L1 norm over pixels."""
    size = 16 * 2**basis.levels
    responses = analysis_1d(np.eye(size, dtype=np.float32), basis.levels)  # pixel, path, position
    taps = responses[:, :, 8].T.astype(np.float64)
    bounds = []
    for kind, row in zip(classes, rows, strict=True):
        start, count = basis.runs[kind]
        total = np.zeros((basis.colours, size, size))
        for (a, b, sign), weight in zip(basis.entries[start : start + count], row, strict=True):
            for plane, w in ((a, weight), (b, weight * sign)):
                if plane >= 0:
                    (v,), (h,) = _paths(np.array([plane], np.int32), basis)
                    total[plane % basis.colours] += w * np.outer(taps[v], taps[h])
        bounds.append(128 * np.abs(total).sum())
    return np.array(bounds)
