"""Batches of images of many sizes: what is padded, how full batches are, and what grouping costs.

    python -m benchmarks.streaming.padding

Nothing is read: 20,000 latent sizes of 32 to 64 positions on a side are drawn, of four common aspect ratios that vary
by 5 %, in 20 shards. "not grouped" are batches of whatever comes next. "block" has windows of 4,000.
"""

from __future__ import annotations

from benchmarks.support.common import header, table  # isort: skip  (before numpy)

import sys
import time
from pathlib import Path

from latentstore.loaders.epoch.groups import Groups
from latentstore.loaders.epoch.order import SampleOrder
from latentstore.loaders.epoch.pools import pool_share

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "support" / "epochs"))
from drawn_sizes import drawn, padding

SAMPLES, SHARDS, BATCH, SEED = 20_000, 20, 32, 3
MANY = 1_000_000


def main() -> None:
    header("Batches of images of many sizes: padding")
    shapes = drawn(SAMPLES)
    positions = shapes.prod(axis=1)
    rows: list[list[object]] = []
    for kind in ("full", "block"):
        order = SampleOrder((SAMPLES // SHARDS,) * SHARDS, kind, SEED)
        ways = {
            "not grouped": Groups.by_shape(shapes[:, :0], positions, BATCH, None),
            "similar": Groups.by_similarity(shapes, BATCH, None, pool_share(order)),
            "shape": Groups.by_shape(shapes, positions, BATCH, None),
        }
        for name, groups in ways.items():
            share, mean = padding(order, groups, shapes)
            rows.append([f"{name}, {kind}", len(groups.batch_sizes), 100 * share, mean])
    table([f"batches of {BATCH}", "groups", "padding, %", "images in a batch"], rows)
    many = drawn(MANY, 1)
    order = SampleOrder((MANY // 1000,) * 1000, "full", SEED)
    begun = time.process_time()
    Groups.by_similarity(many, BATCH, None, pool_share(order))
    print(f"\n{MANY:,} images are grouped in {time.process_time() - begun:.2f} seconds of the processor")


if __name__ == "__main__":
    main()
