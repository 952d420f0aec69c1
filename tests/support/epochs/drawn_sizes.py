"""Sizes of images that were never cropped, and what padding their batches costs."""

from __future__ import annotations

import numpy as np

from latentstore.loaders.epoch.groups import GroupedEpoch, Groups
from latentstore.loaders.epoch.order import SampleOrder
from latentstore.loaders.epoch.pools import StorePools


def drawn(samples: int, seed: int = 0) -> np.ndarray:
    """Latent sizes of photographs, int64 (n, 2): about four aspect ratios, and any area."""
    rng = np.random.default_rng(seed)
    aspect = rng.choice([1.5, 1.33, 0.75, 1.0], samples) * np.exp(rng.normal(0, 0.05, samples))
    area = np.exp(rng.uniform(np.log(32 * 32), np.log(64 * 64), samples))
    return np.stack([np.sqrt(area / aspect), np.sqrt(area * aspect)], axis=1).round().astype(np.int64)


def padding(order: SampleOrder, groups: Groups, shapes: np.ndarray) -> tuple[float, float]:
    """(share of padding, samples in a batch on average) of an epoch."""
    made = GroupedEpoch(StorePools(groups, order), order.seed, True, 0, False)
    batches = [shapes[made.batch(number)[0]] for number in range(made.count)]
    padded = sum(len(own) * int(own.max(axis=0).prod()) for own in batches)
    return 1 - int(shapes.prod(axis=1).sum()) / padded, len(shapes) / len(batches)
