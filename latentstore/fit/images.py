"""Fits a codec of images: projection, quantisation and entropy models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.file import make_artifact
from latentstore.codecs.artifact.parts import image_levels
from latentstore.codecs.codec import Codec
from latentstore.codecs.fit.entropy import context_counts, fit_weights, stacked
from latentstore.codecs.fit.projection import Projection, fit_projection
from latentstore.codecs.image import projection
from latentstore.codecs.image.arguments import COLOURS
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.image.symmetry import Basis, SymmetryClass, symmetric_basis
from latentstore.codecs.modality import IMAGE, Modality
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.fit.models import PRECISION, SEED, Int8s, Tensors, codec_of, group_parts, shared_tables, sparse_tables
from latentstore.fit.quantisation import Shortfall, deltas, finest_step, histogram, outliers_expected, quality_of
from latentstore.progress import counted
from latentstore.sources.images import read_image

__all__ = ["IMAGE_SHAPES", "ImageShape", "fit_images", "fit_models", "read", "shape_of"]

Uint8s = npt.NDArray[np.uint8]

TABLES, SPARSE_TABLES = 48, 24
PREDICTED = 3
LAMBDA = 0.12
ROUNDING = 0.36
# Bins of a histogram of coefficients, up to the largest possible.
BINS = 4096


@dataclass(frozen=True)
class Steps:
    """models: steps at which entropy models are fitted. qualities: the steps of some qualities; between these, each
    unit of quality makes the step smaller by the same factor. 100 is the best that the channels can hold."""

    models: tuple[float, ...]
    qualities: tuple[tuple[int, float], ...]
    default_quality: int


# PSNR of photographs is about 25 dB at quality 1, 31 dB at 49 and 35 dB at 90
EIGHT = Steps((110.0, 50.0, 24.0, 9.0), ((1, 240.0), (50, 49.0), (90, 20.0), (100, 2.5)), 49)
# PSNR of photographs is about 23 dB at quality 1, 26 dB at 50 and 28 dB at 90
SIXTEEN = Steps((230.0, 150.0, 90.0, 40.0), ((1, 360.0), (50, 140.0), (90, 50.0), (100, 10.0)), 50)


@dataclass(frozen=True)
class ImageShape:
    """What a codec's name stands for. mode: "RGB" or "L". levels: of the packet transform. channels: of a latent.
    group: channels of a group.

    unit: a factor for all steps. The coefficients of a gray image are smaller, by the square root of 3, than those of
    the same image in three equal colours; at the same quality both are to look the same.
    """

    modality: ClassVar[Modality] = IMAGE
    mode: str
    levels: int
    channels: int
    group: int
    steps: Steps
    unit: float = 1.0

    @property
    def model_steps(self) -> list[float]:
        return [round(step * self.unit, 6) for step in self.steps.models]


# A latent of four levels has a quarter of the positions, so the headers of groups weigh more: it has two groups.
IMAGE_SHAPES = {
    "rgb-f8c48": ImageShape("RGB", 3, 48, 12, EIGHT),
    "rgb-f16c48": ImageShape("RGB", 4, 48, 24, SIXTEEN),
    "gray-f8c16": ImageShape("L", 3, 16, 8, EIGHT, 3**-0.5),
}


def shape_of(codec: ImageCodec) -> ImageShape:
    """What a codec is like, so that another one like it can be fitted."""
    facts = codec.artifact.facts
    qualities = tuple((int(quality), float(step)) for quality, step in facts["quality_steps"])
    steps = Steps(tuple(facts["model_steps"]), qualities, codec.default_quality)
    return ImageShape(codec.mode, codec.levels, codec.channels, codec.group_channels, steps)


def read(data: bytes | npt.NDArray[Any], shape: ImageShape) -> Uint8s:
    """An image file as `fit_images` takes it; ImageError."""
    return read_image(data, shape.mode)


def fit_images(
    images: Sequence[Uint8s], name: str, shape: ImageShape, licence: str, rounds: int, say: Callable[[str], None]
) -> bytes:
    """The bytes of an artifact fitted on images uint8 (H, W, C); arguments as `fit.api.fit` has them."""
    say(f"{counted(len(images), 'image')}, {sum(p.shape[0] * p.shape[1] for p in images) / 1e6:.1f} megapixels")
    colours = COLOURS[shape.mode]
    planes = (projection.image_planes(p, shape.levels) for p in images)
    found = fit_projection(planes, colours, shape.levels, shape.channels, shape.group)
    say("projection: standard deviations " + " ".join(f"{d:.0f}" for d in found.deviation))
    return fit_models(images, name, shape, found, licence, rounds, say, {})


def fit_models(
    images: Sequence[Uint8s],
    name: str,
    shape: ImageShape,
    found: Projection,
    licence: str,
    rounds: int,
    say: Callable[[str], None],
    said: dict[str, Any],
) -> bytes:
    """As `fit_images`, of a projection that is there. said: what the card says besides."""
    # tables are fitted at full and at half size: small images have finer detail per pixel
    scaled = [*images, *(_halved(p) for p in images if min(p.shape[:2]) > 1)]
    facts = _facts(name, shape, found, _floor(images, found, shape), len(images), licence)
    tensors = _projection_tensors(found)
    latents = [_rounded(scaled, facts, tensors, step) for step in shape.model_steps]
    codec = _refitted(scaled, facts, tensors, latents, shape)
    say("tables from rounded latents: " + _summary(codec, latents))
    for turn in range(1, rounds + 1):
        latents = [_optimised(scaled, codec, step) for step in shape.model_steps]
        codec = _refitted(scaled, facts, tensors, latents, shape)
        say(f"round {turn} of {rounds}: " + _summary(codec, latents))
    facts["card"] |= said | {"measured": _measured(codec, images)}
    say(facts["card"]["measured"])
    return make_artifact(facts, tensors)


def _refitted(
    images: Sequence[Uint8s],
    facts: dict[str, Any],
    tensors: Tensors,
    latents: Sequence[Sequence[Int8s]],
    shape: ImageShape,
) -> Codec:
    """The codec whose entropy models and deltas are fitted to these latents; updates `tensors`."""
    tensors.update(_entropy_tensors(latents, shape))
    tensors["delta"] = _delta(images, facts, tensors, latents[1], shape.model_steps[1])
    return codec_of(facts, tensors)


def _halved(image: Uint8s) -> Uint8s:
    h, w = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    quads = image[:h, :w].reshape(h // 2, 2, w // 2, 2, -1).astype(np.uint16)
    return ((quads.sum((1, 3)) + 2) // 4).astype(np.uint8)


def _floor(images: Sequence[Uint8s], found: Projection, shape: ImageShape) -> list[float]:
    """The finest step of each channel.

    It is coarse enough that a coefficient of seven standard deviations, or the largest possible one, fits int8: images
    unlike those of the fit must not be limited sooner.
    """
    tables = projection.analysis_tables(_basis(shape.mode, shape.levels), found.classes, found.rows)
    unit = np.ones(len(found.bound), np.float32)
    coefficients = (projection.image_to_coefs(image, tables, unit).reshape(len(unit), -1) for image in images)
    floor = []
    for count, deviation, bound in zip(
        histogram(coefficients, found.bound, BINS), found.deviation, found.bound, strict=True
    ):
        steps = np.geomspace(max(min(7.0 * deviation, bound), 0.127), max(bound, 0.127), 64) / 127.0
        floor.append(round(finest_step(count, bound, steps), 6))
    # both channels of a pair are treated alike
    for k in np.flatnonzero(found.classes == SymmetryClass.EO):
        floor[k] = floor[k + 1] = max(floor[k], floor[k + 1])
    return floor


def _facts(
    name: str, shape: ImageShape, found: Projection, floor: Sequence[float], images: int, licence: str
) -> dict[str, Any]:
    return {
        "name": name,
        "mode": shape.mode,
        # artifacts of three levels do not say it
        **({} if shape.levels == image_levels({}) else {"levels": shape.levels}),
        "channels": shape.channels,
        "group_channels": shape.group,
        "default_quality": shape.steps.default_quality,
        "precision": PRECISION,
        "quality_steps": [[quality, round(step * shape.unit, 6)] for quality, step in shape.steps.qualities],
        "model_steps": shape.model_steps,
        "lambda": LAMBDA,
        "rounding": ROUNDING,
        "bound": [round(float(b), 3) for b in found.bound],
        "floor": floor,
        "card": {
            "fitted on": f"{counted(images, 'image')} at full and half size",
            "licence": licence,
            "transform": f"sym6-10, {shape.levels} levels",
            "seed": SEED,
        },
    }


def _projection_tensors(found: Projection) -> dict[str, npt.NDArray[Any]]:
    return {
        "classes": found.classes,
        "analysis": np.concatenate(found.rows).astype(np.float32),
        "synthesis": np.concatenate(found.columns).astype(np.float32),
    }


def _basis(mode: str, levels: int) -> Basis:
    return symmetric_basis(COLOURS[mode], levels)


def _analysis(facts: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> projection.AnalysisTables:
    basis = _basis(facts["mode"], image_levels(facts))
    ends = np.cumsum([basis.runs[kind][1] for kind in tensors["classes"]])
    return projection.analysis_tables(basis, tensors["classes"], np.split(tensors["analysis"], ends[:-1]))


def _scale(facts: dict[str, Any], step: float) -> npt.NDArray[np.float32]:
    return np.maximum(np.float32(step), np.array(facts["floor"], np.float32))


def _rounded(images: Sequence[Uint8s], facts: dict[str, Any], tensors: Tensors, step: float) -> list[Int8s]:
    """Latents at a step, every coefficient rounded by itself."""
    tables, inverse = _analysis(facts, tensors), (1 / _scale(facts, step)).astype(np.float32)
    rounding = np.full(facts["channels"], facts["rounding"], np.float32)
    return [projection.image_to_latent(p, tables, inverse, rounding)[0] for p in images]


def _optimised(images: Sequence[Uint8s], codec: Codec, step: float) -> list[Int8s]:
    """Latents at a step, optimised against the codec's tables."""
    quality = quality_of(codec, step)
    with outliers_expected():
        return [codec.encode(p[None], quality)[0] for p in images]


