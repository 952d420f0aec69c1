"""Fitting the entropy models: weights by regression, tables by clustering the statistics of their contexts.

Everything comes out as the integers of docs/format.md section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.parts import BUCKETS, FRACTIONS, NEAR, SYMBOLS
from latentstore.codecs.native import backend

Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]
UNIT = 1024
CONTEXTS = FRACTIONS * BUCKETS
RADIUS = 31
# Positions that a regression sees of each image; more changes nothing.
SAMPLE = 6000
NO_SYMBOL = 0xFFFF
# How far up and to the right the positions lie that a `near_contexts` is made of, lowest bit first.
NEAR_PLACES = [(0, -1), (0, -2), (1, 2), (1, 1), (1, 0), (1, -1), (1, -2), (2, 1), (2, 0), (2, -1)]
WEIGHTS = ("own", "bias", "cross", "predicted", "signed_own", "signed_cross")


@dataclass
class Weights:
    """The context weights of one model, in the artifact's integers (without the model axis)."""

    own: npt.NDArray[np.int32]
    bias: npt.NDArray[np.int32]
    cross: npt.NDArray[np.uint8]
    predicted: npt.NDArray[np.uint8]
    signed_own: npt.NDArray[np.int32]
    signed_cross: npt.NDArray[np.int32]


def shifted(plane: npt.NDArray[Any], dy: int, dx: int) -> npt.NDArray[Any]:
    """The plane's values at (y + dy, x + dx), its edge repeated."""
    h, w = plane.shape
    rows, columns = np.clip(np.arange(h) + dy, 0, h - 1), np.clip(np.arange(w) + dx, 0, w - 1)
    return plane[rows[:, None], columns]


def causal(plane: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Left, up, up-left, up-right, two to the left, by the format's rule at the edges."""
    left, up = shifted(plane, 0, -1), shifted(plane, -1, 0)
    up_left, up_right = shifted(plane, -1, -1), shifted(plane, -1, 1)
    left2 = shifted(plane, 0, -2)
    left[:, 0] = up_left[:, 0] = left2[:, 0] = up[:, 0]
    left[0, 0] = left2[0, 0] = 0
    for other in (up, up_left, up_right):
        other[0] = left[0]
    return [left, up, up_left, up_right, left2]


AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


class Sites:
    """The positions that a regression sees of one latent, and where their neighbours lie.

    here: int64 (n,), places in a flat plane; causal (5, n) and around (9, n): places of the neighbours in a flat
    plane behind one zero, which stands for a neighbour that the format takes as zero. Gathering at the sites,
    and not from whole shifted planes, is what makes a fit quick.
    """

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        size = shape[0] * shape[1]
        self.here = np.sort(rng.choice(size, min(SAMPLE, size), replace=False))
        places = np.arange(1, size + 1).reshape(shape)
        self.causal = np.stack([v.ravel()[self.here] for v in causal(places)])
        self.around = np.stack([shifted(places, dy, dx).ravel()[self.here] for dy, dx in AROUND])


def _behind_zero(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(1, plane.dtype), plane.ravel()])


def fit_weights(latents: Sequence[Int8s], predict: int, seed: int) -> Weights:
    """Weights of one model from latents of its group, int8 (c, h, w) each.

    predict: how many of the first channels are predicted with their sign.
    """
    count = len(latents[0])
    rng = np.random.default_rng(seed)
    sites = [Sites(x.shape[1:], rng) for x in latents]
    w = Weights(
        np.zeros((count, 5), np.int32),
        np.zeros(count, np.int32),
        np.zeros((count, count, 2), np.uint8),
        np.zeros(count, np.uint8),
        np.zeros((count, 4), np.int32),
        np.zeros((count, count, 9), np.int32),
    )
    # of every earlier channel, its magnitudes at the sites and around them
    earlier = np.empty((2 * count, sum(len(site.here) for site in sites)))
    for k in range(count):
        residuals: list[npt.NDArray[np.int16]] = [x[k].astype(np.int16) for x in latents]
        if k < predict:
            _fit_prediction(w, k, latents, sites)
            for x, r in zip(latents, residuals, strict=True):
                r -= predict_plane(w, k, x).astype(np.int16)
        _fit_magnitudes(w, k, residuals, sites, earlier)
    return w


def predict_plane(w: Weights, k: int, latent: Int8s) -> npt.NDArray[np.int32]:
    """The rounded prediction of channel k."""
    wide = latent.astype(np.int32)
    total = sum(c * v for c, v in zip(w.signed_own[k], causal(wide[k])[:4], strict=True))
    for p in range(k):
        for c, (dy, dx) in zip(w.signed_cross[k, p], AROUND, strict=True):
            if c:
                total = total + c * shifted(wide[p], dy, dx)
    return np.clip((total + 512) >> 10, -127, 127)


