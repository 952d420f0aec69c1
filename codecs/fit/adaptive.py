"""Fitting the entropy models of audio: first taps of the prediction, its step sizes, and weights of magnitudes.

Everything comes out as the integers of docs/format-audio.md section S7. What the prediction leaves is found by running
it: the entropy coder itself tells the contexts of real latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.parts import BUCKETS, FRACTIONS, SYMBOLS, TAPS
from latentstore.codecs.fit.entropy import CONTEXTS, RADIUS, UNIT, nonnegative_fit
from latentstore.codecs.native import backend

Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]
Tensors = dict[str, npt.NDArray[Any]]

OWN, SOURCES = 8, 2
NO_SOURCE = 255
TAP_UNIT = 65536
# Step sizes of the filter, over the power of its inputs and a floor of 64; the first switches it off.
STEP_SIZES = (0.0, 0.02, 0.05, 0.1, 0.18)
GAIN_UNIT = 1 << 24
# Instants that a regression sees; more changes nothing.
SAMPLE = 60_000


def gains() -> npt.NDArray[np.int32]:
    """The artifact's `entropy.gain`: a row for each of STEP_SIZES, by the bucket of the power."""
    middle = np.array([(4.5 + b % 4) * 2 ** (b // 4) for b in range(BUCKETS)])
    return np.minimum(np.round(np.outer(STEP_SIZES, GAIN_UNIT / middle)), 65535).astype(np.int32)


def fit_group(latents: Sequence[Int8s]) -> Tensors:
    """One model's tensors, without tables and without the model axis, from latents int8 (n, t) of its group."""
    count = len(latents[0])
    taps, source = np.zeros((count, TAPS), np.int32), np.full((count, SOURCES), NO_SOURCE, np.uint8)
    for k in range(count):
        source[k] = _best_sources(latents, k)
        taps[k] = _first_taps(latents, k, source[k])
    found: Tensors = {
        "own": np.zeros((count, 5), np.int32),
        "bias": np.zeros(count, np.int32),
        "cross": np.zeros((count, count, 2), np.uint8),
        "taps": taps,
        "source": source,
        "rate": np.zeros(count, np.uint8),
    }
    left = [_residual_sizes(found, rate, latents) for rate in range(len(STEP_SIZES))]
    # rate of every channel: the one that leaves least
    found["rate"] = np.argmin([_cost(sizes) for sizes in left], axis=0).astype(np.uint8)
    # a channel's step size changes nothing but its own residuals
    sizes = [np.stack([track[rate][k] for k, rate in enumerate(found["rate"])]) for track in zip(*left, strict=True)]
    _fit_magnitudes(found, sizes)
    return found


def adaptive_counts(tensors: Tensors, model: int, latents: Sequence[Int8s]) -> Floats:
    """How often each symbol stands in each context: (n, contexts, symbols); tensors: the artifact's, without tables."""
    coder = _coder({name: tensors[f"entropy.{name}"] for name in ("own", "bias", "cross", "taps", "source", "rate")})
    counts = np.zeros((len(latents[0]), CONTEXTS * SYMBOLS))
    for latent in latents:
        for k, plane in enumerate(_codes(coder, model, latent)):
            counts[k] += np.bincount(plane, minlength=CONTEXTS * SYMBOLS)
    return counts.reshape(-1, CONTEXTS, SYMBOLS)


def _coder(weights: Tensors) -> Any:
    models, count = weights["own"].shape[:2]
    flat = np.zeros((1, SYMBOLS), np.int32)
    flat[0, [0, SYMBOLS - 1]] = 2048
    table = np.zeros((models, count, FRACTIONS, BUCKETS), np.uint8)
    given = [np.ascontiguousarray(weights[name]) for name in ("own", "bias", "cross", "taps", "source", "rate")]
    return backend().adaptive_new(bytes(32), 12, *given, gains(), table, flat)


def _codes(coder: Any, model: int, latent: Int8s) -> npt.NDArray[np.uint16]:
    codes = backend().coder_contexts(coder, model, np.ascontiguousarray(latent)[:, None])
    return np.frombuffer(codes, np.uint16).reshape(latent.shape)


def _residual_sizes(found: Tensors, rate: int, latents: Sequence[Int8s]) -> list[npt.NDArray[np.int16]]:
    """What prediction at one step size leaves of each channel, in magnitude; what is escaped counts as 40."""
    weights = {name: tensor[None] for name, tensor in found.items()}
    weights["rate"] = np.full_like(weights["rate"], rate)
    coder, sizes = _coder(weights), []
    for latent in latents:
        symbol = (_codes(coder, 0, latent) & SYMBOLS - 1).astype(np.int16)
        sizes.append(np.where(symbol == SYMBOLS - 1, np.int16(40), np.abs(symbol - RADIUS)))
    return sizes


def _cost(sizes: Sequence[npt.NDArray[np.int16]], run: int = 32) -> Floats:
    """About what the magnitudes cost, per channel: logarithms of their means over short runs."""
    total = np.zeros(len(sizes[0]))
    for size in sizes:
        whole = size.shape[1] // run * run
        if whole:
            total += np.log2(size[:, :whole].reshape(len(size), -1, run).mean(2) + 0.03).sum(1)
    return total


def _shifted(planes: npt.NDArray[Any], by: int) -> Floats:
    """Values `by` instants later, 0 beyond the ends."""
    out = np.zeros(planes.shape)
    t = planes.shape[-1]
    if abs(by) < t:
        out[..., max(-by, 0) : t - max(by, 0)] = planes[..., max(by, 0) : t + min(by, 0)]
    return out


def _best_sources(latents: Sequence[Int8s], k: int) -> npt.NDArray[np.uint8]:
    """The earlier channels that channel k follows most."""
    chosen = np.full(SOURCES, NO_SOURCE, np.uint8)
    if k:
        score = np.zeros(k)
        for x in latents:
            here = x[k].astype(np.float64)
            power = np.square(x[:k], dtype=np.float64).sum(1) * (here @ here)
            for by in (-1, 0, 1):
                score += np.abs(_shifted(x[:k], by) @ here) / np.sqrt(power + 1e-9)
        best = np.argsort(-score, kind="stable")[:SOURCES]
        chosen[: len(best)] = best
    return chosen


def _first_taps(latents: Sequence[Int8s], k: int, source: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Least squares over all latents, each divided by its power in the channel."""
    gram, right = np.zeros((TAPS, TAPS)), np.zeros(TAPS)
    for x in latents:
        rows = [_shifted(x[k], -1 - i) for i in range(OWN)]
        for p in source:
            rows += [_shifted(x[p], by) if p < k else np.zeros(x.shape[1]) for by in (-1, 0, 1)]
        near, here = np.stack(rows), x[k].astype(np.float64)
        weight = 1 / (1 + np.mean(here**2))
        gram, right = gram + weight * near @ near.T, right + weight * near @ here
    ridge = np.eye(TAPS) * (1e-3 * np.trace(gram) / TAPS + 1e-6)
    found = np.round(np.linalg.solve(gram + ridge, right) * TAP_UNIT)
    return np.clip(found, -(1 << 20), 1 << 20).astype(np.int32)


def _averages(size: npt.NDArray[np.float64]) -> Floats:
    """The two running averages (docs/format-audio.md S5.1) of magnitudes (n, t): (n, 2, t)."""
    out = np.zeros((len(size), 2, size.shape[1]))
    state = np.zeros((len(size), 2), np.int64)
    scaled = (256 * size).astype(np.int64)
    for i in range(1, size.shape[1]):
        state += (scaled[:, i - 1, None] - state) >> np.array([3, 5])
        out[:, :, i] = state / 256
    return out


def _fit_magnitudes(found: Tensors, sizes: Sequence[npt.NDArray[np.int16]]) -> None:
    """own, bias and cross: non-negative least squares of |r|, weighted by its own variance as the fit sees it."""
    count, total = len(sizes[0]), sum(size.shape[1] for size in sizes)
    kept = np.sort(np.random.default_rng(0).choice(total, min(total, SAMPLE), replace=False))
    limited = [np.minimum(size, 15).astype(np.float64) for size in sizes]

    def gathered(planes: list[npt.NDArray[Any]]) -> Floats:
        return np.concatenate(planes, axis=-1)[..., kept]

    near = np.stack([gathered([_shifted(a, -1 - i) for a in limited]) for i in range(3)], axis=1)
    near = np.concatenate([near, gathered([_averages(a) for a in limited])], axis=1)
    here = gathered(limited)
    ends = [np.pad(a, ((0, 0), (1, 1)), "edge") for a in limited]
    around = gathered([3 * (a[:, :-2] + a[:, 2:]) + 2 * a[:, 1:-1] for a in ends])
    target = gathered([np.minimum(size, 40).astype(np.float64) for size in sizes])
    cross = np.stack([here, around], axis=1)
    for k in range(count):
        features = np.concatenate([near[k], cross[:k].reshape(2 * k, len(kept)), np.ones((1, len(kept)))])
        solution = nonnegative_fit(features, target[k])
        found["own"][k] = np.minimum(np.round(solution[:5] * UNIT), 32767)
        found["bias"][k] = min(max(round(solution[-1] * UNIT), 1), 65535)
        pairs = solution[5:-1].reshape(k, 2) * (UNIT / 4, UNIT)
        found["cross"][k, :k] = np.minimum(np.round(pairs), 127)
