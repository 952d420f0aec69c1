"""`latentstore sync` of 100,000 small images: the first run, one without changes, and one after 1 % has changed.

Wall time, and the time of all threads on the processor, which other programs disturb less.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import io
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FILES, FOLDERS, SIDE, DIFFERENT = 100_000, 20, 16, 200


def png(seed: int) -> bytes:
    """A small image."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def name_of(root: Path, number: int) -> Path:
    return root / f"c{number % FOLDERS:02d}" / f"{number:06d}.png"


def processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    from latentstore.loaders.remote.location import Location
    from latentstore.loaders.tensors.read import read_manifest
    from latentstore.syncing.latents import sync_latents
    from latentstore.syncing.plan import SyncPlan

    common.header("Stores that follow their source")
    bars = common.Bars(later=True)
    folder = Path(tempfile.mkdtemp())
    root, store = folder / "source", folder / "store"
    rows: list[Any] = []

    def shards() -> set[str]:
        return {shard.name for shard in read_manifest(Location(str(store))).shards}

    def run(what: str) -> tuple[SyncPlan, float]:
        wall, cpu = time.perf_counter(), processor()
        plan, _ = sync_latents(root, store, size=SIDE, progress=False)
        wall, cpu = time.perf_counter() - wall, processor() - cpu
        rows.append((what, f"{plan.encodes:,}", f"{wall:.1f}", f"{cpu:.1f}"))
        return plan, wall

    try:
        images = [png(seed) for seed in range(DIFFERENT)]
        for number in range(FILES):
            path = name_of(root, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images[number % DIFFERENT])
        run("first")
        before = shards()
        plan, seconds = run("nothing changed")
        bars.at_most("nothing changed: seconds", seconds, 15)
        bars.at_most("nothing changed: encoded", plan.encodes, 0)
        for number in np.random.default_rng(0).choice(FILES // 100, FILES // 100, replace=False).tolist():
            name_of(root, number).write_bytes(png(DIFFERENT + number))
        plan, _ = run("1 % changed")
        bars.at_most("1 % changed: encoded", plan.encodes, FILES // 100)
        bars.at_most(
            "1 % changed: shards written again over those that hold it", len(before - shards()), plan.rewritten
        )
    finally:
        shutil.rmtree(folder)
    common.table(["run", "encoded", "seconds", "seconds of the processor"], rows)
    bars.end()


if __name__ == "__main__":
    main()
