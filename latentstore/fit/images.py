"""`latentstore fit`: a codec of one's own from a folder of images, or of recordings (`fit_audio`).

The shipped artifacts are made by this command; the same images and options give the same bytes on machines whose
processors add up alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs import Codec, OutlierWarning, codec_from_bytes
from latentstore.codecs.artifact.file import is_name, make_artifact
from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.codecs.fit.entropy import cluster, context_counts, fit_weights, stacked
from latentstore.codecs.fit.projection import Projection, fit_projection
from latentstore.codecs.image import projection
from latentstore.codecs.image.symmetry import SymmetryClass, symmetric_basis
from latentstore.codecs.load import SUFFIX
from latentstore.fit.audio import AUDIO_SHAPES, AudioShape, fit_audio
from latentstore.progress import counted, printable

if TYPE_CHECKING:
    from latentstore.sources import Item

Uint8s = npt.NDArray[np.uint8]
Int8s = npt.NDArray[np.int8]
Tensors = dict[str, npt.NDArray[Any]]

# Steps at which entropy models are fitted, and the knob: between these the step falls by a constant factor a unit of
# quality. PSNR of photographs is about 25 dB at quality 1, 31 dB at 49, 35 dB at 90; 100 is what the channels can hold.
MODEL_STEPS = (110.0, 50.0, 24.0, 9.0)
QUALITY_STEPS = ((1, 240.0), (50, 49.0), (90, 20.0), (100, 2.5))
DEFAULT_QUALITY = 49
PRECISION = 12
TABLES = 48
PREDICTED = 3
LAMBDA = 0.12
ROUNDING = 0.36
SEED = 0
# of a histogram of coefficients, up to the largest possible
BINS = 4096


@dataclass(frozen=True)
class Shape:
    """mode, channels and group of a codec's name.

    unit: what the steps below are multiplied by. A gray image's coefficients are smaller by the root of three than
    those of the same image in three equal colours, and it is to look the same at the same quality.
    """

    mode: str
    channels: int
    group: int
    unit: float

    @property
    def model_steps(self) -> list[float]:
        return [round(step * self.unit, 6) for step in MODEL_STEPS]


SHAPES = {"rgb-f8c48": Shape("RGB", 48, 12, 1.0), "gray-f8c16": Shape("L", 16, 8, 3**-0.5)}


def fit(
    folder: str | Path,
    name: str,
    shape: Shape | AudioShape,
    *,
    licence: str = "not stated",
    rounds: int = 2,
    say: Callable[[str], None] = lambda _: None,
) -> bytes:
    """The bytes of an artifact fitted on every image of a folder and its subfolders, in order of their paths.

    name: lower-case letters, digits, '.', '_' and '-'. shape: a value of SHAPES; one of AUDIO_SHAPES takes recordings
    in the place of images. rounds: of alternating between quantising against the tables and fitting the tables. say:
    called with every line of progress, among them one for each file that is no image.
    ArgumentError if the folder holds no image, an argument cannot be meant, or SciPy is not installed.
    """
    if not is_name(name):
        raise ArgumentError(f"The name {name!r} is not lower-case letters, digits, '.', '_' and '-', at most 64.")
    if rounds < 0:
        raise ArgumentError(f"rounds is {rounds}; it is 0 or more.")
    for needed in ("scipy", "threadpoolctl"):
        if find_spec(needed) is None:
            raise ArgumentError(f"Fitting needs {needed}, which is not here: pip install 'latentstore[train]'.")
    from threadpoolctl import threadpool_limits

    # one thread adds up in one order, however many cores there are; and products this small gain nothing by more
    with threadpool_limits(1, "blas"):
        if isinstance(shape, AudioShape):
            signals = _read_recordings(Path(folder), shape, say)
            return fit_audio(signals, name, shape, licence, rounds, say)
        return _fit(Path(folder), name, shape, licence, rounds, say)


def fit_file(
    folder: str | Path,
    out: str | Path,
    name: str,
    like: str = "rgb-f8c48",
    licence: str = "not stated",
    rounds: int = 2,
    say: Callable[[str], None] = lambda _: None,
) -> Codec:
    """`fit`, written to the file `out`; like: a name in SHAPES or AUDIO_SHAPES. Returns the codec.

    Everything about the file is checked before the fit, and nothing is left of one that failed. ArgumentError.
    """
    target = Path(out)
    shapes: dict[str, Shape | AudioShape] = {**SHAPES, **AUDIO_SHAPES}
    if like not in shapes:
        raise ArgumentError(f"A codec can be like {' or '.join(sorted(shapes))}, not {like!r}.")
    if target.suffix != SUFFIX or target.is_dir():
        raise ArgumentError(f"The file {out} is to end in {SUFFIX}, and to be no folder: codecs are loaded by that.")
    if not target.parent.is_dir():
        raise ArgumentError(f"{target.parent} is not a folder: make it, the artifact goes there.")
    content = fit(folder, name, shapes[like], licence=licence, rounds=rounds, say=say)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(content)
    partial.replace(target)
    return codec_from_bytes(content, str(out))


def _fit(folder: Path, name: str, shape: Shape, licence: str, rounds: int, say: Callable[[str], None]) -> bytes:
    images = _read_folder(folder, shape.mode, say)
    say(f"{counted(len(images), 'image')}, {sum(p.shape[0] * p.shape[1] for p in images) / 1e6:.1f} megapixels")
    colours = 3 if shape.mode == "RGB" else 1
    found = fit_projection((projection.image_planes(p) for p in images), colours, shape.channels, shape.group)
    say("projection: standard deviations " + " ".join(f"{d:.0f}" for d in found.deviation))
    # tables see the images at full and at half size: stores of small images hold finer detail per pixel
    scaled = images + [_halved(p) for p in images if min(p.shape[:2]) > 1]
    facts = _facts(name, shape, found, _floor(images, found, colours), len(images), licence)
    tensors = _projection_tensors(found)
    latents = [_rounded(scaled, facts, tensors, step) for step in shape.model_steps]
    codec = _refitted(scaled, facts, tensors, latents, shape)
    say("tables from rounded latents: " + _summary(codec, latents))
    for turn in range(1, rounds + 1):
        latents = [_optimised(scaled, codec, step) for step in shape.model_steps]
        codec = _refitted(scaled, facts, tensors, latents, shape)
        say(f"round {turn} of {rounds}: " + _summary(codec, latents))
    facts["card"]["measured"] = _measured(codec, images)
    say(facts["card"]["measured"])
    return make_artifact(facts, tensors)


def _refitted(
    images: Sequence[Uint8s],
    facts: dict[str, Any],
    tensors: Tensors,
    latents: Sequence[Sequence[Int8s]],
    shape: Shape,
) -> Codec:
    """The codec whose entropy models and deltas are fitted to these latents; `tensors` is brought up to date."""
    tensors.update(_entropy_tensors(latents, shape))
    tensors["delta"] = _delta(images, facts, tensors, latents[1], shape.model_steps[1])
    return codec_from_bytes(make_artifact(facts, tensors))


def _read_folder(folder: Path, mode: str, say: Callable[[str], None]) -> list[Uint8s]:
    """Every image below the folder; files that are none are named, and hidden ones left out."""
    from latentstore.sources.images import read_image

    images = []
    for item in _files(folder):
        try:
            images.append(read_image(item.read(), mode, None))
        except SignalError as error:
            say(f"left out: {printable(item.path)}: {error}")
    if not images:
        raise ArgumentError(f"{folder} holds no image to fit on.")
    return images


def _files(folder: Path) -> list[Item]:
    """Every file below a folder, in order; hidden ones are left out."""
    from latentstore.loaders.remote.location import Location
    from latentstore.sources.folder import list_folder

    if not folder.is_dir():
        raise ArgumentError(f"{folder} is not a folder: what to fit on lies in one.")
    return list_folder(Location(folder))[0]


def _read_recordings(folder: Path, shape: AudioShape, say: Callable[[str], None]) -> list[npt.NDArray[np.float32]]:
    """Every recording below the folder, at the rate of the shape; files that are none are named."""
    from latentstore.sources.audio import read_audio

    recordings = []
    for item in _files(folder):
        try:
            recordings.append(read_audio(item.read(), shape.inputs, shape.rate)[0])
        except SignalError as error:
            say(f"left out: {printable(item.path)}: {error}")
    if not recordings:
        raise ArgumentError(f"{folder} holds no recording to fit on.")
    return recordings


def _halved(image: Uint8s) -> Uint8s:
    h, w = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    quads = image[:h, :w].reshape(h // 2, 2, w // 2, 2, -1).astype(np.uint16)
    return ((quads.sum((1, 3)) + 2) // 4).astype(np.uint8)


def _floor(images: Sequence[Uint8s], found: Projection, colours: int) -> list[float]:
    """The finest step of each channel: where rounding and the limit of int8 together cost least.

    And coarse enough that a value seven times the channel's standard deviation, or the largest possible, fits:
    images unlike those of the fit are not to be limited sooner.
    """
    tables = projection.analysis_tables(symmetric_basis(colours), found.classes, found.rows)
    unit = np.ones(len(found.bound), np.float32)
    counts, width = np.zeros((len(unit), BINS)), found.bound / BINS
    for image in images:
        places = np.abs(projection.image_to_coefs(image, tables, unit)).reshape(len(unit), -1) / width[:, None]
        for count, place in zip(counts, places.astype(np.int64), strict=True):
            count += np.bincount(np.minimum(place, BINS - 1), minlength=BINS)
    floor = []
    for count, deviation, bound in zip(counts, found.deviation, found.bound, strict=True):
        share, value = count / count.sum(), (np.arange(BINS) + 0.5) * bound / BINS
        steps = np.geomspace(max(min(7.0 * deviation, bound), 0.127), max(bound, 0.127), 64) / 127.0
        error = [step**2 / 12 + share @ np.maximum(value - 127.0 * step, 0) ** 2 for step in steps]
        floor.append(round(float(steps[np.argmin(error)]), 6))
    # both channels of a pair are treated alike
    for k in np.flatnonzero(found.classes == SymmetryClass.EO):
        floor[k] = floor[k + 1] = max(floor[k], floor[k + 1])
    return floor


def _facts(
    name: str, shape: Shape, found: Projection, floor: Sequence[float], images: int, licence: str
) -> dict[str, Any]:
    return {
        "name": name,
        "mode": shape.mode,
        "channels": shape.channels,
        "group_channels": shape.group,
        "default_quality": DEFAULT_QUALITY,
        "precision": PRECISION,
        "quality_steps": [[quality, round(step * shape.unit, 6)] for quality, step in QUALITY_STEPS],
        "model_steps": shape.model_steps,
        "lambda": LAMBDA,
        "rounding": ROUNDING,
        "bound": [round(float(b), 3) for b in found.bound],
        "floor": floor,
        "card": {
            "fitted on": f"{counted(images, 'image')} at full and half size",
            "licence": licence,
            "transform": "sym6-10, 3 levels",
            "seed": SEED,
        },
    }


def _projection_tensors(found: Projection) -> dict[str, npt.NDArray[Any]]:
    return {
        "classes": found.classes,
        "analysis": np.concatenate(found.rows).astype(np.float32),
        "synthesis": np.concatenate(found.columns).astype(np.float32),
    }


def _analysis(facts: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> projection.AnalysisTables:
    basis = symmetric_basis(3 if facts["mode"] == "RGB" else 1)
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
    quality = _quality_of(codec, step)
    with warnings.catch_warnings():
        # at the finest step some coefficients leave int8; the models are not fitted for them
        warnings.simplefilter("ignore", OutlierWarning)
        return [codec.encode(p[None], quality)[0] for p in images]


def _entropy_tensors(latents: Sequence[Sequence[Int8s]], shape: Shape) -> dict[str, npt.NDArray[Any]]:
    """Models of every band and group; one set of tables for all of them."""
    n, groups = shape.group, shape.channels // shape.group
    parts = [[x[g * n : (g + 1) * n] for x in band] for band in latents for g in range(groups)]
    weights = [fit_weights(part, PREDICTED if i % groups == 0 else 0, SEED) for i, part in enumerate(parts)]
    tensors = stacked(weights)
    counts = np.concatenate([context_counts(tensors, i, part) for i, part in enumerate(parts)])
    table, freq = cluster(counts.reshape(-1, counts.shape[-1]), TABLES, PRECISION)
    tensors["entropy.table"] = table.reshape(len(parts), n, 4, 64)
    tensors["entropy.freq"] = freq
    return tensors


def _delta(
    images: Sequence[Uint8s], facts: dict[str, Any], tensors: Tensors, latents: Sequence[Int8s], step: float
) -> npt.NDArray[np.float32]:
    """How far towards zero the means of the coefficients lie that became 1, and more, per channel."""
    tables, inverse = _analysis(facts, tensors), (1 / _scale(facts, step)).astype(np.float32)
    sums, counts = np.zeros((facts["channels"], 2)), np.zeros((facts["channels"], 2))
    for image, latent in zip(images, latents, strict=True):
        size = np.abs(latent.astype(np.float32))
        short = size - projection.image_to_coefs(image, tables, inverse) * np.sign(latent)
        for i, chosen in enumerate((size == 1, size > 1)):
            sums[:, i] += np.where(chosen, short, 0).sum((1, 2))
            counts[:, i] += chosen.sum((1, 2))
    mean = (sums + 20 * 0.02) / (counts + 20)
    # both channels of a pair must be rebuilt alike
    pair = np.flatnonzero(tensors["classes"] == 4)
    total = mean[pair] * counts[pair] + mean[pair + 1] * counts[pair + 1]
    mean[pair] = mean[pair + 1] = total / np.maximum(counts[pair] + counts[pair + 1], 1)
    return np.clip(mean, 0, 0.3).astype(np.float32)


def _quality_of(codec: Codec, step: float) -> int:
    """The quality whose step is nearest."""
    return int(np.abs(np.log2([codec.step(q) for q in range(1, 101)]) - np.log2(step)).argmin()) + 1


def _summary(codec: Codec, latents: Sequence[Sequence[Int8s]]) -> str:
    parts = []
    for step, band in zip(codec.artifact.facts["model_steps"], latents, strict=True):
        quality, some = _quality_of(codec, step), band[:: max(1, len(band) // 8)]
        size = sum(len(b) for x in some for b in codec.encode_latent_groups(x, quality))
        parts.append(f"step {step:.0f}: {size * 8 / sum(x[0].size * 64 for x in some):.3f} bits/pixel")
    return ", ".join(parts)


def _measured(codec: Codec, images: Sequence[Uint8s]) -> str:
    """PSNR and rate at the default quality, on the images of the fit."""
    psnr, bits, pixels = [], 0, 0
    for image in images:
        blob = codec.compress(image)
        error = np.mean((codec.decompress(blob).astype(np.float64) - image) ** 2)
        psnr.append(10 * np.log10(255**2 / max(float(error), 1e-9)))
        bits, pixels = bits + 8 * len(blob), pixels + image.shape[0] * image.shape[1]
    return f"{np.mean(psnr):.2f} dB at {bits / pixels:.3f} bits/pixel, default quality, on the images of the fit"