def _fit_prediction(w: Weights, k: int, latents: Sequence[Int8s], sites: Sequence[Sites]) -> None:
    features = 4 + 9 * k
    gram, right = np.zeros((features, features)), np.zeros(features)
    for x, site in zip(latents, sites, strict=True):
        near = [_behind_zero(x[k])[site.causal[:4]], *(_behind_zero(x[p])[site.around] for p in range(k))]
        f = np.concatenate(near).astype(np.float64)
        gram, right = gram + f @ f.T, right + f @ x[k].ravel()[site.here]
    if not gram.any():
        return  # nothing but zeros: the channel stays without prediction
    ridge = np.eye(features) * 1e-5 * np.trace(gram) / features
    weights = np.round(np.linalg.solve(gram + ridge, right) * UNIT).astype(np.int32)
    w.predicted[k] = 1
    w.signed_own[k] = weights[:4]
    w.signed_cross[k, :k] = weights[4:].reshape(k, 9)


def _fit_magnitudes(
    w: Weights, k: int, residuals: Sequence[npt.NDArray[np.int16]], sites: Sequence[Sites], earlier: Floats
) -> None:
    """Non-negative least squares of |r|, weighted by its own variance as the fit sees it.

    earlier: features of the channels before k; those of k are added.
    """
    x = np.ones((5 + 2 * k + 1, earlier.shape[1]))
    x[5:-1] = earlier[: 2 * k]
    y, at = np.empty(earlier.shape[1]), 0
    for r, site in zip(residuals, sites, strict=True):
        part = slice(at, at := at + len(site.here))
        size = np.abs(r).ravel()
        limited = _behind_zero(np.minimum(size, 15))
        x[:5, part] = limited[site.causal]
        y[part] = np.minimum(size[site.here], 40)
        centre = limited[1:][site.here]
        earlier[2 * k, part] = centre
        earlier[2 * k + 1, part] = limited[site.around].sum(0) - centre
    solution = nonnegative_fit(x, y)
    w.own[k] = np.minimum(np.round(solution[:5] * UNIT), 32767)
    w.bias[k] = min(max(round(solution[-1] * UNIT), 1), 65535)
    pairs = solution[5:-1].reshape(k, 2) * (UNIT / 4, UNIT)
    w.cross[k, :k] = np.minimum(np.round(pairs), 127)


def nonnegative_fit(x: Floats, y: Floats) -> Floats:
    """Non-negative least squares of y (n,) by features x (features, n), weighted by y's variance as the fit sees it."""
    from scipy.optimize import nnls

    weighted, importance, solution = np.empty_like(x), np.ones(len(y)), np.zeros(len(x))
    for _ in range(4):
        np.multiply(x, importance, out=weighted)
        gram = weighted @ x.T
        root = np.linalg.cholesky(gram + np.eye(len(gram)) * 1e-7 * np.trace(gram) / len(gram))
        solution, _ = nnls(root.T, np.linalg.solve(root, weighted @ y))
        importance = np.maximum(solution @ x, 0.01) ** -1.5
    return solution


def stacked(models: Sequence[Weights]) -> dict[str, npt.NDArray[Any]]:
    """The weights as the artifact's tensors, still without tables."""
    return {f"entropy.{name}": np.stack([getattr(m, name) for m in models]) for name in WEIGHTS}


def context_counts(tensors: dict[str, npt.NDArray[Any]], model: int, latents: Sequence[Int8s]) -> Floats:
    """How often each symbol stands in each context: (c, contexts, symbols)."""
    return _counts(backend().coder_contexts, tensors, model, latents)


def sparse_counts(tensors: dict[str, npt.NDArray[Any]], model: int, latents: Sequence[Int8s]) -> Floats:
    """The same of the sparse form, whose contexts have levels 1 and 2; of a model without predicted channels."""
    return _counts(backend().coder_sparse_contexts, tensors, model, latents)


def _counts(
    contexts: Callable[..., bytes], tensors: dict[str, npt.NDArray[Any]], model: int, latents: Sequence[Int8s]
) -> Floats:
    models, count = tensors["entropy.own"].shape[:2]
    flat = np.zeros((1, SYMBOLS), np.int32)
    flat[0, [0, SYMBOLS - 1]] = 2048
    weights = [tensors[f"entropy.{name}"] for name in WEIGHTS]
    table, empty = np.zeros((models, count, FRACTIONS, BUCKETS), np.uint8), np.full((models, NEAR), 2048, np.int32)
    coder = backend().coder_new(bytes(32), 12, *weights, table, flat, empty)
    counts = np.zeros((count, CONTEXTS * SYMBOLS))
    for latent in latents:
        codes = np.frombuffer(contexts(coder, model, np.ascontiguousarray(latent)), np.uint16)
        for k, plane in enumerate(codes.reshape(count, -1)):
            counts[k] += np.bincount(plane[plane != NO_SYMBOL], minlength=CONTEXTS * SYMBOLS)
    return counts.reshape(count, CONTEXTS, SYMBOLS)


