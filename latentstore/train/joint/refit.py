"""A codec again with other rows: as it is, or with everything else fitted to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.file import make_artifact
from latentstore.codecs.fit.projection import Projection, measured_projection
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.image.projection import image_planes
from latentstore.codecs.load import codec_from_bytes
from latentstore.fit.api import single_threaded
from latentstore.fit.images import fit_models, shape_of

__all__ = ["moved", "refitted"]

ROUNDS = 2

Vectors = Sequence[npt.NDArray[np.float64]]
Uint8s = npt.NDArray[np.uint8]


def moved(start: ImageCodec, vectors: Vectors) -> ImageCodec:
    """The codec with these rows, one a channel as `Rows.vectors` gives them, and nothing else changed."""
    found = _projection(start, vectors, [])
    facts = start.artifact.facts | {"bound": [round(float(bound), 3) for bound in found.bound]}
    return _codec(make_artifact(facts, dict(start.artifact.tensors) | _tensors(found)))


def refitted(
    start: ImageCodec,
    vectors: Vectors,
    images: Sequence[Uint8s],
    name: str,
    said: dict[str, Any],
    say: Callable[[str], None],
) -> ImageCodec:
    """The codec with these rows, and its finest steps, what codes stand for and its entropy models fitted to images.

    name: of the new codec. said: for its card.
    """
    with single_threaded():
        found = _projection(start, vectors, images)
        card = {"began with": f"{start.name}, SHA-256 {start.sha256}", **said}
        return _codec(fit_models(images, name, shape_of(start), found, said["licence"], ROUNDS, say, card))


def _projection(start: ImageCodec, vectors: Vectors, images: Sequence[Uint8s]) -> Projection:
    planes = (image_planes(image, start.levels) for image in images)
    return measured_projection(planes, start.in_channels, start.levels, start.classes, vectors)


def _tensors(found: Projection) -> dict[str, npt.NDArray[Any]]:
    weights = {"analysis": found.rows, "synthesis": found.columns}
    return {name: np.concatenate(parts).astype(np.float32) for name, parts in weights.items()}


def _codec(content: bytes) -> ImageCodec:
    codec = codec_from_bytes(content)
    assert isinstance(codec, ImageCodec)
    return codec
