"""`latentstore fit` for audio: a codec of one's own from a folder of recordings.

The shipped artifacts are made by this command; the same recordings and options give the same bytes on machines whose
processors add up alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs import AudioCodec, OutlierWarning
from latentstore.codecs.artifact.file import STORED_AUDIO, make_artifact, read_artifact
from latentstore.codecs.bitstream.segments import SEGMENT
from latentstore.codecs.fit.adaptive import adaptive_counts, fit_group, gains
from latentstore.codecs.fit.entropy import cluster
from latentstore.codecs.fit.lapped import LappedProjection, fit_lapped
from latentstore.progress import counted

Floats = npt.NDArray[np.float32]
Int8s = npt.NDArray[np.int8]
Tensors = dict[str, npt.NDArray[Any]]

PRECISION = 12
TABLES = 64
ROUNDING = 0.4
LAMBDA = 0.12
SEED = 0
# of a histogram of coefficients, up to the largest possible
BINS = 1 << 15


@dataclass(frozen=True)
class AudioShape:
    """Geometry of a codec's name, and its steps: of the entropy models, and of the knob.

    rate: in hertz; relative: steps are multiples of each signal's root mean square, not of full scale.
    """

    inputs: int
    hop: int
    channels: int
    group: int
    rate: int
    relative: bool
    model_steps: tuple[float, ...]
    quality_steps: tuple[tuple[int, float], ...]
    default_quality: int


AUDIO_SHAPES = {
    "stereo-f256c108": AudioShape(
        2, 256, 108, 27, 44100, False,
        (0.3, 0.12, 0.05, 0.02), ((1, 1.0), (50, 0.075), (90, 0.016), (100, 0.006)), 50,
    ),
    "mono-f32c32": AudioShape(
        1, 32, 32, 16, 8000, True,
        (2.2, 1.0, 0.45, 0.2), ((1, 4.5), (50, 0.95), (90, 0.22), (100, 0.13)), 50,
    ),
}  # fmt: skip


def fit_audio(
    signals: Sequence[Floats], name: str, shape: AudioShape, licence: str, rounds: int, say: Callable[[str], None]
) -> bytes:
    """The bytes of an artifact fitted on signals float32 (n, inputs); arguments as `fitting.fit` has them."""
    samples = sum(len(signal) for signal in signals)
    say(f"{counted(len(signals), 'recording')}, {samples / 1e6:.1f} million samples")
    found = fit_lapped(signals, shape.hop, shape.channels)
    say("projection: share of the power " + " ".join(f"{share:.4f}" for share in found.share[:16]) + " ...")
    tensors: Tensors = {"mix": found.mix, "source": found.source, "basis": found.basis}
    facts = _facts(name, shape, found, signals, licence)
    tensors["delta"] = np.zeros((shape.channels, 2), np.float32)
    tensors |= _flat_models(shape)
    codec = _codec(facts, tensors)
    qualities = [_quality_of(codec, step) for step in shape.model_steps]
    latents = [_encoded(signals, codec, quality, "fast") for quality in qualities]
    for turn in range(rounds + 1):
        if turn:
            latents = [_encoded(signals, codec, quality, "default") for quality in qualities]
        tensors |= _entropy_tensors(latents, shape)
        tensors["delta"] = _delta(signals, codec, latents[1], qualities[1])
        codec = _codec(facts, tensors)
        say(f"round {turn} of {rounds}: " + _summary(codec, latents, qualities, samples))
    facts["card"]["measured"] = _measured(codec, signals)
    say(facts["card"]["measured"])
    return make_artifact(facts, tensors)


def _codec(facts: dict[str, Any], tensors: Tensors) -> AudioCodec:
    return AudioCodec(read_artifact(make_artifact(facts, tensors)))


def _facts(
    name: str, shape: AudioShape, found: LappedProjection, signals: Sequence[Floats], licence: str
) -> dict[str, Any]:
    # of signals within full scale; the mix is orthonormal, so it raises them to the root of the inputs at most
    bound = np.abs(found.basis).sum(1, dtype=np.float64) * shape.inputs**0.5
    return {
        "name": name,
        "mode": STORED_AUDIO,
        "inputs": shape.inputs,
        "hop": shape.hop,
        "rate": shape.rate,
        "relative": shape.relative,
        "channels": shape.channels,
        "group_channels": shape.group,
        "default_quality": shape.default_quality,
        "precision": PRECISION,
        "quality_steps": [list(pair) for pair in shape.quality_steps],
        "model_steps": list(shape.model_steps),
        "lambda": LAMBDA,
        "rounding": ROUNDING,
        "bound": [round(float(b), 6) for b in bound],
        "floor": [1e-6] * shape.channels if shape.relative else _floor(signals, found, bound, shape.hop),
        "card": {
            "fitted on": counted(len(signals), "recording"),
            "licence": licence,
            "transform": f"MDCT, sine window, {shape.hop} bands",
            "seed": SEED,
        },
    }


def _floor(signals: Sequence[Floats], found: LappedProjection, bound: npt.NDArray[Any], hop: int) -> list[float]:
    """The finest step of each channel: where rounding and the limit of int8 together cost least on these signals."""
    from latentstore.codecs.audio.lapped import LappedTransform

    lapped = LappedTransform(hop, found.mix, found.source, found.basis)
    unit, counts = np.ones(len(bound), np.float32), np.zeros((len(bound), BINS))
    for signal in signals:
        places = np.abs(lapped.signal_to_coefficients(signal, unit)) / (bound / BINS)[:, None]
        for count, place in zip(counts, places.astype(np.int64), strict=True):
            count += np.bincount(np.minimum(place, BINS - 1), minlength=BINS)
    floor = []
    for count, most in zip(counts, bound, strict=True):
        share, value = count / count.sum(), (np.arange(BINS) + 0.5) * most / BINS
        steps = np.geomspace(most / BINS / 16, most / 127, 64)
        error = [step**2 / 12 + share @ np.maximum(value - 127 * step, 0) ** 2 for step in steps]
        floor.append(round(max(float(steps[np.argmin(error)]), 1e-6), 8))
    return floor


def _flat_models(shape: AudioShape) -> Tensors:
    """Models that expect nothing, for a codec that only quantises."""
    models, n = len(shape.model_steps) * (shape.channels // shape.group), shape.group
    freq = np.full((1, 64), 1 << PRECISION - 6, np.int32)
    return {
        "entropy.own": np.zeros((models, n, 5), np.int32),
        "entropy.bias": np.ones((models, n), np.int32),
        "entropy.cross": np.zeros((models, n, n, 2), np.uint8),
        "entropy.taps": np.zeros((models, n, 14), np.int32),
        "entropy.source": np.full((models, n, 2), 255, np.uint8),
        "entropy.rate": np.zeros((models, n), np.uint8),
        "entropy.gain": gains(),
        "entropy.table": np.zeros((models, n, 4, 64), np.uint8),
        "entropy.freq": freq,
    }


def _encoded(signals: Sequence[Floats], codec: AudioCodec, quality: int, effort: Any) -> list[Int8s]:
    """Latents int8 (channels, t) of segments that adapt by themselves."""
    latents = []
    with warnings.catch_warnings():
        # at the finest step some coefficients leave int8; the models are not fitted for them
        warnings.simplefilter("ignore", OutlierWarning)
        for signal in signals:
            # as blobs hold them: `compress` chooses the steps that serve a signal
            latent = codec.read_latent(codec.compress(signal, quality, effort))[:, 0]
            latents += [latent[:, at : at + SEGMENT] for at in range(0, latent.shape[1], SEGMENT)]
    return latents


def _entropy_tensors(latents: Sequence[Sequence[Int8s]], shape: AudioShape) -> Tensors:
    """Models of every band and group; one set of tables for all of them."""
    n, groups = shape.group, shape.channels // shape.group
    parts = [[x[g * n : (g + 1) * n] for x in band] for band in latents for g in range(groups)]
    fitted = [fit_group(part) for part in parts]
    tensors = {f"entropy.{name}": np.stack([one[name] for one in fitted]) for name in fitted[0]}
    tensors["entropy.gain"] = gains()
    counts = np.concatenate([adaptive_counts(tensors, i, part) for i, part in enumerate(parts)])
    table, freq = cluster(counts.reshape(-1, counts.shape[-1]), TABLES, PRECISION)
    tensors["entropy.table"] = table.reshape(len(parts), n, 4, 64)
    tensors["entropy.freq"] = freq
    return tensors


def _delta(signals: Sequence[Floats], codec: AudioCodec, latents: Sequence[Int8s], quality: int) -> Floats:
    """How far towards zero the means of the coefficients lie that became 1, and more, per channel."""
    sums, counts = np.zeros((codec.channels, 2)), np.zeros((codec.channels, 2))
    pending = iter(latents)
    for signal in signals:
        code = codec.step_code(float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))), quality)
        exact = codec.lapped.signal_to_coefficients(signal, (1 / codec.scale_of(code)).astype(np.float32))
        latent = np.concatenate([next(pending) for _ in range(-(-exact.shape[1] // SEGMENT))], axis=1)
        size = np.abs(latent.astype(np.float32))
        short = size - exact * np.sign(latent)
        for i, chosen in enumerate((size == 1, (size > 1) & (size < 127))):
            sums[:, i] += np.where(chosen, short, 0).sum(1)
            counts[:, i] += chosen.sum(1)
    return np.clip((sums + 20 * 0.02) / (counts + 20), 0, 0.3).astype(np.float32)


def _quality_of(codec: AudioCodec, step: float) -> int:
    """The quality whose step is nearest."""
    return int(np.abs(np.log2([codec.step(q) for q in range(1, 101)]) - np.log2(step)).argmin()) + 1


def _summary(codec: AudioCodec, latents: Sequence[Sequence[Int8s]], qualities: Sequence[int], samples: int) -> str:
    said = []
    for quality, band in zip(qualities, latents, strict=True):
        size = sum(len(b) for x in band for b in codec.encode_latent_groups(x[:, None], quality))
        said.append(f"quality {quality}: {8 * size / samples / codec.in_channels:.3f} bits/sample")
    return ", ".join(said)


def _measured(codec: AudioCodec, signals: Sequence[Floats]) -> str:
    """SNR and rate at the default quality, on the recordings of the fit."""
    ratios, size = [], 0
    for signal in signals:
        blob = codec.compress(signal)
        power = float(np.square(signal, dtype=np.float64).sum())
        error = float(np.square(codec.decompress(blob).astype(np.float64) - signal).sum())
        ratios.append(10 * np.log10(max(power, 1e-12) / max(error, 1e-12)))
        size += len(blob)
    rate = 8 * size / sum(signal.size for signal in signals)
    return f"SNR {np.mean(ratios):.2f} dB at {rate:.3f} bits/sample, default quality, on the recordings of the fit"