def near_contexts(taken: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The context of whether each position of a plane holds a value, from those before it (docs/format.md 6.5)."""
    height, width = taken.shape
    wide = np.pad(taken.astype(np.int64), ((2, 0), (2, 2)))
    total = np.zeros((height, width), np.int64)
    for bit, (up, right) in enumerate(NEAR_PLACES):
        total += wide[2 - up : 2 - up + height, 2 + right : 2 + right + width] << bit
    return total


def fit_empty(latents: Sequence[Int8s], precision: int) -> npt.NDArray[np.int32]:
    """Frequencies int32 (contexts,), out of 2^precision, of positions where all channels of a latent are zero."""
    counts = np.zeros((NEAR, 2))
    for latent in latents:
        taken = np.asarray(latent.any(0))
        both = near_contexts(taken) * 2 + taken
        counts += np.bincount(both.ravel(), minlength=2 * NEAR).reshape(NEAR, 2)
    # a context that was seldom seen is like those with as many of its positions taken
    size = np.array([i.bit_count() for i in range(NEAR)])
    alike = np.stack([counts[size == n].sum(0) + np.array([0.6, 0.4]) for n in range(size.max() + 1)])
    share = (alike / alike.sum(1, keepdims=True))[size]
    empty = (counts[:, 0] + 4 * share[:, 0]) / (counts.sum(1) + 4)
    total = 1 << precision
    return np.clip(np.round(empty * total), 1, total - 1).astype(np.int32)


def cluster(counts: Floats, tables: int, precision: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Shares `tables` frequency tables among contexts (n, symbols) so that their symbols cost least.

    Returns the table of each context, uint8 (n,), and int32 (tables, symbols) frequencies that add up to
    2^precision. Lloyd's algorithm in Kullback-Leibler divergence, begun with contexts in order of their mean size.
    """
    used = np.flatnonzero(counts.sum(1))
    smooth = counts[used] + 0.02 * _typical(counts)
    total = smooth.sum(1)
    size = (smooth @ np.abs(np.arange(SYMBOLS) - RADIUS).astype(np.float64)) / total
    order = np.argsort(size, kind="stable")
    label = np.empty(len(used), np.int64)
    share = np.cumsum(np.sqrt(total[order]))
    label[order] = np.minimum((share / share[-1] * tables).astype(np.int64), tables - 1)
    for _ in range(60):
        centres = np.stack([counts[used][label == t].sum(0) for t in range(tables)]) + 0.3 * _typical(counts)
        cost = -counts[used] @ np.log2(centres / centres.sum(1, keepdims=True)).T
        new = cost.argmin(1)
        if np.array_equal(new, label):
            break
        label = new
    centres = np.stack([counts[used][label == t].sum(0) for t in range(tables)]) + 0.3 * _typical(counts)
    freq = np.stack([quantised(centre, precision) for centre in centres])
    by_size = np.argsort((freq @ np.abs(np.arange(SYMBOLS) - RADIUS)), kind="stable")
    rank = np.argsort(by_size)
    # a context never seen in fitting takes the table of the nearest bucket that was
    table = np.zeros(len(counts), np.uint8)
    table[used] = rank[label]
    per_level = table.reshape(-1, BUCKETS)
    seen = (counts.sum(1) > 0).reshape(-1, BUCKETS)
    for row, known in zip(per_level, seen, strict=True):
        places = np.flatnonzero(known)
        if len(places):
            row[:] = row[places[np.abs(np.arange(BUCKETS)[:, None] - places).argmin(1)]]
    return table, freq[by_size]


def _typical(counts: Floats) -> Floats:
    """A faint prior: what all contexts hold together, and a little of everything."""
    all_together = counts.sum(0)
    return all_together / max(all_together.sum(), 1) + 1e-4


def quantised(counts: Floats, precision: int) -> npt.NDArray[np.int32]:
    """Frequencies that add up to 2^precision, none above 2^precision - 1, the escape at least 1.

    Symbols rarer than about half a unit get 0 and go by the escape.
    """
    total = 1 << precision
    ideal = counts / counts.sum() * total
    freq = np.floor(ideal + 0.5).astype(np.int64)
    freq[(freq == 0) & (ideal > 0.3)] = 1
    freq[SYMBOLS - 1] = max(freq[SYMBOLS - 1], 1)
    freq = np.minimum(freq, total - 1)
    while freq.sum() != total:
        step = 1 if freq.sum() < total else -1
        # the change that costs least: bits are counts * log2(freq)
        gain = counts * np.log2(np.maximum(freq + step, 0.25) / np.maximum(freq, 0.25))
        allowed = (freq > (0 if step > 0 else 1)) & (freq + step < total)
        allowed[SYMBOLS - 1] &= freq[SYMBOLS - 1] + step >= 1
        freq[np.flatnonzero(allowed)[gain[allowed].argmax()]] += step
    return freq.astype(np.int32)
