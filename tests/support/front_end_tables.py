"""Made-up projections with the real structure, and images, for the tests of the front end."""

from functools import cache

import numpy as np

from latentstore.codecs.image.projection import AnalysisTables, SynthesisTables, analysis_tables, synthesis_tables
from latentstore.codecs.image.symmetry import SymmetryClass, symmetric_basis

K = SymmetryClass
CLASSES = np.array([K.EE_SYM, K.EO, K.OE, K.EE_ANTI, K.OO_SYM, K.EE_SYM, K.OO_ANTI, K.EO, K.OE, K.EE_SYM], np.int8)


def image(height: int, width: int, colours: int = 3, seed: int = 0) -> np.ndarray:
    """Half smooth, half noise, uint8."""
    rng = np.random.default_rng(seed)
    smooth = np.add.outer(np.arange(height) * 3, np.arange(width))[..., None] + np.arange(colours) * 40
    noise = rng.integers(-40, 40, (height, width, colours))
    return (np.clip(smooth % 256 + noise, 0, 255)).astype(np.uint8)


def random_rows(colours: int, levels: int = 3, seed: int = 0) -> list[np.ndarray]:
    """Weights for CLASSES, the same for both channels of a pair."""
    basis = symmetric_basis(colours, levels)
    rng = np.random.default_rng(seed)
    rows: list[np.ndarray] = []
    for kind in CLASSES:
        fresh = rng.normal(size=basis.runs[kind][1], scale=0.3).astype(np.float32)
        rows.append(rows[-1] if kind == K.OE else fresh)
    return rows


@cache
def tables(colours: int, levels: int = 3) -> tuple[AnalysisTables, SynthesisTables]:
    basis = symmetric_basis(colours, levels)
    return (
        analysis_tables(basis, CLASSES, random_rows(colours, levels, 1)),
        synthesis_tables(basis, CLASSES, random_rows(colours, levels, 2)),
    )


def vectors(low: float, high: float, seed: int = 3) -> np.ndarray:
    """One number for each channel, the same for both of a pair."""
    values = np.random.default_rng(seed).uniform(low, high, len(CLASSES)).astype(np.float32)
    second = CLASSES == K.OE
    values[second] = values[np.flatnonzero(second) - 1]
    return values
