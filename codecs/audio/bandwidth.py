"""Which frequencies the channels of an audio codec hold."""

from __future__ import annotations

import numpy as np

from latentstore.codecs.audio.lapped import LappedTransform, mdct_basis

__all__ = ["bandwidth"]

# Of the power of a band: where less comes back, the band is not held.
HELD = 0.5


def bandwidth(lapped: LappedTransform, rate: int) -> list[float]:
    """For each mixed signal, the frequency in hertz up to which all bands are held, of audio at `rate` hertz.

    Single bands above it may be held too. The basis of each mixed signal must be orthonormal, as a fit makes it.
    """
    bands = mdct_basis(lapped.hop)
    width = rate / 2 / lapped.hop
    edges = []
    for mixed in range(lapped.inputs):
        held = np.square(lapped.basis[lapped.source == mixed] @ bands.T).sum(0) >= HELD
        edges.append(width * float(np.argmin(np.append(held, False))))
    return edges
