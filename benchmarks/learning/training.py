"""Training networks together, choosing how they are trained, and what they get right on images that are kept apart."""

from __future__ import annotations

from benchmarks.support import common  # noqa: F401  # isort: skip  (before numpy)

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.learning.inputs import MARGIN, Labelled
from benchmarks.learning.networks import Networks, Statistics
from benchmarks.learning.views import Views

RATES = (0.001, 0.003, 0.01)
DECAYS = (0.1, 1.0)
TURNS = (2, 8)
WIDTHS = (64, 128)
"""The grid: step sizes; weight decays; how many of the eight symmetries are drawn (two: the image as it is, and flipped
left-right); channels after the stem."""
BATCH, SMOOTHING, WARM = 100, 0.1, 0.1
_AT_ONCE = 200
_MEASURED = 500
"""Images that are classified at once; training images that mean and variance are measured on in the end."""


@dataclass(frozen=True)
class Plan:
    """How much is trained. folds: of the training images, each in turn for validation, of five; 0 takes the middle of
    the grid. seeds: networks that are tested."""

    epochs: int
    folds: int
    seeds: int


@dataclass(frozen=True)
class Choice:
    rate: float
    decay: float
    turns: int
    width: int


@dataclass(frozen=True)
class Run:
    """One network: its seed, and how it is trained."""

    seed: int
    choice: Choice


Made = Callable[[int], Networks]
"""Of a width."""
Begun = Callable[[Tensor], None]
"""What is done to the weights before training."""


def tuned(made: Made, begun: Begun, views: Views, data: Labelled, plan: Plan) -> tuple[Choice, dict[str, list[float]]]:
    """What does best on validation images, each part of the choice by its mean over all the others; and these means.

    A single network's accuracy on 220 images says little: the mean over the other parts of the grid says more.
    """
    if not plan.folds:
        return Choice(RATES[1], DECAYS[0], TURNS[0], WIDTHS[0]), {}
    folds = [data.fold(number) for number in range(plan.folds)]
    grid = list(itertools.product(RATES, DECAYS, TURNS, range(plan.folds)))
    found = []
    for width in WIDTHS:
        right = _scored(
            made(width), begun, views, data, plan.epochs,
            [Run(100 + fold, Choice(rate, decay, turns, width)) for rate, decay, turns, fold in grid],
            training=[np.flatnonzero(data.training & ~folds[fold]) for *_, fold in grid],
            scored=[np.flatnonzero(folds[fold]) for *_, fold in grid],
        )  # fmt: skip
        found.append(right.mean(1).reshape(len(RATES), len(DECAYS), len(TURNS), plan.folds))
    each = np.stack(found, 3)  # rate, decay, turns, width, fold
    means = [np.moveaxis(each, axis, 0).reshape(each.shape[axis], -1).mean(1) for axis in range(4)]
    parts = (RATES, DECAYS, TURNS, WIDTHS)
    best = [part[mean.argmax()] for part, mean in zip(parts, means, strict=True)]
    named = zip(("rate", "decay", "turns", "width"), (mean.tolist() for mean in means), strict=True)
    return Choice(best[0], best[1], int(best[2]), int(best[3])), dict(named)


def tested(made: Made, begun: Begun, views: Views, data: Labelled, plan: Plan, choice: Choice) -> np.ndarray:
    """Which test images each seed's network gets right, bool (seeds, images); trained on all training images."""
    each, test = np.flatnonzero(data.training), np.flatnonzero(~data.training)
    runs = [Run(seed, choice) for seed in range(plan.seeds)]
    return _scored(made(choice.width), begun, views, data, plan.epochs, runs, [each] * plan.seeds, [test] * plan.seeds)


def _scored(
    networks: Networks,
    begun: Begun,
    views: Views,
    data: Labelled,
    epochs: int,
    runs: Sequence[Run],
    training: Sequence[np.ndarray],
    scored: Sequence[np.ndarray],
) -> np.ndarray:
    """bool (networks, images): right on the images `scored`, after training on `training`: rows for each network."""
    weights = networks.start([run.seed for run in runs])
    begun(weights)
    device = views.device
    weights, labels = weights.to(device), torch.from_numpy(data.labels).to(device)
    rows = torch.from_numpy(np.stack(training)).to(device)
    _train(networks, weights, views, rows, labels, runs, epochs)
    asked = torch.from_numpy(np.stack(scored)).to(device)
    with torch.no_grad():
        statistics = Statistics()
        networks(views.centred(rows[:, torch.randperm(rows.shape[1])[:_MEASURED]]), weights, statistics)
        statistics.fixed()
        answers = [networks(views.centred(part), weights, statistics).argmax(2) for part in asked.split(_AT_ONCE, 1)]
    return (torch.cat(answers, 1) == labels[asked]).cpu().numpy()


def _train(
    networks: Networks,
    weights: Tensor,
    views: Views,
    rows: Tensor,
    labels: Tensor,
    runs: Sequence[Run],
    epochs: int,
) -> None:
    """AdamW, as each network's choice has it; the step size rises, then falls to zero in a straight line."""
    n = rows.shape[1]
    batches = max(1, n // BATCH)
    steps, device = epochs * batches, weights.device
    draws = [_draws(run, n, batches, epochs) for run in runs]
    order, offsets, turns = (torch.from_numpy(np.stack(each)).to(device) for each in zip(*draws, strict=True))
    rates = torch.tensor([[run.choice.rate] for run in runs], device=device)
    decays = torch.tensor([[run.choice.decay] for run in runs], device=device) * networks.decayed().to(device)
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    torch.manual_seed(0)
    for step in range(steps):
        chosen = rows.gather(1, order[:, step])
        weights.requires_grad_(True)
        logits = networks(views.drawn(chosen, offsets[:, step], turns[:, step]), weights, Statistics(), training=True)
        loss = functional.cross_entropy(
            logits.flatten(0, 1), labels[chosen].flatten(), label_smoothing=SMOOTHING, reduction="sum"
        )
        (gradient,) = torch.autograd.grad(loss / chosen.shape[1], weights)
        weights.requires_grad_(False)
        first.lerp_(gradient, 0.1)
        second.lerp_(gradient.square_(), 0.005)
        done = (step + 1) / steps
        pace = rates * min(done / WARM, (1 - done) / (1 - WARM) + 1 / steps)
        mean = first / (1 - 0.9 ** (step + 1))
        spread = (second / (1 - 0.995 ** (step + 1))).sqrt_().add_(1e-8)
        weights.mul_(1 - pace * decays).sub_(pace * (mean / spread))


def _draws(run: Run, n: int, batches: int, epochs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all steps of one network, (steps, images ...): which images, where they are cut out, how they are turned."""
    rng, size = np.random.default_rng(run.seed), n // batches
    order = np.concatenate([rng.permutation(n)[: batches * size] for _ in range(epochs)]).reshape(-1, size)
    return order, rng.integers(0, MARGIN + 1, (*order.shape, 2)), rng.integers(0, run.choice.turns, order.shape)
