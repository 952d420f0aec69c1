"""What a trained decoder adds to the bands of an image: one pass of its network, or the mean over eight orientations.

The network is not symmetric by itself, so its eight answers differ a little, and their mean is nearer to the image
(the self-ensemble of Timofte and others, "Seven ways to improve example-based single image super resolution", 2016).
Here the flips and turns of a latent are exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentstore.codecs.image.symmetry import SYMMETRIES, transform_latent, transform_planes
from latentstore.codecs.neural.decoder import Decoder

__all__ = ["refinement"]

Floats = npt.NDArray[np.float32]

# Symmetries that undo themselves are not in it.
_INVERSE = {"rot90": "rot270", "rot270": "rot90"}


def refinement(
    decoder: Decoder, latent: npt.NDArray[np.int8], step: float, classes: npt.NDArray[np.integer], levels: int
) -> Floats:
    """What to add to the planes of the linear synthesis: int8 (c, h, w) to float32 (planes, h, w).

    latent: the first c channels. step: the quantisation step. classes: of all channels of the codec.
    levels: of its transform.
    """
    if not decoder.averages:
        return decoder.refinement(latent, step)
    kept = len(latent)
    # a prefix may end inside a pair of channels, which turns swap
    whole = np.zeros((len(classes), *latent.shape[1:]), np.int8)
    whole[:kept] = latent
    total = np.zeros((decoder.file.shape.planes, *latent.shape[1:]), np.float32)
    for symmetry in SYMMETRIES:
        planes = decoder.refinement(transform_latent(whole, symmetry, classes)[:kept], step)
        total += transform_planes(planes, _INVERSE.get(symmetry, symmetry), levels)
    total /= len(SYMMETRIES)
    return total