def _entropy_tensors(latents: Sequence[Sequence[Int8s]], shape: ImageShape) -> dict[str, npt.NDArray[Any]]:
    """Models of every band and group, and one set of tables for all of them."""
    groups, parts = shape.channels // shape.group, group_parts(latents, shape.group)
    weights = [fit_weights(part, PREDICTED if i % groups == 0 else 0, SEED) for i, part in enumerate(parts)]
    tensors = stacked(weights)
    counts = [context_counts(tensors, i, part) for i, part in enumerate(parts)]
    tensors |= shared_tables(counts, shape.group, TABLES)
    return tensors | sparse_tables(tensors, parts, SPARSE_TABLES)


def _delta(
    images: Sequence[Uint8s], facts: dict[str, Any], tensors: Tensors, latents: Sequence[Int8s], step: float
) -> npt.NDArray[np.float32]:
    """`delta` of the artifact, fitted on these latents."""
    tables, inverse = _analysis(facts, tensors), (1 / _scale(facts, step)).astype(np.float32)
    short = Shortfall(facts["channels"])
    for image, latent in zip(images, latents, strict=True):
        short.add(projection.image_to_coefs(image, tables, inverse), latent, largest=127)
    mean, counts = short.means(), short.counts
    # both channels of a pair must be rebuilt alike
    pair = np.flatnonzero(tensors["classes"] == SymmetryClass.EO)
    total = mean[pair] * counts[pair] + mean[pair + 1] * counts[pair + 1]
    mean[pair] = mean[pair + 1] = total / np.maximum(counts[pair] + counts[pair + 1], 1)
    return deltas(mean)


def _summary(codec: Codec, latents: Sequence[Sequence[Int8s]]) -> str:
    parts = []
    for step, band in zip(codec.artifact.facts["model_steps"], latents, strict=True):
        quality, some = quality_of(codec, step), band[:: max(1, len(band) // 8)]
        size = sum(len(b) for x in some for b in codec.encode_latent_groups(x, quality))
        parts.append(f"step {step:.0f}: {size * 8 / sum(x[0].size * codec.reduction**2 for x in some):.3f} bits/pixel")
    return ", ".join(parts)


def _measured(codec: Codec, images: Sequence[Uint8s]) -> str:
    """PSNR and bits per pixel at the default quality, on the images of the fit."""
    psnr, bits, pixels = [], 0, 0
    for image in images:
        blob = codec.compress(image)
        error = np.mean((codec.decompress(blob, decoder=LINEAR).astype(np.float64) - image) ** 2)
        psnr.append(10 * np.log10(255**2 / max(float(error), 1e-9)))
        bits, pixels = bits + 8 * len(blob), pixels + image.shape[0] * image.shape[1]
    return f"{np.mean(psnr):.2f} dB at {bits / pixels:.3f} bits/pixel, default quality, on the images of the fit"
